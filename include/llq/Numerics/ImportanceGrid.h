//===- ImportanceGrid.h - Grids that mind what weights are for --*- C++ -*-===//
//
// Importance-weighted rounding, as the "imatrix" quantizers of GGUF files do
// it: the grid of a group minimises sum_c omega_c (w_c - ŵ_c)^2, where
//
//   omega_c = a_c sqrt(sigma^2 + w_c^2),
//
// a_c is the mean square of input channel c over calibration tokens and sigma^2
// the mean square of the group's weights. One pass over the calibration text
// and no second moment.
//
// Scale and zero point come from a search over ranges and, from each, repeated
// weighted least squares: codes for a grid, the best grid for these codes, and
// so on. The plain grid is among the candidates, so the result is never worse
// than round-to-nearest in this measure.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_IMPORTANCEGRID_H
#define LLQ_NUMERICS_IMPORTANCEGRID_H

#include "llq/Numerics/UniformGrid.h"

#include <cstdint>
#include <span>

namespace llq::numerics {

/// omega[c] of a group of weights. Without calibration, that is with an empty
/// `importance`, a_c = 1. A group whose importances are all 0 is weighted as if
/// they were 1.
void importanceWeights(std::span<const float> group,
                       std::span<const float> importance,
                       std::span<float> omega);

/// sum_c omega_c (group[c] - s (code_c - z))^2 with codes as quantizeGroup
/// gives them.
double weightedError(std::span<const float> group, std::span<const float> omega,
                     GroupGrid grid, const UniformGridOptions &options);

/// The best grid found for a group of finite weights and omega >= 0. Scale
/// rounded to its type, zero point a code; options.clip has no meaning here.
GroupGrid chooseWeightedGrid(std::span<const float> group,
                             std::span<const float> omega,
                             const UniformGridOptions &options);

/// Quantizes weights[rows, columns] with importance[columns] (a_c >= 0, or
/// empty). Returns the first weight, in row-major order, that is not finite, in
/// which case the output is incomplete. Blocks are independent of each other.
[[nodiscard]] std::optional<NonFiniteWeight>
quantizeRowsByImportance(const float *weights, int64_t rows, int64_t columns,
                         std::span<const float> importance,
                         const UniformGridOptions &options,
                         const UniformRows &result);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_IMPORTANCEGRID_H
