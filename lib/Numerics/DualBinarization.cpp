//===- DualBinarization.cpp - Weights as sums of two bit planes -----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/DualBinarization.h"
#include "GroupRange.h"
#include "GroupedRounder.h"
#include "RoundToType.h"
#include "VectorClones.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

using namespace llq;
using namespace llq::numerics;

static constexpr int64_t kStrip = kStripRows;

namespace {
/// The levels of a group in ascending order of sign * level, and in between
/// the values of sign * weight where the nearest one changes. The sign is that
/// of alpha1, which is where mirrored grids differ.
struct DualLevels {
  float sign;
  float thresholds[3];
  float levels[4];
  uint8_t codes[4];
};

/// What refitting needs of weights on their levels: how many are above each
/// threshold, and the sum of sign * weight over them; the last ones are of all.
struct LevelSums {
  std::array<double, 4> count, sum;
};
} // namespace

static DualLevels orderLevels(DualScales scales) {
  DualLevels result;
  result.sign = scales.first < 0 ? -1.0f : 1.0f;
  const double sign = result.sign, first = scales.first, second = scales.second;
  const double values[4] = {0, sign * first, sign * second,
                            sign * (first + second)};
  std::array<uint8_t, 4> order{0, 1, 2, 3};
  std::sort(order.begin(), order.end(), [&](uint8_t a, uint8_t b) {
    return values[a] != values[b] ? values[a] < values[b] : a < b;
  });
  const float levels[4] = {0, scales.first, scales.second,
                           scales.first + scales.second};
  for (int i = 0; i != 4; ++i) {
    // Levels that are equal are one, of the least code.
    const bool again = i != 0 && values[order[i]] == values[order[i - 1]];
    result.codes[i] = again ? result.codes[i - 1] : order[i];
    result.levels[i] = levels[order[i]];
  }
  for (int i = 0; i != 3; ++i)
    result.thresholds[i] =
        static_cast<float>(0.5 * (values[order[i]] + values[order[i + 1]]));
  return result;
}

/// The sum of all lanes, in order.
static double total(const float (&lanes)[kLanes]) {
  return std::accumulate(std::begin(lanes), std::end(lanes), 0.0);
}

/// The sum of squared distances to the nearest level.
LLQ_VECTOR_CLONES static double sumErrors(const float *__restrict group,
                                          int64_t count, DualScales scales) {
  const float b = scales.first, c = scales.second, d = b + c;
  constexpr int64_t chunk = 32 * kLanes; // floats are exact enough for it
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += chunk) {
    float sums[kLanes] = {};
    const float *values = group + begin;
    inLanes(std::min(chunk, count - begin), [&](int64_t lane, int64_t i) {
      const float value = values[i];
      const float toA = std::fabs(value), toB = std::fabs(value - b);
      const float toC = std::fabs(value - c), toD = std::fabs(value - d);
      const float left = toA < toB ? toA : toB;
      const float right = toC < toD ? toC : toD;
      const float error = left < right ? left : right;
      sums[lane] += error * error;
    });
    sum += total(sums);
  }
  return sum;
}

LLQ_VECTOR_CLONES static LevelSums sumLevels(const float *__restrict group,
                                             int64_t count,
                                             const DualLevels &levels) {
  const float sign = levels.sign;
  const float low = levels.thresholds[0], middle = levels.thresholds[1],
              high = levels.thresholds[2];
  float counts[3][kLanes] = {}, sums[4][kLanes] = {};
  inLanes(count, [&](int64_t lane, int64_t i) {
    const float value = sign * group[i];
    counts[0][lane] += value > low ? 1.0f : 0.0f;
    counts[1][lane] += value >= middle ? 1.0f : 0.0f;
    counts[2][lane] += value > high ? 1.0f : 0.0f;
    sums[0][lane] += value > low ? value : 0.0f;
    sums[1][lane] += value >= middle ? value : 0.0f;
    sums[2][lane] += value > high ? value : 0.0f;
    sums[3][lane] += value;
  });
  return {{total(counts[0]), total(counts[1]), total(counts[2]),
           static_cast<double>(count)},
          {total(sums[0]), total(sums[1]), total(sums[2]), total(sums[3])}};
}

/// The scales that fit the planes of `scales` best. One whose bits are all 0,
/// or all those of the other, stays.
static DualScales fitPlanes(std::span<const float> group, DualScales scales) {
  const DualLevels levels = orderLevels(scales);
  const LevelSums above =
      sumLevels(group.data(), static_cast<int64_t>(group.size()), levels);
  // By code: how many weights, and their sum.
  double count[4] = {}, sum[4] = {};
  for (int i = 0; i != 4; ++i) {
    const int from = i == 0 ? 3 : i - 1; // above nothing: all
    const bool last = i == 3;
    count[levels.codes[i]] += above.count[from] - (last ? 0 : above.count[i]);
    sum[levels.codes[i]] +=
        levels.sign * (above.sum[from] - (last ? 0 : above.sum[i]));
  }
  // [[n1, n12], [n12, n2]] alpha = [r1, r2]
  const double n1 = count[1] + count[3], n2 = count[2] + count[3];
  const double n12 = count[3];
  const double r1 = sum[1] + sum[3], r2 = sum[2] + sum[3];
  const double determinant = n1 * n2 - n12 * n12;
  double first = scales.first, second = scales.second;
  if (determinant > 0) {
    first = (n2 * r1 - n12 * r2) / determinant;
    second = (n1 * r2 - n12 * r1) / determinant;
  } else if (n1 > 0) {
    first = (r1 - n12 * second) / n1;
  } else if (n2 > 0) {
    second = r2 / n2;
  }
  if (!std::isfinite(first) || !std::isfinite(second))
    return scales;
  return {static_cast<float>(first), static_cast<float>(second)};
}

namespace {
/// The search for one group's scales.
class DualSearch {
public:
  DualSearch(std::span<const float> group, const DualBinaryOptions &options)
      : group(group), options(options) {}

  /// Keeps `scales` if they are better than all before. Returns whether they
  /// are.
  bool consider(DualScales scales) {
    scales = {roundToType(scales.first, options.scaleType),
              roundToType(scales.second, options.scaleType)};
    const double error =
        sumErrors(group.data(), static_cast<int64_t>(group.size()), scales);
    if (!(error < least))
      return false;
    least = error;
    best = scales;
    return true;
  }

  /// Planes and scales in turn, from the best scales.
  void alternate() {
    for (int round = 0; round != options.rounds; ++round)
      if (!consider(fitPlanes(group, best)))
        break;
  }

  double error() const { return least; }
  DualScales result() const { return best; }

private:
  std::span<const float> group;
  const DualBinaryOptions &options;
  double least = std::numeric_limits<double>::infinity();
  DualScales best{0, 0};
};
} // namespace

DualScales llq::numerics::fitDualScales(std::span<const float> group,
                                        const DualBinaryOptions &options) {
  float largest = 0;
  for (float weight : group)
    largest = std::max(largest, std::fabs(weight));
  if (largest == 0)
    return {0, 0};

  if (options.start == DualStart::Largest) {
    DualSearch search(group, options);
    search.consider({largest, -largest / 2});
    search.alternate();
    return search.result();
  }
  DualSearch upward(group, options), downward(group, options);
  for (int share = 20; share >= 6; --share) {
    const float first = largest * (static_cast<float>(share) / 20.0f);
    upward.consider({first, -first / 2});
    downward.consider({-first, first / 2});
  }
  upward.alternate();
  downward.alternate();
  return downward.error() < upward.error() ? downward.result()
                                           : upward.result();
}

void llq::numerics::quantizeGroup(std::span<const float> group,
                                  DualScales scales, std::span<uint8_t> codes) {
  assert(codes.size() >= group.size());
  const DualLevels levels = orderLevels(scales);
  for (size_t j = 0, e = group.size(); j != e; ++j) {
    const float value = levels.sign * group[j];
    codes[j] = levels.codes[value > levels.thresholds[2]    ? 3
                            : value >= levels.thresholds[1] ? 2
                            : value > levels.thresholds[0]  ? 1
                                                            : 0];
  }
}

void llq::numerics::dequantizeGroup(std::span<const uint8_t> codes,
                                    DualScales scales,
                                    std::span<float> weights) {
  assert(weights.size() >= codes.size());
  for (size_t j = 0, e = codes.size(); j != e; ++j)
    weights[j] = scales.first * static_cast<float>(codes[j] & 1) +
                 scales.second * static_cast<float>(codes[j] >> 1);
}

/// A group's size and rounding are those of a uniform grid.
static UniformGridOptions groupsOf(const DualBinaryOptions &options) {
  return {.groupSize = options.groupSize};
}

std::optional<NonFiniteWeight> llq::numerics::quantizeDualBinary(
    const float *weights, int64_t rows, int64_t columns,
    const DualBinaryOptions &options, const DualBinaryRows &result) {
  assert(options.groupSize >= 0 && rows >= 0 && columns >= 0);
  return quantizeGroups(
      weights, rows, columns, groupsOf(options), [&](const RowGroup &group) {
        if (!allFinite(group.weights))
          return false;
        const DualScales scales = fitDualScales(group.weights, options);
        quantizeGroup(group.weights, scales,
                      {result.codes + group.at, group.weights.size()});
        result.scales[2 * group.index] = scales.first;
        result.scales[2 * group.index + 1] = scales.second;
        return true;
      });
}

namespace {
/// DualLevels of one group in all rows of a strip, in the form the loop wants.
struct StripLevels {
  float sign[kStrip] = {};
  float thresholds[3][kStrip] = {};
  float levels[4][kStrip] = {};
  int32_t codes[4][kStrip] = {};

  void set(int64_t row, const DualLevels &from) {
    sign[row] = from.sign;
    for (int i = 0; i != 3; ++i)
      thresholds[i][row] = from.thresholds[i];
    for (int i = 0; i != 4; ++i) {
      levels[i][row] = from.levels[i];
      codes[i][row] = from.codes[i];
    }
  }
};
} // namespace

/// Rounds one column of a strip to the nearest levels.
LLQ_VECTOR_CLONES static void roundToLevels(const float *__restrict current,
                                            const StripLevels &strip,
                                            uint8_t *__restrict codes,
                                            float *__restrict rounded) {
  for (int64_t r = 0; r != kStrip; ++r) {
    const float value = strip.sign[r] * current[r];
    const bool low = value > strip.thresholds[0][r];
    const bool middle = value >= strip.thresholds[1][r];
    const bool high = value > strip.thresholds[2][r];
    float level = low ? strip.levels[1][r] : strip.levels[0][r];
    level = middle ? strip.levels[2][r] : level;
    level = high ? strip.levels[3][r] : level;
    int32_t code = low ? strip.codes[1][r] : strip.codes[0][r];
    code = middle ? strip.codes[2][r] : code;
    code = high ? strip.codes[3][r] : code;
    codes[r] = static_cast<uint8_t>(code);
    rounded[r] = level;
  }
}

namespace {
/// The scales of a strip of rows.
class DualGrids {
public:
  using Strip = StripLevels;

  DualGrids(const DualBinaryOptions &options, int64_t groupCount, float *scales)
      : options(options), groupCount(groupCount), scales(scales) {}

  void choose(const StripGroup &group, StripLevels &strip) {
    const DualScales found = allFinite(group.values)
                                 ? fitDualScales(group.values, options)
                                 : DualScales{0, 0};
    float *at = scales + 2 * (group.row * groupCount + group.group);
    at[0] = found.first;
    at[1] = found.second;
    strip.set(group.row, orderLevels(found));
  }

  void round(int64_t, const float *current, const StripLevels &strip,
             uint8_t *codes, float *rounded) const {
    roundToLevels(current, strip, codes, rounded);
  }

private:
  const DualBinaryOptions &options;
  int64_t groupCount;
  float *scales;
};
} // namespace

std::optional<NonFiniteWeight> llq::numerics::quantizeDualBinary(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    const DualBinaryOptions &options, const DualBinaryRows &result,
    CompensatedLoss &loss, ThreadPool &pool) {
  assert(options.groupSize == factor.options().groupSize);
  if (auto bad = findNonFinite(weights, rows, factor.columns()))
    return bad;
  const int64_t groups = factor.groupCount();
  auto makeGrids = [&](int64_t first, int64_t) {
    return DualGrids(options, groups, result.scales + 2 * first * groups);
  };
  loss.merge(
      roundGrouped(weights, rows, factor, result.codes, makeGrids, pool));
  return std::nullopt;
}
