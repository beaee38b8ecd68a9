//===- Calibrator.h - Runs a model layer by layer over samples --*- C++ -*-===//
//
// Methods that need data look at the inputs of one layer after the other, and
// most change a layer before they look at the next. The calibrator keeps the
// activations of all samples at one place of the model and moves that place on:
// each part of the model runs once, with the weights that it has by then, and
// only when somebody wants to see the activations behind it.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CALIBRATION_CALIBRATOR_H
#define LLQ_CALIBRATION_CALIBRATOR_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Calibration/Samples.h"
#include "llq/Support/ContentStore.h"
#include "llq/Support/ParallelFor.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <limits>
#include <memory>
#include <vector>

namespace llq {

/// The dialects that running a model needs: a pass that calibrates depends on
/// them.
void registerCalibrationDialects(mlir::DialectRegistry &registry);

/// `@forward` of `module`, the function that samples run through. Emits an
/// error if it is not there, has more than one block or returns nothing.
mlir::FailureOr<mlir::func::FuncOp> getForward(mlir::ModuleOp module);

/// Emits an error if samples do not run through `layer`.
mlir::LogicalResult verifyIsIn(mlir::func::FuncOp forward, LinearOp layer);

/// The linear layers that read one value, in network order. They see the same
/// activations and share all statistics of them.
struct Site {
  mlir::Value input;
  llvm::SmallVector<LinearOp, 3> layers;
};

/// The sites of a model in normal form, in network order.
llvm::SmallVector<Site> getSites(mlir::func::FuncOp forward);

/// `layers.3.` if the layer is `layers.3.mlp.up_proj` or another one of that
/// decoder block; empty for the head.
llvm::StringRef getBlockName(LinearOp layer);
/// The same for the layers of a site.
llvm::StringRef getBlockName(const Site &site);

/// Activations x[tokens, columns] of consecutive tokens of a sample.
struct ActivationRows {
  const float *data;
  int64_t tokens, columns;
  int64_t stride; ///< floats from one token to the next
  int64_t sample;
  int64_t position; ///< of the first token in its sample

  llvm::ArrayRef<float> getRow(int64_t token) const {
    return {data + token * stride, size_t(columns)};
  }
  void appendTo(std::vector<float> &values) const {
    for (int64_t t = 0; t < tokens; ++t)
      llvm::append_range(values, getRow(t));
  }
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
  /// Begins at the samples of the module of `forward`, and keeps statistics
  /// where the module says so. Emits an error if there are none, or no folder
  /// for statistics.
  static mlir::FailureOr<std::unique_ptr<Calibrator>>
  create(mlir::func::FuncOp forward, ThreadPool &pool);
  ~Calibrator();

  /// Moves on to `site`, which lies behind the last one, with the weights that
  /// the model has now; everything in front of the site's first layer must be
  /// as it should be. Emits an error at the layer.
  mlir::LogicalResult moveTo(const Site &site);

  /// Calls `visit` for the inputs of the site where the model stands, sample by
  /// sample; once for each move. Emits an error, that of `visit` included, at
  /// the site's first layer.
  mlir::LogicalResult visitInputs(Visit visit);

  /// A part of the model, compiled to run as often as one likes.
  class Part;

  /// The part that computes `value`, which lies behind the present place, from
  /// there. The place stays. Emits an error at the site's first layer.
  mlir::FailureOr<Part> compile(mlir::Value value);

  /// Of the site where the model stands.
  LinearOp getLayer() const;
  int64_t getInputColumns() const;

  /// Stands for all that these inputs are computed from: samples, operations,
  /// weights. Empty if nobody keeps results.
  llvm::StringRef getKey() const;

  /// The place where the model stands, to come back to it.
  struct Place;
  using State = std::shared_ptr<Place>;
  State getState() const;
  void setState(State state);

  /// Where statistics are kept for other runs; null: nowhere.
  const ContentStore *getStatisticsStore() const;

  ThreadPool &getPool() const;

  /// Tokens of all samples.
  int64_t getTokens() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

class Calibrator::Part {
public:
  Part(Part &&);
  ~Part();

  /// Takes over weights whose resources hold other values by now
  /// (TrialWeight::set). Emits an error if they cannot be used.
  mlir::LogicalResult reloadWeights();

  /// Calls `visit` for the part's value, with the weights that the model had
  /// when the part was compiled or last reloaded; for some samples only, as far
  /// apart as gives about `tokens` tokens, at least one. Emits an error at the
  /// first layer of the site that the part begins at.
  mlir::LogicalResult run(Visit visit,
                          int64_t tokens = std::numeric_limits<int64_t>::max());

private:
  friend class Calibrator;
  struct PartImpl;
  explicit Part(std::unique_ptr<PartImpl> impl);
  std::unique_ptr<PartImpl> impl;
};

/// What a calibration takes at most, roughly, besides the model.
struct CalibrationBytes {
  int64_t memory = 0;
  /// In a temporary file: activations beyond the budget.
  int64_t file = 0;
};

/// For `tokens` tokens in samples of at most `longest`, and layers of decoder
/// blocks, of which those of one site are at hand at a time.
CalibrationBytes getCalibrationBytes(mlir::func::FuncOp forward, int64_t tokens,
                                     int64_t longest,
                                     const CalibratorOptions &options = {});

/// For quantizing `layer` alone.
int64_t getLayerBytes(LinearOp layer);

} // namespace llq

#endif // LLQ_CALIBRATION_CALIBRATOR_H
