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
/// under training. Codes stay, or are those nearest to a source for the numbers
/// of the time. Numbers move in f32, and the matrix is always that of the
/// numbers as they are stored.
class TrainedWeight {
public:
  /// Whether the format of `weight` has numbers that can be trained.
  static bool canTrain(QuantizedWeightOp weight);

  static llvm::Expected<TrainedWeight> create(QuantizedWeightOp weight,
                                              WeightReader &reader);

  mlir::Value getValue() { return op.getResult(); }

  /// Whether codes can follow a source.
  bool canEncode() const;
  /// From now on codes are those nearest to `weights`[rows, columns].
  void follow(std::vector<float> weights, ThreadPool &pool);

  /// The matrix with the numbers as they are by now.
  void decode(llvm::MutableArrayRef<float> matrix, ThreadPool &pool) const;

  /// Moves the numbers against `gradient`, that by the matrix. `rate` is
  /// relative to the root mean square of a component's row.
  void step(float rate, llvm::ArrayRef<float> gradient, ThreadPool &pool);

  /// Numbers and codes as they were.
  void restore();

  /// Components like those of the op with the trained numbers, and codes if
  /// they have changed, which are new resources `<name>.<component>`.
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

  /// The bytes of all components as they are by now.
  llvm::SmallVector<llvm::ArrayRef<char>> getData() const;
  /// Calls rows(begin, end) for parts of all rows.
  template <typename Rows> void forRows(ThreadPool &pool, Rows rows) const;
  void encode(ThreadPool &pool);

  QuantizedWeightOp op;
  QuantizedType type;
  WeightFormatInterface format;
  llvm::SmallVector<WeightComponent> components;
  /// The bytes of the op.
  llvm::SmallVector<llvm::ArrayRef<char>> source;
  llvm::SmallVector<Numbers, 2> numbers;
  /// What codes follow, and these; empty if they stay.
  std::vector<float> followed;
  std::vector<char> codes;
};

} // namespace llq::training

#endif // LLQ_LIB_TRAINING_TRAINEDWEIGHT_H
