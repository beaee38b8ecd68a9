//===- RoundRows.h - Rows replaced by what a grid makes of them -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_ROUNDROWS_H
#define LLQ_LIB_NUMERICS_ROUNDROWS_H

#include "llq/Numerics/UniformGrid.h"

#include <algorithm>
#include <vector>

namespace llq::numerics {

/// Rounds one row of finite weights to `grid` in place. `codes` is working
/// storage of at least a group's length.
inline void roundRow(float *row, int64_t columns,
                     const UniformGridOptions &grid,
                     std::vector<uint8_t> &codes) {
  const int64_t length = grid.groupLength(columns);
  for (int64_t first = 0; first < columns; first += length) {
    const size_t size = std::min(length, columns - first);
    std::span<float> group(row + first, size);
    GroupGrid choice = chooseGrid(group, grid);
    quantizeGroup(group, choice, grid, {codes.data(), size});
    dequantizeGroup({codes.data(), size}, choice, group);
  }
}

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_ROUNDROWS_H
