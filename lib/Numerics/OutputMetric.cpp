//===- OutputMetric.cpp - What an error in weights costs ------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/OutputMetric.h"
#include "BLAS.h"
#include "Dot.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <vector>

using namespace llq;
using namespace llq::numerics;

/// Channels or tokens of one product.
static constexpr int64_t kTile = 512;

OutputMetric OutputMetric::ofSecondMoment(std::span<const float> secondMoment,
                                          int64_t channels) {
  assert(static_cast<int64_t>(secondMoment.size()) == channels * channels);
  return {secondMoment.data(), 0, channels};
}

OutputMetric OutputMetric::ofInputs(std::span<const float> inputs,
                                    int64_t channels) {
  assert(channels > 0 && !inputs.empty() && inputs.size() % channels == 0);
  return {inputs.data(), static_cast<int64_t>(inputs.size()) / channels,
          channels};
}

void OutputMetric::stripCosts(const float *delta, int64_t rows, int64_t begin,
                              int64_t count, double *costs) const {
  assert(rows <= kStrip && begin + count <= width);
  std::fill_n(costs, rows, 0.0);
  std::vector<float> product(kStrip * kTile);
  if (tokens != 0) {
    for (int64_t first = 0; first < tokens; first += kTile) {
      const int64_t n = std::min(kTile, tokens - first);
      blas::multiplyTransposed(kStrip, n, count, 1.0f, delta, count,
                               data + first * width + begin, width, 0.0f,
                               product.data(), kTile);
      for (int64_t r = 0; r != rows; ++r)
        costs[r] += dot(&product[r * kTile], &product[r * kTile], n);
    }
    for (int64_t r = 0; r != rows; ++r)
      costs[r] /= static_cast<double>(tokens);
    return;
  }
  // With H symmetric, a tile of columns takes the rows above it twice.
  for (int64_t first = 0; first < count; first += kTile) {
    const int64_t n = std::min(kTile, count - first);
    const float *tile = data + begin * width + begin + first;
    blas::multiply(kStrip, n, first, 2.0f, delta, count, tile, width, 0.0f,
                   product.data(), kTile);
    blas::multiply(kStrip, n, n, 1.0f, delta + first, count,
                   tile + first * width, width, 1.0f, product.data(), kTile);
    for (int64_t r = 0; r != rows; ++r)
      costs[r] += dot(&product[r * kTile], delta + r * count + first, n);
  }
}

double OutputMetric::cost(const float *delta, int64_t rows,
                          ThreadPool &pool) const {
  std::vector<double> costs(rows);
  pool.parallelFor(0, rows, kStrip, [&](int64_t first, int64_t last) {
    const float *strip = delta + first * width;
    std::vector<float> filled;
    if (last - first < kStrip) {
      filled.assign(strip, strip + (last - first) * width);
      filled.resize(kStrip * width);
      strip = filled.data();
    }
    stripCosts(strip, last - first, 0, width, &costs[first]);
  });
  return std::accumulate(costs.begin(), costs.end(), 0.0);
}
