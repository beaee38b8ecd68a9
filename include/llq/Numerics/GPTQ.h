//===- GPTQ.h - Rounding column by column with compensation -----*- C++ -*-===//
//
// Frantar et al., "GPTQ: Accurate Post-training Quantization for Generative
// Pre-trained Transformers" (arXiv 2210.17323): the uniform grid in the loop of
// llq/Numerics/Compensation.h.
//
// Departures from the authors' code, besides those of the loop: the grid of a
// group is taken from the current values of all its columns, also where a group
// begins inside a block (the authors' code then misses the updates of that
// block) or spans several blocks.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_GPTQ_H
#define LLQ_NUMERICS_GPTQ_H

#include "llq/Numerics/Compensation.h"
#include "llq/Numerics/UniformGrid.h"

#include <optional>

namespace llq::numerics {

/// Quantizes weights[rows, K] on `grid`, whose group size is that of the
/// factor. Columns of `result` are in the order of permutation() if the options
/// say so (isStoredPermuted), otherwise as they are; groups are contiguous
/// either way. Adds to `loss`. Returns the first weight that is not finite, in
/// which case nothing is written.
[[nodiscard]] std::optional<NonFiniteWeight>
quantizeGPTQ(const float *weights, int64_t rows, const GPTQFactor &factor,
             const UniformGridOptions &grid, const UniformRows &result,
             CompensatedLoss &loss, ThreadPool &pool);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_GPTQ_H
