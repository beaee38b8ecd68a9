//===- UniformGrid.cpp - Round-to-nearest on uniform grids ----------------===//
//
// Grid choice and rounding. The two loops over the weights (extrema, codes) run
// in fixed lanes without branches, so that compilers vectorise them for any
// instruction set; the library is built without contraction or reassociation,
// so they all give the same bits.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/UniformGrid.h"
#include "GroupRange.h"
#include "llq/Numerics/Float16.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>

using namespace llq::numerics;

int64_t UniformGridOptions::groupLength(int64_t columns) const {
  int64_t length = groupSize == 0 ? columns : std::min(groupSize, columns);
  return std::max<int64_t>(length, 1);
}

int64_t UniformGridOptions::groupsPerRow(int64_t columns) const {
  int64_t length = groupLength(columns);
  return columns / length + (columns % length != 0);
}

float llq::numerics::roundScale(float scale, ScaleType type) {
  if (type == ScaleType::F16)
    return decodeF16(std::clamp(encodeF16(scale), kSmallestF16, kLargestF16));
  return std::clamp(scale, std::numeric_limits<float>::denorm_min(),
                    std::numeric_limits<float>::max());
}

std::optional<GroupRange>
llq::numerics::groupRange(std::span<const float> group, GridScheme scheme) {
  float lows[kLanes] = {}, highs[kLanes] = {}, poison[kLanes] = {};
  auto visit = [&](const float *values) {
    for (int64_t lane = 0; lane != kLanes; ++lane) {
      float value = values[lane];
      lows[lane] = value < lows[lane] ? value : lows[lane];
      highs[lane] = value > highs[lane] ? value : highs[lane];
      poison[lane] += value * 0.0f; // NaN for NaN and infinity, else zero
    }
  };

  int64_t size = group.size(), whole = size - size % kLanes;
  for (int64_t i = 0; i != whole; i += kLanes)
    visit(group.data() + i);
  if (whole != size) {
    float rest[kLanes] = {};
    std::copy(group.begin() + whole, group.end(), rest);
    visit(rest);
  }

  float lo = *std::min_element(lows, lows + kLanes);
  float hi = *std::max_element(highs, highs + kLanes);
  for (float value : poison)
    if (value != 0.0f)
      return std::nullopt;

  if (scheme != GridScheme::Asymmetric) {
    float magnitude = std::max(hi, -lo);
    // sym_mid leaves the lower end of a group without negative weights at 0.
    if (lo < 0 || scheme == GridScheme::Signed)
      lo = -magnitude;
    hi = magnitude;
  }
  if (lo == 0 && hi == 0)
    return GroupRange{-1.0f, 1.0f};
  return GroupRange{lo, hi};
}

GroupGrid llq::numerics::gridOfRange(GroupRange range,
                                     const UniformGridOptions &options) {
  if (options.scheme == GridScheme::Signed) {
    float steps = static_cast<float>(options.midCode() - 1);
    return {roundScale(range.hi / steps, options.scaleType), options.midCode()};
  }

  float steps = static_cast<float>(options.maxCode());
  float scale = (range.hi - range.lo) / steps;
  if (std::isinf(scale)) // the difference overflows, half of it does not
    scale = (range.hi * 0.5f - range.lo * 0.5f) / (steps * 0.5f);
  scale = roundScale(scale, options.scaleType);
  if (options.scheme == GridScheme::Symmetric)
    return {scale, options.midCode()};

  // A scale that was rounded down can push -lo / s beyond the largest code.
  float zero = roundToInteger(std::min(-range.lo / scale, steps));
  return {scale, static_cast<int32_t>(zero)};
}

std::optional<GroupGrid>
llq::numerics::findGrid(std::span<const float> group,
                        const UniformGridOptions &options,
                        std::vector<float> &scratch) {
  std::optional<GroupRange> range = groupRange(group, options.scheme);
  if (!range)
    return std::nullopt;
  return options.clip == ClipSearch::None
             ? gridOfRange(*range, options)
             : searchClip(group, *range, options, scratch);
}

GroupGrid llq::numerics::chooseGrid(std::span<const float> group,
                                    const UniformGridOptions &options) {
  assert(options.isValid());
  std::vector<float> scratch;
  std::optional<GroupGrid> grid = findGrid(group, options, scratch);
  assert(grid && "weights must be finite");
  return *grid;
}

void llq::numerics::quantizeGroup(std::span<const float> group, GroupGrid grid,
                                  const UniformGridOptions &options,
                                  std::span<uint8_t> codes) {
  assert(codes.size() >= group.size());
  // Bounds are integers, so clamping before rounding gives what clamping after
  // it would. The rounded number is in the low bits of the sum with kRounder.
  const float low = static_cast<float>(options.minCode() - grid.zero);
  const float high = static_cast<float>(options.maxCode() - grid.zero);
  const int32_t offset = grid.zero - std::bit_cast<int32_t>(kRounder);
  const float scale = grid.scale;

  const float *__restrict source = group.data();
  uint8_t *__restrict target = codes.data();
  for (int64_t i = 0, e = group.size(); i != e; ++i) {
    float steps = source[i] / scale;
    steps = steps > low ? steps : low;
    steps = steps < high ? steps : high;
    target[i] =
        static_cast<uint8_t>(std::bit_cast<int32_t>(steps + kRounder) + offset);
  }
}

void llq::numerics::dequantizeGroup(std::span<const uint8_t> codes,
                                    GroupGrid grid, std::span<float> weights) {
  assert(weights.size() >= codes.size());
  for (size_t i = 0, e = codes.size(); i != e; ++i)
    weights[i] = grid.scale * static_cast<float>(codes[i] - grid.zero);
}

double llq::numerics::clipObjective(std::span<const float> group,
                                    GroupGrid grid,
                                    const UniformGridOptions &options) {
  double sum = 0;
  for (const float &weight : group) {
    uint8_t code;
    float decoded;
    quantizeGroup({&weight, 1}, grid, options, {&code, 1});
    dequantizeGroup({&code, 1}, grid, {&decoded, 1});
    sum += std::pow(std::fabs(double(decoded) - double(weight)), 2.4);
  }
  return sum;
}

std::optional<NonFiniteWeight>
llq::numerics::quantizeRows(const float *weights, int64_t rows, int64_t columns,
                            const UniformGridOptions &options,
                            const UniformRows &result) {
  assert(options.isValid() && rows >= 0 && columns >= 0);
  assert((result.zeros || !options.storesZeros()) && "no room for zero points");
  std::vector<float> scratch;
  return quantizeGroups(
      weights, rows, columns, options, [&](const RowGroup &group) {
        std::optional<GroupGrid> grid =
            findGrid(group.weights, options, scratch);
        if (!grid)
          return false;
        quantizeGroup(group.weights, *grid, options,
                      {result.codes + group.at, group.weights.size()});
        result.scales[group.index] = grid->scale;
        if (options.storesZeros())
          result.zeros[group.index] = static_cast<uint8_t>(grid->zero);
        return true;
      });
}

void llq::numerics::dequantizeRows(const uint8_t *codes, const float *scales,
                                   const uint8_t *zeros, int64_t rows,
                                   int64_t columns,
                                   const UniformGridOptions &options,
                                   float *weights) {
  assert(options.isValid() && rows >= 0 && columns >= 0);
  const int64_t length = options.groupLength(columns);
  int64_t groupIndex = 0;
  for (int64_t row = 0; row != rows; ++row) {
    for (int64_t column = 0; column < columns; column += length, ++groupIndex) {
      const int64_t at = row * columns + column;
      const size_t size = std::min(length, columns - column);
      GroupGrid grid{scales[groupIndex],
                     zeros ? zeros[groupIndex] : options.midCode()};
      dequantizeGroup({codes + at, size}, grid, {weights + at, size});
    }
  }
}

int64_t
llq::numerics::countClipped(const float *weights, int64_t rows, int64_t columns,
                            const UniformGridOptions &options,
                            std::span<const float> scales,
                            const std::function<float(int64_t)> &getZero) {
  int64_t clipped = 0;
  auto count = [&](const RowGroup &group) {
    const float scale = scales[group.index], zero = getZero(group.index);
    const auto [low, high] =
        std::minmax({scale * (float(options.minCode()) - 0.5f - zero),
                     scale * (float(options.maxCode()) + 0.5f - zero)});
    for (float weight : group.weights)
      clipped += weight < low || weight > high;
    return true;
  };
  [[maybe_unused]] auto bad =
      quantizeGroups(weights, rows, columns, options, count);
  return clipped;
}
