//===- Tape.h - Reverse mode over ops of the llq dialect --------*- C++ -*-===//
//
// Evaluates a part of a model in f32 and, the other way around, the gradients
// of its weights: eagerly, one sequence at a time, with the functions of
// DecoderOps.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRAINING_TAPE_H
#define LLQ_TRAINING_TAPE_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Support/ParallelFor.h"
#include "llq/Support/WeightData.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

#include <vector>

namespace llq::training {

/// A weight of a linear layer as a dense matrix.
struct DenseWeight {
  int64_t rows, columns;
  std::vector<float> values;
  /// As large as `values` if it is wanted, otherwise empty.
  std::vector<float> gradient;

  /// Asks for the gradient, and sets it to zero.
  void clearGradient() { gradient.assign(values.size(), 0.0f); }
};

class Tape {
public:
  /// The part that computes `output` from `input`, both activations, or from
  /// token ids if there is no `input`. Reads all weights in it. Emits an error
  /// at an op that cannot be evaluated, or that depends on token ids although
  /// there is an input.
  static mlir::FailureOr<std::unique_ptr<Tape>> create(mlir::Value input,
                                                       mlir::Value output,
                                                       WeightReader &reader,
                                                       ThreadPool &pool);

  /// The weight of a linear layer, to change it or to ask for its gradient.
  DenseWeight &getWeight(mlir::Value weight) {
    return weights.find(weight)->second;
  }

  /// The ops that are evaluated, weights included, in their order.
  llvm::ArrayRef<mlir::Operation *> getOps() const { return ops; }

  /// The output[tokens, columns] for a sequence that begins at position 0, from
  /// `x`, the rows of the input. Valid until the next call.
  mlir::FailureOr<llvm::ArrayRef<float>> forward(llvm::ArrayRef<float> x,
                                                 int64_t tokens);
  /// The same from token ids.
  mlir::FailureOr<llvm::ArrayRef<float>> forward(llvm::ArrayRef<int32_t> ids);

  /// Adds to the gradients that are wanted those of a loss whose gradient by
  /// the output of the last `forward` is `gradient`.
  void backward(llvm::ArrayRef<float> gradient);

private:
  Tape(mlir::Value input, mlir::Value output, WeightReader &reader,
       ThreadPool &pool)
      : input(input), output(output), reader(reader), pool(pool) {}

  mlir::LogicalResult collectOps();
  mlir::LogicalResult loadWeights();
  /// Which values depend on a weight whose gradient is wanted.
  void findActive();
  mlir::FailureOr<llvm::ArrayRef<float>> evaluate();
  mlir::LogicalResult evaluate(mlir::Operation *op);
  mlir::LogicalResult lookUp(EmbeddingOp op);
  llvm::LogicalResult evaluateRotary(mlir::Operation *op);
  void differentiate(mlir::Operation *op);

  /// The value of an op that has been evaluated.
  const float *get(mlir::Value value) const {
    return values.find(value)->second.data();
  }
  /// Room for the value of `result`.
  float *make(mlir::Value result);
  /// Where to add the gradient of `value`; null if nobody wants it.
  float *wanted(mlir::Value value);
  const numerics::Rotation &getRotation(RotateOp op);

  mlir::Value input, output;
  WeightReader &reader;
  ThreadPool &pool;
  llvm::SmallVector<mlir::Operation *> ops; ///< in order
  llvm::DenseMap<mlir::Value, DenseWeight> weights;
  llvm::DenseMap<mlir::Attribute, std::unique_ptr<numerics::Rotation>>
      rotations;
  llvm::DenseSet<mlir::Value> active;
  int64_t tokens = 0;
  llvm::ArrayRef<int32_t> ids;
  /// Of the last sequence.
  llvm::DenseMap<mlir::Value, std::vector<float>> values, gradients;
  /// Logarithms of sums of exponentials of attention.
  llvm::DenseMap<mlir::Operation *, std::vector<float>> logSums;
};

} // namespace llq::training

#endif // LLQ_TRAINING_TAPE_H
