//===- AWQ.cpp - Scales and clip bounds of AWQ ----------------------------===//
//
// Candidates are tried one after another; each is measured on strips of rows in
// parallel, whose costs are added in order.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/AWQ.h"
#include "RoundRows.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

using namespace llq;
using namespace llq::numerics;

static constexpr int64_t kStrip = OutputMetric::kStrip;
/// Clip bounds are A (1 - u / 20), u = 0..9.
static constexpr int kClipSteps = 10;

std::vector<float> llq::numerics::awqScales(std::span<const float> meanAbs,
                                            double alpha) {
  std::vector<double> powers(meanAbs.size());
  double least = std::numeric_limits<double>::infinity(), greatest = 0;
  for (size_t k = 0; k != powers.size(); ++k) {
    powers[k] = std::max(std::pow(double(meanAbs[k]), alpha), 1e-4);
    least = std::min(least, powers[k]);
    greatest = std::max(greatest, powers[k]);
  }
  const double middle = std::sqrt(least * greatest);
  std::vector<float> scales(powers.size());
  std::transform(powers.begin(), powers.end(), scales.begin(),
                 [&](double power) { return float(power / middle); });
  return scales;
}

/// `row` becomes Q(row diag s) diag 1/s. False if a scaled weight is not
/// finite.
static bool roundScaledRow(float *row, std::span<const float> scales,
                           const UniformGridOptions &grid,
                           std::vector<uint8_t> &codes) {
  const int64_t columns = scales.size();
  for (int64_t k = 0; k != columns; ++k)
    row[k] *= scales[k];
  const bool finite = roundRow(row, columns, grid, codes);
  for (int64_t k = 0; k != columns; ++k)
    row[k] /= scales[k];
  return finite;
}

bool llq::numerics::awqRound(const SiteLayer &layer,
                             std::span<const float> scales,
                             const UniformGridOptions &grid, float *rounded,
                             ThreadPool &pool) {
  const int64_t columns = scales.size();
  std::atomic<bool> overflow = false;
  pool.parallelFor(0, layer.rows, kStrip, [&](int64_t first, int64_t last) {
    std::vector<uint8_t> codes(columns);
    for (int64_t r = first; r != last; ++r) {
      float *row = rounded + r * columns;
      std::copy_n(layer.weights + r * columns, columns, row);
      if (!roundScaledRow(row, scales, grid, codes))
        overflow = true;
    }
  });
  return !overflow;
}

double llq::numerics::awqCost(std::span<const SiteLayer> layers,
                              std::span<const float> scales,
                              const OutputMetric &metric,
                              const UniformGridOptions &grid,
                              ThreadPool &pool) {
  const int64_t columns = metric.channels();
  assert(static_cast<int64_t>(scales.size()) == columns);
  double sum = 0;
  std::atomic<bool> overflow = false;
  for (const SiteLayer &layer : layers) {
    std::vector<double> costs(layer.rows);
    pool.parallelFor(0, layer.rows, kStrip, [&](int64_t first, int64_t last) {
      std::vector<float> delta(kStrip * columns);
      std::vector<uint8_t> codes(columns);
      for (int64_t r = first; r != last; ++r) {
        const float *source = layer.weights + r * columns;
        float *row = delta.data() + (r - first) * columns;
        std::copy_n(source, columns, row);
        if (!roundScaledRow(row, scales, grid, codes))
          overflow = true;
        for (int64_t k = 0; k != columns; ++k)
          row[k] -= source[k];
      }
      metric.stripCosts(delta.data(), last - first, 0, columns, &costs[first]);
    });
    sum = std::accumulate(costs.begin(), costs.end(), sum);
  }
  return overflow ? std::numeric_limits<double>::infinity() : sum;
}

AWQScales llq::numerics::searchAWQScales(
    std::span<const float> meanAbs,
    const std::function<double(std::span<const float>)> &cost) {
  AWQScales best;
  double least = 0;
  for (int step = 0; step != kAWQStrengths; ++step) {
    const double alpha = double(step) / kAWQStrengths;
    std::vector<float> scales = awqScales(meanAbs, alpha);
    best.costs.push_back(cost(scales));
    if (step == 0 || best.costs.back() < least) {
      least = best.costs.back();
      best.alpha = alpha;
      best.scales = std::move(scales);
    }
  }
  return best;
}

AWQScales llq::numerics::searchAWQScales(std::span<const SiteLayer> layers,
                                         std::span<const float> meanAbs,
                                         const OutputMetric &metric,
                                         const UniformGridOptions &grid,
                                         ThreadPool &pool) {
  return searchAWQScales(meanAbs, [&](std::span<const float> scales) {
    return awqCost(layers, scales, metric, grid, pool);
  });
}

std::vector<float>
llq::numerics::meanOverSharedHeads(std::span<const float> values,
                                   int64_t headSize, int64_t sharing) {
  assert(values.size() % (headSize * sharing) == 0);
  std::vector<float> means(values.size() / sharing);
  for (size_t i = 0; i != means.size(); ++i) {
    const int64_t head = i / headSize * sharing, channel = i % headSize;
    double sum = 0;
    for (int64_t h = head; h != head + sharing; ++h)
      sum += values[h * headSize + channel];
    means[i] = float(sum / double(sharing));
  }
  return means;
}

std::vector<float> llq::numerics::repeatHeads(std::span<const float> values,
                                              int64_t headSize,
                                              int64_t sharing) {
  std::vector<float> result(values.size() * sharing);
  for (size_t i = 0; i != result.size(); ++i)
    result[i] = values[i / (headSize * sharing) * headSize + i % headSize];
  return result;
}

void llq::numerics::searchAWQClip(const float *weights, int64_t rows,
                                  std::span<const float> scales,
                                  const OutputMetric &metric,
                                  const UniformGridOptions &grid, float *bounds,
                                  ThreadPool &pool) {
  const int64_t columns = metric.channels();
  const int64_t length = grid.groupLength(columns);
  const int64_t groups = grid.groupsPerRow(columns);
  assert(scales.empty() || static_cast<int64_t>(scales.size()) == columns);
  pool.parallelFor(0, rows, kStrip, [&](int64_t first, int64_t last) {
    std::vector<float> delta(kStrip * length);
    std::vector<uint8_t> codes(length);
    std::vector<double> costs(kStrip), least(kStrip);
    std::vector<float> largest(kStrip);
    for (int64_t group = 0; group != groups; ++group) {
      const int64_t begin = group * length;
      const int64_t size = std::min(length, columns - begin);
      for (int64_t r = first; r != last; ++r) {
        const float *source = weights + r * columns + begin;
        largest[r - first] = std::fabs(
            *std::max_element(source, source + size, [](float a, float b) {
              return std::fabs(a) < std::fabs(b);
            }));
      }
      for (int step = 0; step != kClipSteps; ++step) {
        const float share = float(1.0 - step / 20.0);
        for (int64_t r = first; r != last; ++r) {
          const float *source = weights + r * columns + begin;
          const float bound = largest[r - first] * share;
          float *row = delta.data() + (r - first) * size;
          for (int64_t k = 0; k != size; ++k)
            row[k] = std::clamp(source[k], -bound, bound);
          [[maybe_unused]] bool finite = roundRow(row, size, grid, codes);
          assert(finite && "clamping keeps weights finite");
          for (int64_t k = 0; k != size; ++k) {
            row[k] -= source[k];
            if (!scales.empty())
              row[k] /= scales[begin + k];
          }
        }
        metric.stripCosts(delta.data(), last - first, begin, size,
                          costs.data());
        for (int64_t r = first; r != last; ++r)
          if (step == 0 || costs[r - first] < least[r - first]) {
            least[r - first] = costs[r - first];
            bounds[r * groups + group] = largest[r - first] * share;
          }
      }
    }
  });
}

void llq::numerics::clampGroups(float *weights, int64_t rows, int64_t columns,
                                const UniformGridOptions &grid,
                                const float *bounds) {
  const int64_t length = grid.groupLength(columns);
  int64_t group = 0;
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t first = 0; first < columns; first += length, ++group)
      for (int64_t k = first; k != std::min(first + length, columns); ++k)
        weights[r * columns + k] =
            std::clamp(weights[r * columns + k], -bounds[group], bounds[group]);
}
