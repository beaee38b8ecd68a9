//===- MixedPrecision.cpp - Groups of different widths, compensated -------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/MixedPrecision.h"
#include "ColumnPowers.h"
#include "GroupRange.h"
#include "GroupedRounder.h"
#include "VectorClones.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

using namespace llq;
using namespace llq::numerics;

static constexpr int64_t kStrip = kStripRows;

namespace {
/// Which elements of a matrix are salient.
class SalientElements {
public:
  SalientElements(const float *weights, int64_t rows, const GPTQFactor &factor,
                  double deviations, ThreadPool &pool)
      : powers(weights, rows, factor, pool), length(factor.groupLength()) {
    const int64_t columns = factor.columns();
    for (int64_t begin = 0; begin < columns; begin += length) {
      const int64_t end = std::min(begin + length, columns);
      const double count = static_cast<double>((end - begin) * rows);
      double sum = 0, squares = 0;
      for (int64_t j = begin; j != end; ++j) {
        sum += powers.importance[j] * powers.second[j];
        squares +=
            powers.importance[j] * powers.importance[j] * powers.fourth[j];
      }
      const double mean = sum / count;
      thresholds.push_back(
          mean +
          deviations * std::sqrt(std::max(squares / count - mean * mean, 0.0)));
    }
  }

  bool contains(float weight, int64_t column) const {
    const double value = weight;
    return powers.importance[column] * (value * value) >
           thresholds[column / length];
  }

private:
  ColumnPowers powers;
  int64_t length;
  std::vector<double> thresholds; ///< of each group
};

/// The grids of one group in all rows of a strip, in the form the loop wants.
struct StripAffine {
  float scale[kStrip], offset[kStrip];

  StripAffine() {
    std::fill_n(scale, kStrip, 1.0f);
    std::fill_n(offset, kStrip, 0.0f);
  }
};
} // namespace

/// Rounds one column of a strip to the nearest codes.
LLQ_VECTOR_CLONES static void roundToAffine(const float *__restrict current,
                                            const StripAffine &grid,
                                            float maxCode,
                                            uint8_t *__restrict codes,
                                            float *__restrict rounded) {
  for (int64_t r = 0; r != kStrip; ++r) {
    float code = (current[r] - grid.offset[r]) / grid.scale[r];
    code = code > 0.0f ? code : 0.0f;
    code = code < maxCode ? code : maxCode;
    code = roundToInteger(code);
    codes[r] = static_cast<uint8_t>(static_cast<int32_t>(code));
    rounded[r] = grid.scale[r] * code + grid.offset[r];
  }
}

/// The same to one bit.
LLQ_VECTOR_CLONES static void roundToBit(const float *__restrict current,
                                         const StripAffine &grid,
                                         uint8_t *__restrict codes,
                                         float *__restrict rounded) {
  for (int64_t r = 0; r != kStrip; ++r) {
    const bool bit = current[r] - grid.offset[r] >= grid.scale[r] * 0.5f;
    codes[r] = bit;
    rounded[r] = (bit ? grid.scale[r] : 0.0f) + grid.offset[r];
  }
}

namespace {
/// The affine grids of a strip of rows.
class AffineGrids {
public:
  using Strip = StripAffine;

  /// `source`: the strip's weights as they were given; `salient` may be null.
  AffineGrids(const MixedPrecisionOptions &options,
              std::span<const uint8_t> widths, const SalientElements *salient,
              const float *source, int64_t columns, float *scales,
              float *offsets)
      : options(options), widths(widths), salient(salient), source(source),
        columns(columns), scales(scales), offsets(offsets) {}

  void choose(const StripGroup &group, StripAffine &strip) {
    const AffineGrid grid = find(group);
    const int64_t at =
        group.row * static_cast<int64_t>(widths.size()) + group.group;
    scales[at] = strip.scale[group.row] = grid.scale;
    offsets[at] = strip.offset[group.row] = grid.offset;
  }

  void round(int64_t group, const float *current, const StripAffine &strip,
             uint8_t *codes, float *rounded) const {
    if (widths[group] == 1)
      roundToBit(current, strip, codes, rounded);
    else
      roundToAffine(current, strip,
                    static_cast<float>((1 << widths[group]) - 1), codes,
                    rounded);
  }

private:
  AffineGrid find(const StripGroup &group) {
    if (!allFinite(group.values))
      return {1.0f, 0.0f};
    omega.clear();
    if (salient)
      for (int64_t column : group.columns)
        omega.push_back(
            salient->contains(source[group.row * columns + column], column)
                ? static_cast<float>(options.salientWeight)
                : 1.0f);
    return searchAffineGrid(group.values, omega, widths[group.group],
                            options.grid);
  }

  const MixedPrecisionOptions &options;
  std::span<const uint8_t> widths;
  const SalientElements *salient;
  const float *source;
  int64_t columns;
  float *scales, *offsets;
  std::vector<float> omega;
};
} // namespace

std::optional<NonFiniteWeight> llq::numerics::quantizeMixed(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    std::span<const uint8_t> widths, const MixedPrecisionOptions &options,
    const MixedRows &result, CompensatedLoss &loss, ThreadPool &pool) {
  const int64_t columns = factor.columns(), groups = factor.groupCount();
  assert(static_cast<int64_t>(widths.size()) == groups);
  assert(!factor.options().isStoredPermuted(columns));
  if (auto bad = findNonFinite(weights, rows, columns))
    return bad;
  std::optional<SalientElements> salient;
  if (options.salientWeight != 1)
    salient.emplace(weights, rows, factor, options.salientDeviations, pool);
  auto makeGrids = [&](int64_t first, int64_t) {
    return AffineGrids(options, widths, salient ? &*salient : nullptr,
                       weights + first * columns, columns,
                       result.scales + first * groups,
                       result.offsets + first * groups);
  };
  loss.merge(
      roundGrouped(weights, rows, factor, result.codes, makeGrids, pool));
  return std::nullopt;
}

void llq::numerics::dequantizeMixed(const uint8_t *codes, const float *scales,
                                    const float *offsets, int64_t rows,
                                    int64_t columns, int64_t groupSize,
                                    float *weights) {
  const UniformGridOptions groups{.groupSize = groupSize};
  const int64_t length = groups.groupLength(columns);
  int64_t index = 0;
  for (int64_t row = 0; row != rows; ++row)
    for (int64_t column = 0; column < columns; column += length, ++index) {
      const int64_t at = row * columns + column;
      const size_t size = std::min(length, columns - column);
      dequantizeGroup({codes + at, size},
                      AffineGrid{scales[index], offsets[index]},
                      {weights + at, size});
    }
}
