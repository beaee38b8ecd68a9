//===- InputStatistics.h - Statistics of a layer's inputs -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CALIBRATION_INPUTSTATISTICS_H
#define LLQ_CALIBRATION_INPUTSTATISTICS_H

#include "dialects/LLQ/LLQ.h"

#include <cstdint>
#include <vector>

namespace llq {

/// Statistics of inputs x[T,K] of a linear layer over all calibration tokens.
struct InputStatistics {
  int64_t tokens = 0;
  /// mean_t x[t,:]^T x[t,:] as a full matrix [K,K]; empty if nobody asked.
  std::vector<float> secondMoment;
  std::vector<float> absMax;     ///< max_t |x[t,k]|
  std::vector<float> meanAbs;    ///< mean_t |x[t,k]|
  std::vector<float> meanSquare; ///< mean_t x[t,k]^2
  /// Inputs x[*,K] of tokens at equal distances; empty if nobody asked.
  std::vector<float> inputs;
};

/// `statistics` as a dictionary {tokens, abs_max, mean_abs, mean_square :
/// tensor<Kxf32>, second_moment : tensor<KxKxf32>, inputs : tensor<?xKxf32>};
/// the last two may be missing. Its tensors are new resources, `<name>.abs_max`
/// and so on.
mlir::DictionaryAttr storeStatistics(mlir::MLIRContext *context,
                                     const InputStatistics &statistics,
                                     llvm::StringRef name);

/// Reads such a dictionary for K inputs; the error says what is wrong with it.
llvm::Expected<InputStatistics> loadStatistics(mlir::DictionaryAttr stored,
                                               int64_t columns);

/// Reads `llq.stats` of a layer. Emits an error at the layer if it is not there
/// or not what it should be.
mlir::FailureOr<InputStatistics> readStatistics(LinearOp layer);

/// Attaches `statistics` to `layer` as `llq.stats`.
void attachStatistics(LinearOp layer, const InputStatistics &statistics);

/// The statistics of x[t,k] / factors[k].
void divideInputs(InputStatistics &statistics, llvm::ArrayRef<float> factors);

} // namespace llq

#endif // LLQ_CALIBRATION_INPUTSTATISTICS_H
