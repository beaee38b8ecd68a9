//===- LayerBasis.h - The basis of a quantized layer's weight ---*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_TRAINING_LAYERBASIS_H
#define LLQ_LIB_TRAINING_LAYERBASIS_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Numerics/Rotation.h"
#include "llq/Support/ParallelFor.h"
#include "llq/Support/WeightData.h"

#include <memory>
#include <vector>

namespace llq::training {

/// What a method has done to the inputs and outputs of a layer, so that its
/// weight is another matrix than the original: rotations, scales, an order.
class LayerBasis {
public:
  /// Emits an error if the scales cannot be read.
  static mlir::FailureOr<LayerBasis> get(LinearOp layer, WeightReader &reader);

  /// From weights[rows, columns] as in the original to those of the layer, and
  /// the way back.
  void enter(std::vector<float> &weights, ThreadPool &pool) const;
  void leave(std::vector<float> &weights, ThreadPool &pool) const;

private:
  int64_t rows = 0, columns = 0;
  std::vector<int32_t> order; ///< column of the original for each; or empty
  std::vector<float> scales;
  std::unique_ptr<numerics::Rotation> input, output;
};

} // namespace llq::training

#endif // LLQ_LIB_TRAINING_LAYERBASIS_H
