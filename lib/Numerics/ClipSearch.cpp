//===- ClipSearch.cpp - The range that makes a group's error least --------===//
//
// Tries 80 shrunken ranges and keeps the one with the least sum of |error|^2.4,
// as the optional search of the GPTQ family does. A group's objective is within
// about 2e-7 of its exact value, so the choice is within that of the least.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "GroupRange.h"
#include "Power.h"
#include "VectorClones.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace llq::numerics;

/// The objective of `grid` over `values`, whose count is a multiple of kLanes;
/// infinity as soon as it is no less than `bound`.
LLQ_VECTOR_CLONES static double objective(std::span<const float> values,
                                          float scale, float low, float high,
                                          double bound) {
  constexpr int64_t chunk = 16 * kLanes;
  const float inverse = 1.0f / scale;
  double sum = 0;
  for (int64_t i = 0, e = values.size(); i < e;) {
    // Floats are exact enough for the sum of a few numbers only.
    float partial[kLanes] = {};
    for (int64_t end = std::min(e, i + chunk); i != end; i += kLanes) {
      const float *value = values.data() + i;
      for (int64_t lane = 0; lane != kLanes; ++lane) {
        // Multiplying by the inverse may round a tie the other way; either
        // side of a tie has the same error.
        float steps = value[lane] * inverse;
        steps = steps > low ? steps : low;
        steps = steps < high ? steps : high;
        steps = roundToInteger(steps);
        partial[lane] += power24(scale * steps - value[lane]);
      }
    }
    for (int64_t width = kLanes / 2; width != 0; width /= 2)
      for (int64_t lane = 0; lane != width; ++lane)
        partial[lane] += partial[lane + width];
    sum += partial[0];
    if (!(sum < bound))
      return std::numeric_limits<double>::infinity();
  }
  return sum;
}

GroupGrid llq::numerics::searchClip(std::span<const float> group,
                                    GroupRange range,
                                    const UniformGridOptions &options,
                                    std::vector<float> &scratch) {
  // Scaled by a power of two to a range of about 1, objectives neither overflow
  // nor underflow, and nothing else about them changes. Padding with zeros,
  // which every grid represents, adds nothing to an objective.
  int exponent = std::ilogb(std::max(range.hi, -range.lo));
  const float unit = std::ldexp(1.0f, std::clamp(-exponent, -126, 126));
  scratch.assign((group.size() + kLanes - 1) / kLanes * kLanes, 0.0f);
  std::transform(group.begin(), group.end(), scratch.begin(),
                 [unit](float value) { return value * unit; });
  auto [least, greatest] = std::minmax_element(scratch.begin(), scratch.end());

  GroupGrid best = gridOfRange(range, options);
  double bestObjective = std::numeric_limits<double>::infinity();
  for (int step = 0; step != 80; ++step) {
    float shrink = static_cast<float>(1.0 - step / 100.0);
    GroupGrid grid =
        gridOfRange({shrink * range.lo, shrink * range.hi}, options);
    float scale = grid.scale * unit;
    float low = static_cast<float>(options.minCode() - grid.zero);
    float high = static_cast<float>(options.maxCode() - grid.zero);
    // What the outermost weights alone lose may already be too much. The
    // margin covers the rounding of the sum.
    double outer = double(power24(std::max(*greatest - scale * high, 0.0f))) +
                   double(power24(std::max(scale * low - *least, 0.0f)));
    if (outer * (1 - 1e-5) >= bestObjective)
      continue;
    double value = objective(scratch, scale, low, high, bestObjective);
    if (value < bestObjective) {
      bestObjective = value;
      best = grid;
    }
  }
  return best;
}
