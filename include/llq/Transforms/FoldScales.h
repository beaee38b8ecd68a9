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
#include "llq/Transforms/WeightReplacer.h"

namespace llq {

/// What divides the inputs of `site`: the normalization whose result they are,
/// `up` of a gated activation, or the layer that makes the values of attention.
/// Null if there is no such op, or others than the site's layers read what it
/// makes.
mlir::Operation *getDivisor(const Site &site);

/// Whether the weight of `layer` is in its source type and so can be scaled.
bool isScalable(LinearOp layer);

/// Emits an error if the weight or the inputs of `layer` are quantized, which
/// is to come behind `pass`.
mlir::LogicalResult verifyUnquantized(LinearOp layer, llvm::StringRef pass);

/// Whether nothing but layers of `site` reads its input.
bool isReadByLayersOnly(const Site &site);

/// Whether `fold` can fold scales into `site`: it has a divisor, and neither
/// its layers nor the divisor are quantized.
bool isFoldable(const Site &site);

/// Records with `layer`, in `llq.prepared`, that `method` has scaled, clipped
/// or rotated its weight, and figures about that: for the provenance of the
/// quantized one.
void recordPreparation(
    LinearOp layer, llvm::StringRef method,
    llvm::ArrayRef<std::pair<llvm::StringRef, double>> figures);

/// Puts scaled weights in place of those of a module.
class ScaleFolder : public WeightReplacer {
public:
  using WeightReplacer::WeightReplacer;

  /// Divides the inputs of a foldable site by `factors`, all positive, and
  /// multiplies the columns of its layers by them. `llq.stats` of the layers
  /// become those of the new inputs. Behind attention the factors of heads that
  /// share a head of values are equal. Emits an error if a weight cannot be
  /// read or a quotient is not finite.
  mlir::LogicalResult fold(const Site &site, llvm::ArrayRef<float> factors);

  /// Moves the gains of the normalization in front of a foldable site into the
  /// columns of its layers, which have no `llq.stats`: the normalization's own
  /// become 1. Emits an error if they cannot be read.
  mlir::LogicalResult foldGains(const Site &site);

  /// Clamps the groups of `group` weights of each row to `bounds`.
  void clip(LinearOp layer, llvm::ArrayRef<float> bounds, int64_t group);

private:
  mlir::LogicalResult divide(RMSNormOp norm, llvm::StringRef name,
                             llvm::ArrayRef<float> factors);
  mlir::LogicalResult divideRows(LinearOp layer, llvm::ArrayRef<float> factors);
  mlir::LogicalResult divideStatistics(LinearOp layer,
                                       llvm::ArrayRef<float> factors);
  void multiplyColumns(const Site &site, llvm::ArrayRef<float> factors);
};

} // namespace llq

#endif // LLQ_TRANSFORMS_FOLDSCALES_H
