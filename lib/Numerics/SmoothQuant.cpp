//===- SmoothQuant.cpp - Moving outliers from activations to weights ------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/SmoothQuant.h"
#include "BLAS.h"
#include "RoundRows.h"
#include "llq/Numerics/ActivationGrid.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

using namespace llq;
using namespace llq::numerics;

/// Keeps factors and what they are made of from zero.
static constexpr double kFloor = 1e-5;
/// Of the mean of a site's maxima: what a channel is taken for at least.
static constexpr double kLeastShare = 0.01;

void llq::numerics::addColumnMaxima(const float *weights, int64_t rows,
                                    std::span<float> maxima) {
  const size_t columns = maxima.size();
  for (int64_t r = 0; r != rows; ++r)
    for (size_t k = 0; k != columns; ++k)
      maxima[k] = std::max(maxima[k], std::fabs(weights[r * columns + k]));
}

double llq::numerics::leastActivationMax(std::span<const float> activationMax) {
  return kLeastShare *
         std::accumulate(activationMax.begin(), activationMax.end(), 0.0) /
         static_cast<double>(activationMax.size());
}

std::vector<float>
llq::numerics::smoothingFactors(std::span<const float> activationMax,
                                std::span<const float> weightMax,
                                double alpha) {
  assert(activationMax.size() == weightMax.size() && alpha >= 0 && alpha <= 1);
  std::vector<float> factors(activationMax.size(), 1.0f);
  const double least = leastActivationMax(activationMax);
  for (size_t k = 0; k != factors.size(); ++k) {
    if (activationMax[k] == 0)
      continue;
    const double input = std::max(double(activationMax[k]), least);
    const double weight = std::max(double(weightMax[k]), kFloor);
    const double factor = std::pow(input, alpha) / std::pow(weight, 1 - alpha);
    factors[k] = static_cast<float>(std::max(factor, kFloor));
  }
  return factors;
}

Smoothing llq::numerics::searchSmoothing(
    std::span<const float> activationMax, std::span<const float> weightMax,
    std::span<const double> strengths,
    const std::function<double(std::span<const float>)> &cost) {
  Smoothing best;
  double least = 0;
  for (double alpha : strengths) {
    std::vector<float> factors =
        smoothingFactors(activationMax, weightMax, alpha);
    best.costs.push_back(cost(factors));
    if (best.costs.size() == 1 || best.costs.back() < least) {
      least = best.costs.back();
      best.alpha = alpha;
      best.factors = std::move(factors);
    }
  }
  return best;
}

/// Q(x / s) as f32 numbers.
static std::vector<float> roundedInputs(std::span<const float> x,
                                        std::span<const float> activationMax,
                                        std::span<const float> factors,
                                        const ActivationOptions &options) {
  const size_t columns = factors.size();
  std::vector<float> result(x.size());
  std::vector<int8_t> codes(columns);
  float absMax = 0;
  for (size_t k = 0; options.isStatic && k != columns; ++k)
    absMax = std::max(absMax, activationMax[k] / factors[k]);
  float scale = activationScale(absMax, options.bits);
  for (size_t first = 0; first != x.size(); first += columns) {
    std::span<float> row(result.data() + first, columns);
    for (size_t k = 0; k != columns; ++k)
      row[k] = x[first + k] / factors[k];
    if (options.isStatic)
      quantizeActivations(row, scale, options.bits, codes);
    else
      quantizeTokens(row.data(), 1, static_cast<int64_t>(columns), options.bits,
                     codes.data(), &scale);
    for (size_t k = 0; k != columns; ++k)
      row[k] = scale * static_cast<float>(codes[k]);
  }
  return result;
}

double llq::numerics::smoothingCost(std::span<const SiteLayer> layers,
                                    std::span<const float> x,
                                    std::span<const float> activationMax,
                                    std::span<const float> factors,
                                    const UniformGridOptions &grid,
                                    const ActivationOptions &activations,
                                    ThreadPool &pool) {
  constexpr int64_t kRows = 256;
  const int64_t columns = static_cast<int64_t>(factors.size());
  assert(columns > 0 && !x.empty() && x.size() % columns == 0);
  const int64_t tokens = static_cast<int64_t>(x.size()) / columns;
  const std::vector<float> rounded =
      roundedInputs(x, activationMax, factors, activations);
  double sum = 0;
  std::atomic<bool> overflow = false;
  for (const SiteLayer &layer : layers) {
    std::vector<double> costs((layer.rows + kRows - 1) / kRows);
    pool.parallelFor(0, layer.rows, kRows, [&](int64_t first, int64_t last) {
      const int64_t rows = last - first;
      const float *weights = layer.weights + first * columns;
      std::vector<float> strip(weights, weights + rows * columns);
      std::vector<float> difference(tokens * rows);
      std::vector<uint8_t> codes(columns);
      for (int64_t r = 0; r != rows; ++r) {
        for (int64_t k = 0; k != columns; ++k)
          strip[r * columns + k] *= factors[k];
        if (!roundRow(&strip[r * columns], columns, grid, codes))
          overflow = true;
      }
      blas::multiplyTransposed(tokens, rows, columns, 1.0f, rounded.data(),
                               columns, strip.data(), columns, 0.0f,
                               difference.data(), rows);
      blas::multiplyTransposed(tokens, rows, columns, -1.0f, x.data(), columns,
                               weights, columns, 1.0f, difference.data(), rows);
      double cost = 0;
      for (float value : difference)
        cost += double(value) * double(value);
      costs[first / kRows] = cost;
    });
    sum = std::accumulate(costs.begin(), costs.end(), sum);
  }
  return overflow ? std::numeric_limits<double>::infinity()
                  : sum / static_cast<double>(tokens);
}
