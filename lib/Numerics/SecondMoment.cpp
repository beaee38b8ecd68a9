//===- SecondMoment.cpp - Statistics of a layer's inputs ------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/SecondMoment.h"
#include "BLAS.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <cmath>

using namespace llq;
using namespace llq::numerics;

/// Side of a tile of H, and tokens whose products are formed in f32. 512 terms
/// in f32 lose about log2(512) / 2 bits of 24; the f64 sum over slabs none.
static constexpr int64_t kTile = 512, kSlab = 512;
/// Channels that one thread sums up at a time.
static constexpr int64_t kChannelGrain = 256;

ChannelStatistics::ChannelStatistics(int64_t channels)
    : maxima(channels), sums(channels), absSums(channels),
      squareSums(channels) {}

std::optional<NonFiniteActivation>
ChannelStatistics::add(const float *x, int64_t tokens, ThreadPool &pool) {
  const int64_t width = channels();
  const int64_t chunks = (width + kChannelGrain - 1) / kChannelGrain;
  // First bad token of each chunk of channels; `tokens` if there is none.
  std::vector<int64_t> badTokens(chunks, tokens);
  pool.parallelFor(0, width, kChannelGrain, [&](int64_t first, int64_t last) {
    for (int64_t token = 0; token != tokens; ++token) {
      const float *row = x + token * width;
      float poison = 0;
      for (int64_t k = first; k != last; ++k)
        poison += row[k] * 0.0f;
      if (poison != 0.0f || std::isnan(poison)) {
        badTokens[first / kChannelGrain] = token;
        return;
      }
    }
  });
  if (int64_t bad = *std::min_element(badTokens.begin(), badTokens.end());
      bad != tokens) {
    const float *row = x + bad * width;
    const float *value = std::find_if(
        row, row + width, [](float v) { return !std::isfinite(v); });
    return NonFiniteActivation{bad, value - row, *value};
  }

  pool.parallelFor(0, width, kChannelGrain, [&](int64_t first, int64_t last) {
    for (int64_t token = 0; token != tokens; ++token) {
      const float *row = x + token * width;
      for (int64_t k = first; k != last; ++k) {
        const double value = row[k];
        maxima[k] = std::max(maxima[k], std::fabs(row[k]));
        sums[k] += value;
        absSums[k] += std::fabs(value);
        squareSums[k] += value * value;
      }
    }
  });
  count += tokens;
  return std::nullopt;
}

std::vector<float>
ChannelStatistics::divided(const std::vector<double> &sum) const {
  std::vector<float> result(sum.size());
  if (count != 0)
    std::transform(sum.begin(), sum.end(), result.begin(), [&](double value) {
      return static_cast<float>(value / static_cast<double>(count));
    });
  return result;
}

SecondMoment::SecondMoment(int64_t channels)
    : statistics(channels), tilesPerSide((channels + kTile - 1) / kTile),
      tiles(tilesPerSide * (tilesPerSide + 1) / 2 * kTile * kTile) {}

int64_t SecondMoment::tileOffset(int64_t row, int64_t column) const {
  assert(row <= column && column < tilesPerSide);
  return (column * (column + 1) / 2 + row) * kTile * kTile;
}

std::optional<NonFiniteActivation>
SecondMoment::add(const float *x, int64_t tokens, ThreadPool &pool) {
  if (auto bad = statistics.add(x, tokens, pool))
    return bad;
  accumulate(x, tokens, 1, pool);
  weight += static_cast<double>(tokens);
  return std::nullopt;
}

void SecondMoment::raiseShare(const float *x, int64_t tokens, double share,
                              ThreadPool &pool) {
  const double count = static_cast<double>(tokens);
  const double rest = weight - count;
  const double factor = share * rest / (count * (1 - share));
  if (!(tokens > 0 && rest > 0 && factor > 1))
    return;
  accumulate(x, tokens, factor - 1, pool);
  weight += (factor - 1) * count;
}

void SecondMoment::accumulate(const float *x, int64_t tokens, double factor,
                              ThreadPool &pool) {
  const int64_t width = channels();
  const int64_t pairs = tilesPerSide * (tilesPerSide + 1) / 2;
  pool.parallelFor(0, pairs, 1, [&](int64_t pair, int64_t) {
    int64_t column = 0;
    while ((column + 1) * (column + 2) / 2 <= pair)
      ++column;
    const int64_t row = pair - column * (column + 1) / 2;
    const int64_t m = std::min(kTile, width - row * kTile);
    const int64_t n = std::min(kTile, width - column * kTile);
    double *tile = tiles.data() + tileOffset(row, column);
    std::vector<float> product(m * n);
    for (int64_t first = 0; first < tokens; first += kSlab) {
      const float *slab = x + first * width;
      blas::transposedMultiply(m, n, std::min(kSlab, tokens - first),
                               slab + row * kTile, width, slab + column * kTile,
                               width, 0.0f, product.data(), n);
      for (int64_t i = 0; i != m; ++i)
        for (int64_t j = 0; j != n; ++j)
          tile[i * kTile + j] +=
              factor * static_cast<double>(product[i * n + j]);
    }
  });
}

std::vector<float> SecondMoment::meanMatrix(ThreadPool &pool) const {
  const int64_t width = channels();
  std::vector<float> matrix(width * width);
  if (tokens() == 0)
    return matrix;
  pool.parallelFor(0, width, 16, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i != last; ++i)
      for (int64_t j = 0; j != width; ++j) {
        // The product of a diagonal tile need not be symmetric to the last bit:
        // the upper triangle counts.
        const int64_t row = std::min(i, j), column = std::max(i, j);
        const double *tile =
            tiles.data() + tileOffset(row / kTile, column / kTile);
        matrix[i * width + j] = static_cast<float>(
            tile[row % kTile * kTile + column % kTile] / weight);
      }
  });
  return matrix;
}
