//===- HQQ.cpp - Uniform grids with a real zero point ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/HQQ.h"
#include "GroupRange.h"
#include "llq/Numerics/Float16.h"

#include <algorithm>
#include <cassert>
#include <cmath>

using namespace llq::numerics;

/// Largest weight of a group, in steps of its grid: f16 then holds zero points
/// to half a code at worst, and to a thousandth in groups around zero.
static constexpr float kLargestSteps = 1024;

/// The code of `weight`, as a number. Clamping comes first, so that rounding by
/// addition is exact.
static inline float codeOf(float weight, FloatZeroGrid grid, float maxCode) {
  return roundToInteger(
      std::clamp(weight / grid.scale + grid.zero, 0.0f, maxCode));
}

/// mean |w - ŵ|.
static double meanError(std::span<const float> group, FloatZeroGrid grid,
                        float maxCode) {
  double sum = 0;
  for (float weight : group)
    sum += std::fabs(
        double(weight) -
        double(grid.scale * (codeOf(weight, grid, maxCode) - grid.zero)));
  return sum / static_cast<double>(group.size());
}

FloatZeroGrid
llq::numerics::chooseFloatZeroGrid(std::span<const float> group,
                                   const UniformGridOptions &options) {
  assert(options.isValid());
  if (group.empty())
    return {1.0f, 0.0f};
  auto [least, greatest] = std::minmax_element(group.begin(), group.end());
  const float largest = std::max(std::fabs(*least), std::fabs(*greatest));
  if (largest == 0)
    return {1.0f, 0.0f};
  // Halves, because the difference of two floats can overflow.
  const float half = *greatest * 0.5f - *least * 0.5f;
  const float step = half / (static_cast<float>(options.maxCode()) * 0.5f);
  const float scale =
      roundScale(std::max(step, largest / kLargestSteps), options.scaleType);
  return {scale, std::clamp(-*least / scale, -kLargestSteps, kLargestSteps)};
}

FloatZeroGrid llq::numerics::searchFloatZero(std::span<const float> group,
                                             const HQQOptions &options) {
  FloatZeroGrid grid = chooseFloatZeroGrid(group, options.grid), best = grid;
  const float maxCode = static_cast<float>(options.grid.maxCode());
  const double unit = options.normalise ? double(grid.scale) : 1.0;
  double least = meanError(group, grid, maxCode);
  for (int step = 0; step != options.iterations; ++step) {
    // The part of each error that the p-norm calls an outlier is taken out; the
    // zero that fits the rest in the mean square is a mean.
    double sum = 0;
    for (float weight : group) {
      const float code = codeOf(weight, grid, maxCode);
      const double error =
          (double(weight) - double(grid.scale * (code - grid.zero))) / unit;
      const double size = std::fabs(error);
      const double outlier =
          size == 0 ? 0
                    : std::max(0.0, size - std::pow(size, options.power - 1) /
                                               options.beta);
      sum += code - (double(weight) - std::copysign(outlier, error) * unit) /
                        double(grid.scale);
    }
    grid.zero = static_cast<float>(sum / static_cast<double>(group.size()));
    const double error = meanError(group, grid, maxCode);
    if (!(error < least))
      break;
    least = error;
    best = grid;
  }
  return best;
}

void llq::numerics::quantizeGroup(std::span<const float> group,
                                  FloatZeroGrid grid,
                                  const UniformGridOptions &options,
                                  std::span<uint8_t> codes) {
  assert(codes.size() >= group.size());
  const float maxCode = static_cast<float>(options.maxCode());
  for (size_t j = 0, e = group.size(); j != e; ++j)
    codes[j] = static_cast<uint8_t>(codeOf(group[j], grid, maxCode));
}

void llq::numerics::dequantizeGroup(std::span<const uint8_t> codes,
                                    FloatZeroGrid grid,
                                    std::span<float> weights) {
  assert(weights.size() >= codes.size());
  for (size_t j = 0, e = codes.size(); j != e; ++j)
    weights[j] = grid.scale * (static_cast<float>(codes[j]) - grid.zero);
}

/// The zero as f16, kept only if it is no worse than that of plain rounding.
static FloatZeroGrid storedGrid(std::span<const float> group,
                                const HQQOptions &options) {
  auto stored = [](FloatZeroGrid grid) {
    grid.zero = decodeF16(encodeF16(grid.zero));
    return grid;
  };
  const float maxCode = static_cast<float>(options.grid.maxCode());
  FloatZeroGrid plain = stored(chooseFloatZeroGrid(group, options.grid));
  FloatZeroGrid best = stored(searchFloatZero(group, options));
  return meanError(group, best, maxCode) <= meanError(group, plain, maxCode)
             ? best
             : plain;
}

std::optional<NonFiniteWeight>
llq::numerics::quantizeHQQ(const float *weights, int64_t rows, int64_t columns,
                           const HQQOptions &options,
                           const FloatZeroRows &result) {
  assert(options.grid.isValid() && rows >= 0 && columns >= 0);
  assert(options.power > 0 && options.power < 1 && options.beta > 0);
  const int64_t length = options.grid.groupLength(columns);
  int64_t groupIndex = 0;
  for (int64_t row = 0; row != rows; ++row)
    for (int64_t column = 0; column < columns; column += length, ++groupIndex) {
      const int64_t at = row * columns + column;
      const size_t size = std::min(length, columns - column);
      std::span<const float> group(weights + at, size);
      auto bad = std::find_if(group.begin(), group.end(),
                              [](float v) { return !std::isfinite(v); });
      if (bad != group.end())
        return NonFiniteWeight{row, column + (bad - group.begin()), *bad};
      FloatZeroGrid grid = storedGrid(group, options);
      quantizeGroup(group, grid, options.grid, {result.codes + at, size});
      result.scales[groupIndex] = grid.scale;
      result.zeros[groupIndex] = grid.zero;
    }
  return std::nullopt;
}
