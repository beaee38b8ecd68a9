//===- SmoothQuant.h - Moving outliers to weights ---------------*- C++ -*-===//
//
// Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization
// for Large Language Models" (arXiv 2211.10438). Input channel k of a site is
// divided by s_k and column k of the weights that read it multiplied by s_k, so
// that neither side has outliers that its quantization cannot bear.
//
// Departures from the authors' code: a channel that never fires has s = 1, not
// 1e-5, which would overflow the norm that takes 1 / s. One that hardly fires
// is taken for a hundredth of the mean: in a few samples it may be quiet by
// chance, and later it would meet 1 / s without measure.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_SMOOTHQUANT_H
#define LLQ_NUMERICS_SMOOTHQUANT_H

#include "llq/Numerics/OutputMetric.h"
#include "llq/Numerics/UniformGrid.h"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace llq::numerics {

/// maxima[k] = max(maxima[k], max_r |weights[r, k]|). The maxima of a site are
/// those of all its layers together; they start at 0.
void addColumnMaxima(const float *weights, int64_t rows,
                     std::span<float> maxima);

/// What a channel's largest input is taken for at least: a hundredth of the
/// mean of all channels'.
double leastActivationMax(std::span<const float> activationMax);

/// s_k = max(1e-5, a_k^alpha / w_k^(1-alpha)) with w_k = max(1e-5, weightMax_k)
/// and a_k = max(activationMax_k, leastActivationMax); 1 where activationMax_k
/// is 0. alpha in [0, 1]: 0 leaves the difficulty to the activations, 1 moves
/// all of it to the weights.
std::vector<float> smoothingFactors(std::span<const float> activationMax,
                                    std::span<const float> weightMax,
                                    double alpha);

/// What a search over migration strengths found.
struct Smoothing {
  double alpha = 0;
  std::vector<float> factors; ///< [K]
  std::vector<double> costs;  ///< of each strength that was tried
};

/// The factors of the strength, of those given, whose cost is least; the first
/// one if there are several.
Smoothing searchSmoothing(
    std::span<const float> activationMax, std::span<const float> weightMax,
    std::span<const double> strengths,
    const std::function<double(std::span<const float> factors)> &cost);

/// How activations are quantized behind a smoothed site.
struct ActivationOptions {
  unsigned bits = 8;
  /// One scale for the tensor, max_k activationMax_k / s_k / Q, instead of one
  /// for each token.
  bool isStatic = false;
};

/// A cost for the search: the mean over a sample x[tokens, K] of the site's
/// inputs of |Q(x / s) Q(W diag s)^T - x W^T|^2, summed over the rows of the
/// layers, with weights on `grid`. Infinity if a scaled weight is not finite.
double smoothingCost(std::span<const SiteLayer> layers,
                     std::span<const float> x,
                     std::span<const float> activationMax,
                     std::span<const float> factors,
                     const UniformGridOptions &grid,
                     const ActivationOptions &activations, ThreadPool &pool);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_SMOOTHQUANT_H
