//===- BlockTuner.h - Training of the scales of one block -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_TRAINING_BLOCKTUNER_H
#define LLQ_LIB_TRAINING_BLOCKTUNER_H

#include "SampleActivations.h"
#include "TrainedWeight.h"

#include "llq/Training/DecoderBlocks.h"
#include "llq/Training/Tape.h"

namespace llq::training {

struct TuneOptions {
  int64_t epochs, batch;
  float learningRate;
};

/// A decoder block, and those of its layers that are trained.
class BlockTuner {
public:
  /// Emits an error if the block cannot be differentiated.
  static mlir::FailureOr<BlockTuner> create(const DecoderBlock &block,
                                            llvm::ArrayRef<LinearOp> layers,
                                            WeightReader &reader,
                                            ThreadPool &pool);

  /// The mean of (y - z)^2 over all tokens and channels of `targets` z, of
  /// which y are the block's outputs for `inputs`, divided by the mean of z^2.
  mlir::FailureOr<double> getLoss(SampleActivations &inputs,
                                  SampleActivations &targets);

  /// Goes `epochs` times through the samples. The loss may be higher than
  /// before.
  mlir::LogicalResult train(SampleActivations &inputs,
                            SampleActivations &targets,
                            const TuneOptions &options);

  /// Goes back to the weights as they were.
  void restore();

  /// The weights of the layers, in their order.
  llvm::MutableArrayRef<TrainedWeight> getWeights() { return weights; }
  const Tape &getTape() const { return *tape; }

private:
  BlockTuner(std::unique_ptr<Tape> tape, ThreadPool &pool)
      : tape(std::move(tape)), pool(&pool) {}

  void decode();

  std::unique_ptr<Tape> tape;
  ThreadPool *pool;
  std::vector<TrainedWeight> weights;
};

} // namespace llq::training

#endif // LLQ_LIB_TRAINING_BLOCKTUNER_H
