//===- GPTQ.cpp - Rounding column by column with compensation -------------===//
//
// Rows are independent, so a thread takes a strip of rows through all columns.
// With D = W - Ŵ of the columns done, a block of columns b starts at
//
//   W_b + (D V_:b) V_bb^-1                                  one matrix product
//
// and its columns are rounded in turn, each passing its error on to the rest of
// the block. Inside a block the strip is held by columns, so that the loops
// over rows are vectors.
//
// Strips have one height, the last one filled up with zeros: a row's result
// does not depend on the rows beside it.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/GPTQ.h"
#include "BLAS.h"
#include "GroupRange.h"
#include "VectorClones.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <cmath>

using namespace llq;
using namespace llq::numerics;

/// Rows of a strip.
static constexpr int64_t kStrip = 256;
/// Blocks whose product with the columns before all of them is taken at once:
/// BLAS packs the strip's deltas for each product, so wide ones are faster.
static constexpr int64_t kPanelBlocks = 4;

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

/// Rounds one column of a strip. `current` is compensated, `weights` are as
/// given. Sets the codes, the deltas weights - rounded, and the errors
/// (current - rounded) * pivot, pivot = V_jj = 1 / U_jj.
LLQ_VECTOR_CLONES static void
roundColumn(const float *__restrict current, const float *__restrict weights,
            const StripGrid &grid, float minCode, float maxCode, float pivot,
            uint8_t *__restrict codes, float *__restrict deltas,
            float *__restrict errors) {
  for (int64_t r = 0; r != kStrip; ++r) {
    const float low = minCode - grid.zero[r], high = maxCode - grid.zero[r];
    float steps = current[r] / grid.scale[r];
    steps = steps > low ? steps : low;
    steps = steps < high ? steps : high;
    steps = roundToInteger(steps);
    const float rounded = grid.scale[r] * steps;
    codes[r] = static_cast<uint8_t>(static_cast<int32_t>(steps + grid.zero[r]));
    deltas[r] = weights[r] - rounded;
    errors[r] = (current[r] - rounded) * pivot;
  }
}

/// current[c, :] -= inverse[c] * errors for the `count` columns that follow.
LLQ_VECTOR_CLONES static void compensate(float *__restrict current,
                                         const float *__restrict errors,
                                         const float *__restrict inverse,
                                         int64_t count) {
  for (int64_t c = 0; c != count; ++c)
    for (int64_t r = 0; r != kStrip; ++r)
      current[c * kStrip + r] -= inverse[c] * errors[r];
}

/// sums[r] += values[r]^2.
LLQ_VECTOR_CLONES static void addSquares(const float *__restrict values,
                                         double *__restrict sums) {
  for (int64_t r = 0; r != kStrip; ++r)
    sums[r] += static_cast<double>(values[r]) * static_cast<double>(values[r]);
}

namespace llq::numerics {

/// A strip of rows on its way through the columns. Matrices of a strip are
/// [kStrip, K] in the order of rounding.
class GPTQRows {
public:
  GPTQRows(const GPTQFactor &factor, const UniformGridOptions &grid,
           const float *weights, int64_t rows, const UniformRows &result);

  GPTQLoss quantize();

private:
  void chooseStaticGrids();
  void chooseDynamicGrid(const GPTQFactor::Group &group, int64_t block);
  void lookAhead(const GPTQFactor::Group &group, int64_t block);
  void loadBlock(int64_t block);
  void roundBlock(int64_t block);
  void storeBlock(int64_t block);
  void storeGrid(int64_t group, int64_t row, GroupGrid grid);
  GroupGrid gridOf(std::span<const float> group);

  int64_t begin(int64_t block) const { return factor.blocks[block]; }
  int64_t width(int64_t block) const {
    return factor.blocks[block + 1] - factor.blocks[block];
  }
  const float *inverse(int64_t block) const {
    return factor.inverses.data() + factor.inverseOffsets[block];
  }
  const GPTQFactor &factor;
  const UniformGridOptions &options;
  const int64_t columns;
  const int64_t groupCount;
  const float *source;
  const int64_t rows;
  const UniformRows result;

  std::vector<float> weights; ///< as given, dead columns zero
  std::vector<float> deltas;  ///< weights - rounded, of the columns done
  std::vector<StripGrid> grids;
  size_t nextGroup = 0; ///< of the dynamic ones

  /// D V of the panel that the present block is in, [kStrip, panel's width].
  std::vector<float> panel;
  // Of the present block: [kStrip, width], then by columns, [width, kStrip].
  std::vector<float> started;
  std::vector<float> current, given, rounded;
  std::vector<uint8_t> codes;

  std::vector<float> ahead, scratch;
  double squaredErrors[kStrip] = {}, squaredDeltas[kStrip] = {};
};

GPTQRows::GPTQRows(const GPTQFactor &factor, const UniformGridOptions &grid,
                   const float *weights, int64_t rows,
                   const UniformRows &result)
    : factor(factor), options(grid), columns(factor.columns()),
      groupCount(options.groupsPerRow(columns)), source(weights), rows(rows),
      result(result), weights(kStrip * columns), deltas(kStrip * columns) {
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = 0; j != columns; ++j)
      if (!factor.deadPosition[j])
        this->weights[r * columns + j] = source[r * columns + factor.order[j]];

  int64_t widest = 0;
  for (size_t b = 0; b + 1 < factor.blocks.size(); ++b)
    widest = std::max(widest, width(b));
  for (auto *buffer : {&started, &current, &given, &rounded})
    buffer->resize(kStrip * widest);
  codes.resize(kStrip * widest);
}

GroupGrid GPTQRows::gridOf(std::span<const float> group) {
  // Compensation without damping can run away from group to group. The loss
  // says so; codes of any grid will do.
  return findGrid(group, options, scratch)
      .value_or(GroupGrid{1.0f, options.midCode()});
}

void GPTQRows::storeGrid(int64_t group, int64_t row, GroupGrid grid) {
  result.scales[row * groupCount + group] = grid.scale;
  if (options.storesZeros())
    result.zeros[row * groupCount + group] = static_cast<uint8_t>(grid.zero);
}

/// Grids of all groups from the weights as given, dead columns included.
void GPTQRows::chooseStaticGrids() {
  const int64_t length = options.groupLength(columns);
  for (int64_t group = 0; group != groupCount; ++group) {
    const int64_t first = group * length;
    const size_t size = std::min(length, columns - first);
    for (int64_t r = 0; r != kStrip; ++r) {
      GroupGrid grid{1.0f, options.midCode()};
      if (r < rows) {
        grid = gridOf({source + r * columns + first, size});
        storeGrid(group, r, grid);
      }
      grids[group].set(r, grid);
    }
  }
}

/// The present values of a group that spans several blocks, the first of which
/// is `block`: W_G + X with X V_GG = D V_:G, block by block.
void GPTQRows::lookAhead(const GPTQFactor::Group &group, int64_t block) {
  const int64_t size = group.end - group.begin;
  ahead.resize(kStrip * size);
  for (int64_t b = block; begin(b) != group.end; ++b) {
    const int64_t offset = begin(b) - group.begin;
    std::vector<float> product(kStrip * width(b));
    blas::multiply(kStrip, width(b), group.begin, 1.0f, deltas.data(), columns,
                   factor.row(0) + begin(b), columns, 0.0f, product.data(),
                   width(b));
    // The columns of X so far.
    blas::multiply(kStrip, width(b), offset, -1.0f, ahead.data(), size,
                   factor.row(group.begin) + begin(b), columns, 1.0f,
                   product.data(), width(b));
    blas::multiply(kStrip, width(b), width(b), 1.0f, product.data(), width(b),
                   inverse(b), width(b), 0.0f, ahead.data() + offset, size);
  }
  for (int64_t r = 0; r != kStrip; ++r)
    for (int64_t j = 0; j != size; ++j)
      ahead[r * size + j] += weights[r * columns + group.begin + j];
}

/// The grid of a group that begins in `block`, from its present values.
void GPTQRows::chooseDynamicGrid(const GPTQFactor::Group &group,
                                 int64_t block) {
  const int64_t size = group.end - group.begin;
  if (group.end > begin(block) + width(block)) {
    lookAhead(group, block);
  } else {
    ahead.resize(kStrip * size);
    const float *first = &current[(group.begin - begin(block)) * kStrip];
    for (int64_t r = 0; r != kStrip; ++r)
      for (int64_t j = 0; j != size; ++j)
        ahead[r * size + j] = first[j * kStrip + r];
  }
  for (int64_t r = 0; r != kStrip; ++r) {
    GroupGrid grid{1.0f, options.midCode()};
    if (r < rows) {
      grid = gridOf({&ahead[r * size], static_cast<size_t>(size)});
      storeGrid(group.index, r, grid);
    }
    grids[0].set(r, grid);
  }
}

/// Sets the block's values before any of its columns is rounded.
void GPTQRows::loadBlock(int64_t block) {
  const int64_t count = width(block);
  const int64_t lead = block - block % kPanelBlocks;
  const int64_t first = begin(lead);
  const int64_t stride =
      factor.blocks[std::min<int64_t>(lead + kPanelBlocks,
                                      std::ssize(factor.blocks) - 1)] -
      first;
  if (block == lead) {
    panel.resize(kStrip * stride);
    blas::multiply(kStrip, stride, first, 1.0f, deltas.data(), columns,
                   factor.row(0) + first, columns, 0.0f, panel.data(), stride);
  }
  float *sums = panel.data() + (begin(block) - first);
  blas::multiply(kStrip, count, begin(block) - first, 1.0f,
                 deltas.data() + first, columns,
                 factor.row(first) + begin(block), columns, 1.0f, sums, stride);
  blas::multiply(kStrip, count, count, 1.0f, sums, stride, inverse(block),
                 count, 0.0f, started.data(), count);
  for (int64_t r = 0; r != kStrip; ++r) {
    const float *row = &weights[r * columns + begin(block)];
    for (int64_t j = 0; j != count; ++j) {
      given[j * kStrip + r] = row[j];
      current[j * kStrip + r] = row[j] + started[r * count + j];
    }
  }
}

void GPTQRows::roundBlock(int64_t block) {
  const bool dynamic = factor.hasDynamicGroups();
  const int64_t length = options.groupLength(columns);
  float errors[kStrip];
  for (int64_t c = 0, count = width(block); c != count; ++c) {
    const int64_t j = begin(block) + c;
    if (dynamic && nextGroup != factor.groups.size() &&
        factor.groups[nextGroup].begin == j)
      chooseDynamicGrid(factor.groups[nextGroup++], block);
    float *column = &current[c * kStrip], *delta = &rounded[c * kStrip];
    roundColumn(column, &given[c * kStrip],
                grids[dynamic ? 0 : factor.order[j] / length],
                static_cast<float>(options.minCode()),
                static_cast<float>(options.maxCode()), factor.row(j)[j],
                &codes[c * kStrip], delta, errors);
    compensate(column + kStrip, errors, inverse(block) + c * count + c + 1,
               count - c - 1);
    addSquares(errors, squaredErrors);
    addSquares(delta, squaredDeltas);
  }
}

void GPTQRows::storeBlock(int64_t block) {
  for (int64_t r = 0; r != kStrip; ++r) {
    float *row = &deltas[r * columns + begin(block)];
    for (int64_t c = 0; c != width(block); ++c)
      row[c] = rounded[c * kStrip + r];
  }
  const bool permuted = factor.settings.isStoredPermuted(columns);
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t c = 0; c != width(block); ++c) {
      const int64_t j = begin(block) + c;
      result.codes[r * columns + (permuted ? j : factor.order[j])] =
          codes[c * kStrip + r];
    }
}

GPTQLoss GPTQRows::quantize() {
  grids.resize(factor.hasDynamicGroups() ? 1 : groupCount);
  if (!factor.hasDynamicGroups())
    chooseStaticGrids();
  for (size_t block = 0; block + 1 < factor.blocks.size(); ++block) {
    loadBlock(block);
    roundBlock(block);
    storeBlock(block);
  }
  GPTQLoss loss;
  for (int64_t r = 0; r != rows; ++r) {
    loss.squaredErrors += squaredErrors[r];
    loss.outputError += squaredErrors[r] - factor.lambda * squaredDeltas[r];
  }
  return loss;
}

} // namespace llq::numerics

std::optional<NonFiniteWeight> llq::numerics::quantizeGPTQ(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    const UniformGridOptions &grid, const UniformRows &result, GPTQLoss &loss,
    ThreadPool &pool) {
  assert(grid.isValid() && grid.groupSize == factor.options().groupSize);
  const int64_t columns = factor.columns();
  const float *end = weights + rows * columns;
  const float *bad =
      std::find_if(weights, end, [](float v) { return !std::isfinite(v); });
  if (bad != end)
    return NonFiniteWeight{(bad - weights) / columns, (bad - weights) % columns,
                           *bad};

  const int64_t groups = grid.groupsPerRow(columns);
  std::vector<GPTQLoss> losses((rows + kStrip - 1) / kStrip);
  pool.parallelFor(0, rows, kStrip, [&](int64_t first, int64_t last) {
    UniformRows strip{result.codes + first * columns,
                      result.scales + first * groups,
                      result.zeros ? result.zeros + first * groups : nullptr};
    GPTQRows job(factor, grid, weights + first * columns, last - first, strip);
    losses[first / kStrip] = job.quantize();
  });
  for (const GPTQLoss &part : losses)
    loss.merge(part);
  return std::nullopt;
}
