//===- GroupRange.h - Groups, their ranges and their grids ------*- C++ -*-===//
//
// The steps between a matrix and the grids of its groups, shared by all that
// choose grids: the walk over groups, the range of one, the grid of a range.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_GROUPRANGE_H
#define LLQ_LIB_NUMERICS_GROUPRANGE_H

#include "llq/Numerics/UniformGrid.h"

#include <algorithm>
#include <cmath>
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

/// The grid that `options` give `group`. Nothing if a weight is not finite.
std::optional<GroupGrid> findGrid(std::span<const float> group,
                                  const UniformGridOptions &options,
                                  std::vector<float> &scratch);

/// A group of a matrix. `at` is the place of its first weight in the matrix,
/// `index` that of its scale.
struct RowGroup {
  std::span<const float> weights;
  int64_t column, at, index;
};

/// Calls quantize(RowGroup) for the groups of weights[rows, columns] in order.
/// It returns false for a group with a weight that is not finite; that weight
/// ends the walk and is returned.
template <typename Quantize>
std::optional<NonFiniteWeight>
quantizeGroups(const float *weights, int64_t rows, int64_t columns,
               const UniformGridOptions &options, Quantize quantize) {
  const int64_t length = options.groupLength(columns);
  int64_t index = 0;
  for (int64_t row = 0; row != rows; ++row)
    for (int64_t column = 0; column < columns; column += length, ++index) {
      const int64_t at = row * columns + column;
      const size_t size = std::min(length, columns - column);
      std::span<const float> group(weights + at, size);
      if (quantize(RowGroup{group, column, at, index}))
        continue;
      auto bad = std::find_if(group.begin(), group.end(),
                              [](float v) { return !std::isfinite(v); });
      return NonFiniteWeight{row, column + (bad - group.begin()), *bad};
    }
  return std::nullopt;
}

inline bool allFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(),
                     [](float v) { return std::isfinite(v); });
}

/// The first of weights[rows, columns] that is not finite.
inline std::optional<NonFiniteWeight>
findNonFinite(const float *weights, int64_t rows, int64_t columns) {
  const float *end = weights + rows * columns;
  const float *bad =
      std::find_if(weights, end, [](float v) { return !std::isfinite(v); });
  if (bad == end)
    return std::nullopt;
  return NonFiniteWeight{(bad - weights) / columns, (bad - weights) % columns,
                         *bad};
}

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_GROUPRANGE_H
