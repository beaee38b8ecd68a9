//===- RoundRows.h - Rows replaced by what a grid makes of them -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_ROUNDROWS_H
#define LLQ_LIB_NUMERICS_ROUNDROWS_H

#include "GroupRange.h"

#include <algorithm>
#include <vector>

namespace llq::numerics {

/// Rounds one row of weights to `grid` in place. `codes` is working storage of
/// at least a group's length. False if a weight is not finite, as one that was
/// scaled may be.
[[nodiscard]] inline bool roundRow(float *row, int64_t columns,
                                   const UniformGridOptions &grid,
                                   std::vector<uint8_t> &codes) {
  const int64_t length = grid.groupLength(columns);
  std::vector<float> scratch;
  for (int64_t first = 0; first < columns; first += length) {
    const size_t size = std::min(length, columns - first);
    std::span<float> group(row + first, size);
    std::optional<GroupGrid> choice = findGrid(group, grid, scratch);
    if (!choice)
      return false;
    quantizeGroup(group, *choice, grid, {codes.data(), size});
    dequantizeGroup({codes.data(), size}, *choice, group);
  }
  return true;
}

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_ROUNDROWS_H
