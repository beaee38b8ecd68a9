//===- AWQ.h - Scales and clip bounds of AWQ --------------------*- C++ -*-===//
//
// Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression
// and Acceleration" (arXiv 2306.00978). Columns that meet large activations are
// multiplied by s > 1 before they are rounded, and their inputs divided by s:
// the same function, with a smaller error where it counts. Then the range of
// each group is clipped to where the error at the output is least.
//
// Departures from the authors' code: grids are those of UniformGrid.h, which
// represent zero and so survive groups of one sign; the clip search measures
// with the metric of all tokens it is given; the error of a site is by default
// the sum of the errors of its layers' own outputs, and anything else the
// caller can compute if it passes a function.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_AWQ_H
#define LLQ_NUMERICS_AWQ_H

#include "llq/Numerics/OutputMetric.h"
#include "llq/Numerics/UniformGrid.h"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace llq::numerics {

/// Strengths that the search tries: alpha = i / 20, i = 0..19.
inline constexpr int kAWQStrengths = 20;

/// s_k = max(m_k^alpha, 1e-4), divided by sqrt(max s * min s), for the mean
/// magnitudes m_k >= 0 of the channels. All 1 at alpha = 0.
std::vector<float> awqScales(std::span<const float> meanAbs, double alpha);

/// rounded[rows, K] = Q(W diag s) diag 1/s. False, with values of no use, if a
/// scaled weight is not finite.
[[nodiscard]] bool awqRound(const SiteLayer &layer,
                            std::span<const float> scales,
                            const UniformGridOptions &grid, float *rounded,
                            ThreadPool &pool);

/// The cost in `metric` of rounding the layers with columns scaled by `scales`:
/// sum over layers and rows of |(Q(W diag s) diag 1/s - W) x|^2. Weights are
/// finite; infinity if scaled ones are not.
double awqCost(std::span<const SiteLayer> layers, std::span<const float> scales,
               const OutputMetric &metric, const UniformGridOptions &grid,
               ThreadPool &pool);

/// What a search over strengths found.
struct AWQScales {
  double alpha = 0;
  std::vector<float> scales; ///< [K]
  /// Cost of each strength; costs[0] is that of plain rounding.
  std::vector<double> costs;
};

/// The scales of the strength whose cost is least, the smallest of them if
/// there are several. Costs that are not numbers never win.
AWQScales
searchAWQScales(std::span<const float> meanAbs,
                const std::function<double(std::span<const float>)> &cost);

/// The same with awqCost.
AWQScales searchAWQScales(std::span<const SiteLayer> layers,
                          std::span<const float> meanAbs,
                          const OutputMetric &metric,
                          const UniformGridOptions &grid, ThreadPool &pool);

/// For a site behind grouped-query attention (v_proj before o_proj): o_proj's
/// channel (h, d) reads head h / sharing of v_proj, so scales must agree over
/// the query heads that share one. Means of values[heads * headSize] over
/// these, [heads / sharing * headSize].
std::vector<float> meanOverSharedHeads(std::span<const float> values,
                                       int64_t headSize, int64_t sharing);
/// The way back: each head's values repeated `sharing` times.
std::vector<float> repeatHeads(std::span<const float> values, int64_t headSize,
                               int64_t sharing);

/// bounds[r, g] = the largest magnitude A of group g of weights[rows, K] times
/// the one of 1, 0.95, ..., 0.55 for which rounding the clamped group costs
/// least; the largest of them if there are several. Weights have been
/// multiplied by `scales`, the metric is that of the inputs before they were
/// divided; empty scales are all 1. bounds has [rows, groupsPerRow(K)]
/// elements.
void searchAWQClip(const float *weights, int64_t rows,
                   std::span<const float> scales, const OutputMetric &metric,
                   const UniformGridOptions &grid, float *bounds,
                   ThreadPool &pool);

/// Clamps each group of weights[rows, columns] to [-bound, bound].
void clampGroups(float *weights, int64_t rows, int64_t columns,
                 const UniformGridOptions &grid, const float *bounds);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_AWQ_H
