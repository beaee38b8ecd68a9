//===- Calibrator.h - Runs a model layer by layer over samples --*- C++ -*-===//
//
// Methods that need data look at the inputs of one layer after the other, and
// most change a layer before they look at the next. The calibrator keeps the
// activations of all samples at one place of the model and moves that place on:
// each part of the model runs once, with the weights that it has by then.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CALIBRATION_CALIBRATOR_H
#define LLQ_CALIBRATION_CALIBRATOR_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Calibration/Samples.h"
#include "llq/Support/ParallelFor.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <memory>

namespace llq {

/// The dialects that running a model needs: a pass that calibrates depends on
/// them.
void registerCalibrationDialects(mlir::DialectRegistry &registry);

/// `@forward` of `module`, the function that samples run through. Emits an error
/// if it is not there or has more than one block.
mlir::FailureOr<mlir::func::FuncOp> getForward(mlir::ModuleOp module);

/// The linear layers that read one value, in network order. They see the same
/// activations and share all statistics of them.
struct Site {
  mlir::Value input;
  llvm::SmallVector<LinearOp, 3> layers;
};

/// The sites of a model in normal form, in network order.
llvm::SmallVector<Site> getSites(mlir::func::FuncOp forward);

/// `layers.3.` if the layers of the site are `layers.3.mlp.up_proj` and others
/// of that decoder block; empty for the head.
llvm::StringRef getBlockName(const Site &site);

/// Activations x[tokens, columns] of consecutive tokens of a sample.
struct ActivationRows {
  const float *data;
  int64_t tokens, columns;
  int64_t stride; ///< floats from one token to the next
  int64_t sample;
  int64_t position; ///< of the first token in its sample
};

struct CalibratorOptions {
  /// Tokens that run at once.
  int64_t maxTokens = 512;
  /// Activations beyond this many bytes are kept in a temporary file.
  int64_t memoryBudget = int64_t(4) << 30;
};

class Calibrator {
public:
  using Visit = llvm::function_ref<llvm::Error(const ActivationRows &)>;

  /// Begins at the token ids of `samples`.
  Calibrator(mlir::func::FuncOp forward, const Samples &samples,
             ThreadPool &pool, const CalibratorOptions &options = {});
  ~Calibrator();

  /// Moves on to `site`, which lies behind the last one: runs the model from
  /// there with the weights it has now, and calls `visit` for the inputs of the
  /// site, sample by sample. Everything in front of the site's first layer must
  /// be as it should be. Emits an error, that of `visit` included, at the
  /// layer.
  mlir::LogicalResult advance(const Site &site, Visit visit);

  /// The place where the model stands, to come back to it.
  struct Activations;
  using State = std::shared_ptr<const Activations>;
  State getState() const;
  void setState(State state);

  /// Tokens of all samples.
  int64_t getTokens() const;

  /// Most bytes of activations that are kept at any site of `sites`.
  static int64_t getActivationBytes(llvm::ArrayRef<Site> sites,
                                    const Samples &samples);

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace llq

#endif // LLQ_CALIBRATION_CALIBRATOR_H
