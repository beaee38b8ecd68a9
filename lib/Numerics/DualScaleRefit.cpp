//===- DualScaleRefit.cpp - Scales that fit planes at the output ----------===//
//
// With B[K, 2G] the planes of a row, each group's in columns of its own, the
// change x of the row's scales that serves best solves
//
//   B^T (H + lambda I) B x = B^T (H + lambda I) delta^T.
//
// Most of the work is in the products of H with planes and deltas, which a
// strip of rows takes tile by tile of the upper triangle of H: a tile gives
// what its rows of columns have to do with its columns, for both planes and the
// delta, and the other way round.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "BLAS.h"
#include "Dot.h"
#include "RoundToType.h"
#include "VectorClones.h"
#include "llq/Numerics/Cholesky.h"
#include "llq/Numerics/DualBinarization.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <vector>

using namespace llq;
using namespace llq::numerics;

/// Rows that are refitted together.
static constexpr int64_t kStrip = 256;
/// Groups that are solved for together. All of a row at once would take about
/// a third more time and gain little: the loss falls by 3.91 instead of 3.90
/// % where there are twice as many tokens as columns.
static constexpr int64_t kPanelGroups = 16;
/// Columns of a tile of H, and of a product with it.
static constexpr int64_t kTile = 256, kChunk = 512;

/// sums[i][j] = a_i . b_j for the rows a_i, b_j of two planes and a delta, from
/// `strideA` and `strideB` apart.
LLQ_VECTOR_CLONES static void dotAll(const float *__restrict a, int64_t strideA,
                                     const float *__restrict b, int64_t strideB,
                                     int64_t count, float (&sums)[3][3]) {
  constexpr int64_t lanes = 16;
  const float *b0 = b, *b1 = b + strideB, *b2 = b + 2 * strideB;
  for (int i = 0; i != 3; ++i) {
    const float *row = a + i * strideA;
    float partial[3][lanes] = {};
    int64_t k = 0;
    for (; k + lanes <= count; k += lanes)
      for (int64_t lane = 0; lane != lanes; ++lane) {
        partial[0][lane] += row[k + lane] * b0[k + lane];
        partial[1][lane] += row[k + lane] * b1[k + lane];
        partial[2][lane] += row[k + lane] * b2[k + lane];
      }
    for (int64_t lane = 0; k != count; ++k, ++lane) {
      partial[0][lane] += row[k] * b0[k];
      partial[1][lane] += row[k] * b1[k];
      partial[2][lane] += row[k] * b2[k];
    }
    for (int j = 0; j != 3; ++j) {
      for (int64_t width = lanes / 2; width != 0; width /= 2)
        for (int64_t lane = 0; lane != width; ++lane)
          partial[j][lane] += partial[j][lane + width];
      sums[i][j] = partial[j][0];
    }
  }
}

namespace {
/// Columns [begin, end) of one group.
struct Tile {
  int64_t begin, end, group;
  int64_t width() const { return end - begin; }
};

/// H + lambda I and how its columns are grouped.
struct Metric {
  const float *secondMoment; ///< [columns, columns]
  double lambda;
  int64_t columns, groupLength, groupCount;

  const float *at(int64_t row, int64_t column) const {
    return secondMoment + row * columns + column;
  }
};

/// A strip of rows whose scales are refitted.
class RefitStrip {
public:
  RefitStrip(const Metric &metric, ScaleType type, const float *weights,
             const uint8_t *codes, float *scales, int64_t rows,
             ThreadPool &pool);

  /// Refits the scales of all groups. Returns by how much the loss has fallen.
  double refit();

private:
  void beginPanel(int64_t firstGroup, int64_t endGroup);
  void addOutside();
  void addTile(size_t index);
  void addPair(const Tile &a, const Tile &b, const float *products);
  std::vector<double> bestChange(int64_t row);
  double lossChange(int64_t row, const std::vector<double> &change);
  double moveScales(int64_t row);

  int64_t unknowns() const { return 2 * (panelEnd - panelBegin); }
  int64_t columnOf(int64_t group) const {
    return std::min(group * metric.groupLength, metric.columns);
  }
  /// Row `row` of plane 0 or 1, or of the deltas: 2.
  float *part(int64_t which, int64_t row) {
    return parts.data() + (which * kStrip + row) * metric.columns;
  }
  /// Entry (i, j) of the normal matrix of a row, of which the upper triangle
  /// and that of each group are kept.
  float &normal(int64_t row, int64_t i, int64_t j) {
    return normals[(row * unknowns() + i) * unknowns() + j];
  }

  const Metric &metric;
  const ScaleType type;
  float *scales; ///< [rows, groupCount, 2]
  const int64_t rows;
  ThreadPool &pool;
  std::vector<float> parts; ///< [3, kStrip, columns]
  // Of the panel, groups [panelBegin, panelEnd):
  int64_t panelBegin = 0, panelEnd = 0;
  std::vector<Tile> tiles;
  std::vector<float> normals; ///< [kStrip, unknowns, unknowns]
  std::vector<double> sides;  ///< [kStrip, unknowns]
  std::vector<float> product, outside;
};
} // namespace

RefitStrip::RefitStrip(const Metric &metric, ScaleType type,
                       const float *weights, const uint8_t *codes,
                       float *scales, int64_t rows, ThreadPool &pool)
    : metric(metric), type(type), scales(scales), rows(rows), pool(pool),
      parts(3 * kStrip * metric.columns), product(3 * kStrip * kChunk) {
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = 0; j != metric.columns; ++j) {
      const int64_t at = r * metric.columns + j;
      const float *pair =
          scales + 2 * (r * metric.groupCount + j / metric.groupLength);
      const float first = static_cast<float>(codes[at] & 1);
      const float second = static_cast<float>(codes[at] >> 1);
      part(0, r)[j] = first;
      part(1, r)[j] = second;
      // As everywhere, weights without inputs are 0.
      const float weight = *metric.at(j, j) == 0 ? 0.0f : weights[at];
      part(2, r)[j] = weight - (pair[0] * first + pair[1] * second);
    }
}

void RefitStrip::beginPanel(int64_t firstGroup, int64_t endGroup) {
  panelBegin = firstGroup;
  panelEnd = endGroup;
  normals.assign(kStrip * unknowns() * unknowns(), 0.0f);
  sides.assign(kStrip * unknowns(), 0.0);
  tiles.clear();
  for (int64_t group = firstGroup; group != endGroup; ++group)
    for (int64_t begin = columnOf(group), end = columnOf(group + 1);
         begin < end; begin += kTile)
      tiles.push_back({begin, std::min(begin + kTile, end), group});
}

/// What deltas outside the panel have to do with its planes.
void RefitStrip::addOutside() {
  const int64_t begin = columnOf(panelBegin), end = columnOf(panelEnd);
  if (begin == 0 && end == metric.columns)
    return;
  const int64_t width = end - begin;
  outside.resize(kStrip * width);
  blas::multiply(kStrip, width, begin, 1.0f, part(2, 0), metric.columns,
                 metric.at(0, begin), metric.columns, 0.0f, outside.data(),
                 width);
  blas::multiply(kStrip, width, metric.columns - end, 1.0f, part(2, 0) + end,
                 metric.columns, metric.at(end, begin), metric.columns, 1.0f,
                 outside.data(), width);
  for (const Tile &tile : tiles)
    for (int64_t r = 0; r != rows; ++r)
      for (int64_t plane = 0; plane != 2; ++plane)
        sides[r * unknowns() + 2 * (tile.group - panelBegin) + plane] +=
            dot(&outside[r * width + tile.begin - begin],
                part(plane, r) + tile.begin, tile.width());
}

/// What the columns of `a` have to do with those of `b`, the same or later
/// ones, given products[3, kStrip, kChunk] of the parts with H.
void RefitStrip::addPair(const Tile &a, const Tile &b, const float *products) {
  const int64_t i = 2 * (a.group - panelBegin), j = 2 * (b.group - panelBegin);
  float sums[3][3];
  for (int64_t r = 0; r != rows; ++r) {
    dotAll(products + r * kChunk, kStrip * kChunk, part(0, r) + b.begin,
           kStrip * metric.columns, b.width(), sums);
    double *side = &sides[r * unknowns()];
    for (int64_t p = 0; p != 2; ++p) {
      for (int64_t q = 0; q != 2; ++q) {
        normal(r, i + p, j + q) += sums[p][q];
        if (i == j && a.begin != b.begin)
          normal(r, i + q, j + p) += sums[p][q];
      }
      side[i + p] += sums[p][2];
      if (a.begin != b.begin)
        side[j + p] += sums[2][p];
    }
  }
}

/// Tile `index` with itself and the ones that follow.
void RefitStrip::addTile(size_t index) {
  const Tile &tile = tiles[index];
  for (size_t first = index; first != tiles.size();) {
    size_t last = first;
    while (last != tiles.size() &&
           tiles[last].end - tiles[first].begin <= kChunk)
      ++last;
    const int64_t begin = tiles[first].begin;
    blas::multiply(3 * kStrip, tiles[last - 1].end - begin, tile.width(), 1.0f,
                   part(0, 0) + tile.begin, metric.columns,
                   metric.at(tile.begin, begin), metric.columns, 0.0f,
                   product.data(), kChunk);
    if (first == index) // lambda I
      for (int64_t row = 0; row != 3 * kStrip; ++row)
        for (int64_t j = 0; j != tile.width(); ++j)
          product[row * kChunk + j] +=
              static_cast<float>(metric.lambda) * part(0, row)[tile.begin + j];
    for (; first != last; ++first)
      addPair(tile, tiles[first],
              product.data() + (tiles[first].begin - begin));
  }
}

/// side = matrix^-1 side for the upper triangle of a positive definite
/// matrix[n, n], which is destroyed. False if it is none.
static bool solve(std::vector<double> &matrix, std::vector<double> &side,
                  ThreadPool &pool) {
  const auto n = static_cast<int64_t>(side.size());
  if (!factorUpper(matrix.data(), n, pool))
    return false;
  // With V V^T x = side, first V^T x, then x.
  for (int64_t i = n - 1; i >= 0; --i) {
    const double *row = &matrix[i * n];
    side[i] -= dot(row + i + 1, side.data() + i + 1, n - i - 1);
    side[i] /= row[i];
  }
  for (int64_t i = 0; i != n; ++i) {
    side[i] /= matrix[i * n + i];
    for (int64_t j = i + 1; j != n; ++j)
      side[j] -= matrix[i * n + j] * side[i];
  }
  return true;
}

/// The best changes of a row's scales, 0 if there are none.
std::vector<double> RefitStrip::bestChange(int64_t row) {
  const int64_t n = unknowns();
  std::vector<double> matrix(n * n);
  std::vector<double> side(&sides[row * n], &sides[row * n] + n);
  for (int64_t i = 0; i != n; ++i)
    for (int64_t j = i; j != n; ++j)
      matrix[i * n + j] = static_cast<double>(normal(row, i, j));

  // A scale that has no bits of its own stays as it is.
  auto fix = [&](int64_t unknown) {
    for (int64_t i = 0; i != n; ++i)
      matrix[std::min(i, unknown) * n + std::max(i, unknown)] = i == unknown;
    side[unknown] = 0;
  };
  for (int64_t i = 0; i != n; i += 2) {
    const double first = matrix[i * n + i];
    const double both = matrix[i * n + i + 1];
    const double second = matrix[(i + 1) * n + i + 1];
    const bool hasFirst = first > 0;
    const bool hasSecond =
        hasFirst ? first * second - both * both > 1e-6 * first * second
                 : second > 0;
    if (!hasFirst)
      fix(i);
    if (!hasSecond)
      fix(i + 1);
  }
  if (!solve(matrix, side, pool))
    side.assign(n, 0.0);
  return side;
}

/// By how much the loss of a row changes with its scales.
double RefitStrip::lossChange(int64_t row, const std::vector<double> &change) {
  const int64_t n = unknowns();
  double difference = 0;
  for (int64_t i = 0; i != n; ++i) {
    double sum = 0.5 * static_cast<double>(normal(row, i, i)) * change[i];
    for (int64_t j = i + 1; j != n; ++j)
      sum += static_cast<double>(normal(row, i, j)) * change[j];
    difference += 2 * change[i] * (sum - sides[row * n + i]);
  }
  return difference;
}

/// Moves the scales of a row, if that is good for anything. Returns by how much
/// its loss has fallen.
double RefitStrip::moveScales(int64_t row) {
  float *own = scales + 2 * (row * metric.groupCount + panelBegin);
  std::vector<double> change = bestChange(row);
  std::vector<float> moved(own, own + change.size());
  for (size_t i = 0; i != change.size(); ++i) {
    const double before = own[i];
    moved[i] = roundToType(static_cast<float>(before + change[i]), type);
    change[i] = static_cast<double>(moved[i]) - before;
  }
  const double difference = lossChange(row, change);
  if (!(difference < 0))
    return 0;

  std::copy(moved.begin(), moved.end(), own);
  for (const Tile &tile : tiles) {
    const int64_t i = 2 * (tile.group - panelBegin);
    for (int64_t j = tile.begin; j != tile.end; ++j)
      part(2, row)[j] -= static_cast<float>(change[i]) * part(0, row)[j] +
                         static_cast<float>(change[i + 1]) * part(1, row)[j];
  }
  return -difference;
}

double RefitStrip::refit() {
  double gain = 0;
  for (int64_t end = metric.groupCount; end > 0; end -= kPanelGroups) {
    beginPanel(std::max<int64_t>(end - kPanelGroups, 0), end);
    addOutside();
    for (size_t tile = 0; tile != tiles.size(); ++tile)
      addTile(tile);
    for (int64_t row = 0; row != rows; ++row)
      gain += moveScales(row);
  }
  return gain;
}

double llq::numerics::refitDualScales(const float *weights, int64_t rows,
                                      int64_t columns,
                                      std::span<const float> secondMoment,
                                      double lambda,
                                      const DualBinaryOptions &options,
                                      const DualBinaryRows &result,
                                      ThreadPool &pool) {
  assert(static_cast<int64_t>(secondMoment.size()) == columns * columns);
  const UniformGridOptions groups{.groupSize = options.groupSize};
  const Metric metric{secondMoment.data(), lambda, columns,
                      groups.groupLength(columns),
                      groups.groupsPerRow(columns)};
  std::vector<double> gains((rows + kStrip - 1) / kStrip);
  pool.parallelFor(0, rows, kStrip, [&](int64_t first, int64_t last) {
    RefitStrip strip(metric, options.scaleType, weights + first * columns,
                     result.codes + first * columns,
                     result.scales + 2 * first * metric.groupCount,
                     last - first, pool);
    gains[first / kStrip] = strip.refit();
  });
  return std::accumulate(gains.begin(), gains.end(), 0.0);
}
