//===- GPTQ.cpp - Uniform grids in the compensated loop -------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/GPTQ.h"
#include "GroupRange.h"
#include "VectorClones.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

using namespace llq;
using namespace llq::numerics;

static constexpr int64_t kStrip = kStripRows;

namespace {
/// The grids of one group in all rows of a strip, in the form the loop wants.
struct StripGrid {
  float scale[kStrip], zero[kStrip];

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

class UniformRounder : public StripRounder {
public:
  UniformRounder(const GPTQFactor &factor, const UniformGridOptions &grid,
                 const float *source, int64_t rows, const UniformRows &result)
      : factor(factor), options(grid), columns(factor.columns()),
        groupCount(options.groupsPerRow(columns)),
        dynamic(factor.options().hasDynamicGroups(columns)),
        permuted(factor.options().isStoredPermuted(columns)), rows(rows),
        result(result), grids(dynamic ? 1 : groupCount) {
    if (!dynamic)
      chooseStaticGrids(source);
  }

  void beginGroup(int64_t group, const float *values, int64_t size) override {
    for (int64_t r = 0; r != kStrip; ++r)
      grids[0].set(r, chooseGrid(group, r, values + r * size, size));
  }

  void roundColumn(int64_t position, const float *current,
                   float *rounded) override {
    const size_t at = codes.size();
    codes.resize(at + kStrip);
    const int64_t column = factor.permutation()[position];
    roundToGrid(current,
                grids[dynamic ? 0 : column / options.groupLength(columns)],
                static_cast<float>(options.minCode()),
                static_cast<float>(options.maxCode()), &codes[at], rounded);
  }

  void endBlock(int64_t begin, int64_t end) override {
    for (int64_t r = 0; r != rows; ++r)
      for (int64_t j = begin; j != end; ++j)
        result.codes[r * columns + (permuted ? j : factor.permutation()[j])] =
            codes[(j - begin) * kStrip + r];
    codes.clear();
  }

private:
  /// Grids of all groups from the weights as given, dead columns included.
  void chooseStaticGrids(const float *source) {
    const int64_t length = options.groupLength(columns);
    for (int64_t group = 0; group != groupCount; ++group) {
      const int64_t first = group * length;
      const int64_t size = std::min(length, columns - first);
      for (int64_t r = 0; r != kStrip; ++r)
        grids[group].set(
            r, chooseGrid(group, r, source + r * columns + first, size));
    }
  }

  /// The grid of `values` of a row, which is stored if it is one of the matrix.
  GroupGrid chooseGrid(int64_t group, int64_t row, const float *values,
                       int64_t size) {
    const GroupGrid any{1.0f, options.midCode()};
    if (row >= rows)
      return any;
    // Compensation without damping can run away from group to group. The loss
    // says so; codes of any grid will do.
    const GroupGrid grid =
        findGrid({values, static_cast<size_t>(size)}, options, scratch)
            .value_or(any);
    result.scales[row * groupCount + group] = grid.scale;
    if (options.storesZeros())
      result.zeros[row * groupCount + group] = static_cast<uint8_t>(grid.zero);
    return grid;
  }

  const GPTQFactor &factor;
  const UniformGridOptions &options;
  const int64_t columns, groupCount;
  const bool dynamic, permuted;
  const int64_t rows;
  const UniformRows result;
  std::vector<StripGrid> grids; ///< the present one, or all static ones
  std::vector<uint8_t> codes;   ///< of the present block, [columns, kStrip]
  std::vector<float> scratch;
};

} // namespace

std::optional<NonFiniteWeight> llq::numerics::quantizeGPTQ(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    const UniformGridOptions &grid, const UniformRows &result,
    CompensatedLoss &loss, ThreadPool &pool) {
  assert(grid.isValid() && grid.groupSize == factor.options().groupSize);
  const int64_t columns = factor.columns();
  if (auto bad = findNonFinite(weights, rows, columns))
    return bad;

  const int64_t groups = grid.groupsPerRow(columns);
  auto makeRounder = [&](int64_t first, int64_t last) {
    UniformRows strip{result.codes + first * columns,
                      result.scales + first * groups,
                      result.zeros ? result.zeros + first * groups : nullptr};
    return std::make_unique<UniformRounder>(
        factor, grid, weights + first * columns, last - first, strip);
  };
  loss.merge(compensateColumns(weights, rows, factor, makeRounder, pool));
  return std::nullopt;
}
