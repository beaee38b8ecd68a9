//===- FoldScales.h - Moves scales from one op to the next ------*- C++ -*-===//
//
// Dividing the input channels of a site and multiplying the columns of its
// layers changes no function, and costs nothing where the op in front of the
// site can divide: what SmoothQuant, AWQ and their like do to a model.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRANSFORMS_FOLDSCALES_H
#define LLQ_TRANSFORMS_FOLDSCALES_H

#include "llq/Calibration/Calibrator.h"
#include "llq/Support/WeightData.h"
#include "llq/Support/WeightReferences.h"

namespace llq {

/// What divides the inputs of `site`: the normalization whose result they are,
/// `up` of a gated activation, or the layer that makes the values of attention.
/// Null if there is no such op, or others than the site's layers read what it
/// makes.
mlir::Operation *getDivisor(const Site &site);

/// Whether the weight of `layer` is in its source type and so can be scaled.
bool isScalable(LinearOp layer);

/// Whether `fold` can fold scales into `site`: it has a divisor, and neither
/// its layers nor the divisor are quantized.
bool isFoldable(const Site &site);

/// Records with `layer`, in `llq.prepared`, that `method` has scaled or clipped
/// its weight, and figures about that: for the provenance of the quantized one.
void recordPreparation(
    LinearOp layer, llvm::StringRef method,
    llvm::ArrayRef<std::pair<llvm::StringRef, double>> figures);

/// Puts scaled weights in place of those of a module. What it has replaced
/// stays until the folder goes: samples may still have to run through the model
/// as it was. That is little, since scaled matrices refer to their sources.
class ScaleFolder {
public:
  explicit ScaleFolder(mlir::ModuleOp module) : references(module) {}
  ScaleFolder(const ScaleFolder &) = delete;
  ScaleFolder &operator=(const ScaleFolder &) = delete;
  ~ScaleFolder();

  /// Divides the inputs of a foldable site by `factors`, all positive, and
  /// multiplies the columns of its layers by them. `llq.stats` of the layers
  /// become those of the new inputs. Behind attention the factors of heads that
  /// share a head of values are equal. Emits an error if a weight cannot be
  /// read or a quotient is not finite.
  mlir::LogicalResult fold(const Site &site, llvm::ArrayRef<float> factors);

  /// Clamps the groups of `group` weights of each row to `bounds`.
  void clip(LinearOp layer, llvm::ArrayRef<float> bounds, int64_t group);

private:
  mlir::LogicalResult divide(RMSNormOp norm, llvm::StringRef name,
                             llvm::ArrayRef<float> factors);
  mlir::LogicalResult divideRows(LinearOp layer, llvm::ArrayRef<float> factors);
  mlir::LogicalResult divideStatistics(LinearOp layer,
                                       llvm::ArrayRef<float> factors);
  /// Puts `value` in place of the weight or bias that `operand` is.
  void replace(mlir::OpOperand &operand, mlir::TypedAttr value);

  WeightReferences references;
  llvm::SmallVector<mlir::Operation *> replaced;
  WeightReader reader;
};

} // namespace llq

#endif // LLQ_TRANSFORMS_FOLDSCALES_H
