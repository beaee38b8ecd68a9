//===- GroupRange.h - The range that a grid covers --------------*- C++ -*-===//
//
// The step between a group's weights and its grid, shared by the plain choice
// of a grid and by the clip search, which tries smaller ranges.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_GROUPRANGE_H
#define LLQ_LIB_NUMERICS_GROUPRANGE_H

#include "llq/Numerics/UniformGrid.h"

#include <vector>

namespace llq::numerics {

/// Elements processed side by side. Sums and extrema are kept per lane, which
/// fixes their order and lets the compiler use vectors of up to 16 lanes.
inline constexpr int64_t kLanes = 16;

/// `value`, of magnitude below 2^22, rounded to an integer, half to even: at
/// 1.5 * 2^23 the last place of a float is 1. Vectorises on any machine.
inline constexpr float kRounder = 0x1.8p23f;
inline float roundToInteger(float value) {
  return (value + kRounder) - kRounder;
}

/// lo <= 0 <= hi, not both zero.
struct GroupRange {
  float lo, hi;
};

/// The range of `group`, widened as the scheme demands. Nothing if a weight is
/// not finite.
std::optional<GroupRange> groupRange(std::span<const float> group,
                                     GridScheme scheme);

/// The grid that covers `range`.
GroupGrid gridOfRange(GroupRange range, const UniformGridOptions &options);

/// The best grid over shrunken ranges. `scratch` is working storage that
/// callers keep from group to group.
GroupGrid searchClip(std::span<const float> group, GroupRange range,
                     const UniformGridOptions &options,
                     std::vector<float> &scratch);

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_GROUPRANGE_H
