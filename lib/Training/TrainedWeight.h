//===- TrainedWeight.h - A quantized weight whose numbers move --*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_TRAINING_TRAINEDWEIGHT_H
#define LLQ_LIB_TRAINING_TRAINEDWEIGHT_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Support/ParallelFor.h"
#include "llq/Support/WeightData.h"
#include "llq/Training/Adam.h"

#include <vector>

namespace llq::training {

/// The numbers of a quantized weight, its components of floating-point type,
/// under training; codes stay. Numbers move in f32, and the matrix is always
/// that of the numbers as they are stored.
class TrainedWeight {
public:
  /// Whether the format of `weight` has numbers that can be trained.
  static bool canTrain(QuantizedWeightOp weight);

  static llvm::Expected<TrainedWeight> create(QuantizedWeightOp weight,
                                              WeightReader &reader);

  mlir::Value getValue() { return op.getResult(); }

  /// The matrix with the numbers as they are by now.
  void decode(llvm::MutableArrayRef<float> matrix, ThreadPool &pool) const;

  /// Moves the numbers against `gradient`, that by the matrix. `rate` is
  /// relative to the root mean square of a component's row.
  void step(float rate, llvm::ArrayRef<float> gradient, ThreadPool &pool);

  /// The numbers as they were.
  void restore();

  /// Components like those of the op with the trained numbers, which are new
  /// resources `<name>.<component>`.
  llvm::Expected<mlir::DictionaryAttr> store(llvm::StringRef name);

private:
  /// A component of floating-point type.
  struct Numbers {
    size_t component;
    bool isF16;
    std::vector<char> before, stored;
    std::vector<float> values;
    Adam adam;
  };

  explicit TrainedWeight(QuantizedWeightOp op)
      : op(op), type(op.getResult().getType()),
        format(llvm::cast<WeightFormatInterface>(type.getFormat())) {}

  QuantizedWeightOp op;
  QuantizedType type;
  WeightFormatInterface format;
  llvm::SmallVector<WeightComponent> components;
  /// The bytes of the op.
  llvm::SmallVector<llvm::ArrayRef<char>> source;
  llvm::SmallVector<Numbers, 2> numbers;
};

} // namespace llq::training

#endif // LLQ_LIB_TRAINING_TRAINEDWEIGHT_H
