//===- HQQ.cpp - Uniform grids with a real zero point ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/HQQ.h"
#include "GroupRange.h"
#include "VectorClones.h"
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

namespace {
/// A group on a grid.
struct Fit {
  double absError; ///< sum of |w - ŵ|
  double zero;     ///< sum of code - w / scale: the best zero, times count
  bool hasLargeErrors;
};
} // namespace

/// `large`: from which |w - ŵ| on an error is large.
LLQ_VECTOR_CLONES static Fit evaluate(const float *__restrict group,
                                      int64_t count, FloatZeroGrid grid,
                                      float maxCode, float large) {
  double errors[kLanes] = {}, zeros[kLanes] = {};
  float greatest[kLanes] = {};
  auto visit = [&](int64_t lane, float weight) {
    const float steps = weight / grid.scale;
    float code = steps + grid.zero;
    code = code > 0.0f ? code : 0.0f;
    code = roundToInteger(code < maxCode ? code : maxCode);
    const float error = std::fabs(weight - grid.scale * (code - grid.zero));
    errors[lane] += static_cast<double>(error);
    zeros[lane] += static_cast<double>(code - steps);
    greatest[lane] = error > greatest[lane] ? error : greatest[lane];
  };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t lane = 0; lane != kLanes; ++lane)
      visit(lane, group[i + lane]);
  for (int64_t lane = 0; i != count; ++i, ++lane)
    visit(lane, group[i]);

  double errorSum = 0, zeroSum = 0;
  float largest = 0;
  for (int64_t lane = 0; lane != kLanes; ++lane) {
    errorSum += errors[lane];
    zeroSum += zeros[lane];
    largest = std::max(largest, greatest[lane]);
  }
  return {errorSum, zeroSum, largest > large};
}

/// sum of |w - ŵ|.
static double absError(std::span<const float> group, FloatZeroGrid grid,
                       float maxCode) {
  return evaluate(group.data(), static_cast<int64_t>(group.size()), grid,
                  maxCode, 0)
      .absError;
}

FloatZeroGrid
llq::numerics::chooseFloatZeroGrid(std::span<const float> group,
                                   const HQQOptions &options) {
  assert(options.grid.isValid());
  if (group.empty())
    return {1.0f, 0.0f};
  auto [least, greatest] = std::minmax_element(group.begin(), group.end());
  const float largest = std::max(std::fabs(*least), std::fabs(*greatest));
  if (largest == 0)
    return {1.0f, 0.0f};
  // Halves, because the difference of two floats can overflow.
  const float half = *greatest * 0.5f - *least * 0.5f;
  const float step = half / (static_cast<float>(options.grid.maxCode()) * 0.5f);
  const float scale = roundScale(std::max(step, largest / kLargestSteps),
                                 options.grid.scaleType);
  const float zero = std::clamp(-*least / scale, -kLargestSteps, kLargestSteps);
  return {scale, options.roundsFirstZero() ? std::nearbyint(zero) : zero};
}

FloatZeroGrid llq::numerics::searchFloatZero(std::span<const float> group,
                                             const HQQOptions &options) {
  const float maxCode = static_cast<float>(options.grid.maxCode());
  const auto count = static_cast<int64_t>(group.size());
  FloatZeroGrid grid = chooseFloatZeroGrid(group, options);
  if (count == 0)
    return grid;

  // An error of `size` units is an outlier to the p-norm by
  // size - size^(p-1) / beta, where that is positive.
  const float unit = options.normalise ? grid.scale : 1.0f;
  const auto power = static_cast<float>(options.power - 1);
  const auto beta = static_cast<float>(options.beta);
  const auto threshold =
      static_cast<float>(std::pow(options.beta, -1 / (2 - options.power)));
  FloatZeroGrid best = grid;
  Fit fit = evaluate(group.data(), count, grid, maxCode, threshold * unit);
  double least = fit.absError;
  for (int step = 0; step != options.iterations; ++step) {
    // Outliers are taken out of the weights; the zero that fits the rest in the
    // mean square is a mean.
    double sum = fit.zero;
    if (fit.hasLargeErrors)
      for (float weight : group) {
        const float code = codeOf(weight, grid, maxCode);
        const float error = weight - grid.scale * (code - grid.zero);
        const float size = std::fabs(error) / unit;
        if (size > threshold)
          sum += static_cast<double>(std::copysign(
              (size - std::pow(size, power) / beta) * unit / grid.scale,
              error));
      }
    grid.zero = static_cast<float>(sum / static_cast<double>(count));
    fit = evaluate(group.data(), count, grid, maxCode, threshold * unit);
    if (!(fit.absError < least))
      break;
    least = fit.absError;
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

/// The zero as f16, kept only if it is no worse than the first one.
static FloatZeroGrid storedGrid(std::span<const float> group,
                                const HQQOptions &options) {
  auto stored = [](FloatZeroGrid grid) {
    grid.zero = decodeF16(encodeF16(grid.zero));
    return grid;
  };
  const float maxCode = static_cast<float>(options.grid.maxCode());
  FloatZeroGrid plain = stored(chooseFloatZeroGrid(group, options));
  FloatZeroGrid best = stored(searchFloatZero(group, options));
  return absError(group, best, maxCode) <= absError(group, plain, maxCode)
             ? best
             : plain;
}

std::optional<NonFiniteWeight>
llq::numerics::quantizeHQQ(const float *weights, int64_t rows, int64_t columns,
                           const HQQOptions &options,
                           const FloatZeroRows &result) {
  assert(options.grid.isValid() && rows >= 0 && columns >= 0);
  assert(options.power > 0 && options.power < 1 && options.beta > 0);
  return quantizeGroups(
      weights, rows, columns, options.grid, [&](const RowGroup &group) {
        if (!allFinite(group.weights))
          return false;
        FloatZeroGrid grid = storedGrid(group.weights, options);
        quantizeGroup(group.weights, grid, options.grid,
                      {result.codes + group.at, group.weights.size()});
        result.scales[group.index] = grid.scale;
        result.zeros[group.index] = grid.zero;
        return true;
      });
}
