//===- GPTQ.cpp - Uniform grids in the compensated loop -------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/GPTQ.h"
#include "GroupRange.h"
#include "GroupedRounder.h"
#include "VectorClones.h"

#include <algorithm>
#include <cassert>
#include <vector>

using namespace llq;
using namespace llq::numerics;

static constexpr int64_t kStrip = kStripRows;

namespace {
/// The grids of one group in all rows of a strip, in the form the loop wants.
struct StripGrid {
  float scale[kStrip], zero[kStrip];

  StripGrid() {
    std::fill_n(scale, kStrip, 1.0f);
    std::fill_n(zero, kStrip, 0.0f);
  }
  void set(int64_t row, GroupGrid grid) {
    scale[row] = grid.scale;
    zero[row] = static_cast<float>(grid.zero);
  }
};
} // namespace

/// Rounds one column of a strip to the nearest codes.
LLQ_VECTOR_CLONES static void roundToGrid(const float *__restrict current,
                                          const StripGrid &grid, float minCode,
                                          float maxCode,
                                          uint8_t *__restrict codes,
                                          float *__restrict rounded) {
  for (int64_t r = 0; r != kStrip; ++r) {
    const float low = minCode - grid.zero[r], high = maxCode - grid.zero[r];
    float steps = current[r] / grid.scale[r];
    steps = steps > low ? steps : low;
    steps = steps < high ? steps : high;
    steps = roundToInteger(steps);
    codes[r] = static_cast<uint8_t>(static_cast<int32_t>(steps + grid.zero[r]));
    rounded[r] = grid.scale[r] * steps;
  }
}

namespace {
/// The uniform grids of a strip of rows.
class UniformGrids {
public:
  using Strip = StripGrid;

  UniformGrids(const UniformGridOptions &options, int64_t groupCount,
               const UniformRows &result)
      : options(options), groupCount(groupCount), result(result) {}

  void choose(const StripGroup &group, StripGrid &strip) {
    const GroupGrid grid = findGrid(group.values, options, scratch)
                               .value_or(GroupGrid{1.0f, options.midCode()});
    const int64_t at = group.row * groupCount + group.group;
    result.scales[at] = grid.scale;
    if (options.storesZeros())
      result.zeros[at] = static_cast<uint8_t>(grid.zero);
    strip.set(group.row, grid);
  }

  void round(int64_t, const float *current, const StripGrid &grid,
             uint8_t *codes, float *rounded) const {
    roundToGrid(current, grid, static_cast<float>(options.minCode()),
                static_cast<float>(options.maxCode()), codes, rounded);
  }

private:
  const UniformGridOptions &options;
  int64_t groupCount;
  UniformRows result;
  std::vector<float> scratch;
};
} // namespace

std::optional<NonFiniteWeight> llq::numerics::quantizeGPTQ(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    const UniformGridOptions &grid, const UniformRows &result,
    CompensatedLoss &loss, ThreadPool &pool) {
  assert(grid.isValid() && grid.groupSize == factor.options().groupSize);
  if (auto bad = findNonFinite(weights, rows, factor.columns()))
    return bad;
  const int64_t groups = factor.groupCount();
  auto makeGrids = [&](int64_t first, int64_t) {
    return UniformGrids(
        grid, groups,
        {nullptr, result.scales + first * groups,
         result.zeros ? result.zeros + first * groups : nullptr});
  };
  loss.merge(
      roundGrouped(weights, rows, factor, result.codes, makeGrids, pool));
  return std::nullopt;
}
