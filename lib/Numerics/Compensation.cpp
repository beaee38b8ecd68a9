//===- Compensation.cpp - Rounding with compensation of errors ------------===//
//
// Rows are independent, so a thread takes a strip of rows through all columns.
// Inside a block the strip is held by columns, so that the loops over rows are
// vectors.
//
// Strips have one height, the last one filled up with zeros: a row's result
// does not depend on the rows beside it.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Compensation.h"
#include "BLAS.h"
#include "VectorClones.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cmath>
#include <vector>

using namespace llq;
using namespace llq::numerics;

static constexpr int64_t kStrip = kStripRows;
/// Blocks whose product with the columns before all of them is taken at once:
/// BLAS packs the strip's deltas for each product, so wide ones are faster.
static constexpr int64_t kPanelBlocks = 4;
/// And columns, at least, where blocks are small.
static constexpr int64_t kPanelColumns = 256;

static inline double square(float value) {
  return static_cast<double>(value) * static_cast<double>(value);
}

/// deltas = given - rounded, which may be the array of `rounded`, and errors =
/// (current - rounded) * pivot. Adds the squares of both to their sums.
LLQ_VECTOR_CLONES static void
subtractColumn(const float *__restrict current, const float *__restrict given,
               float pivot, float *__restrict rounded, float *__restrict errors,
               double *__restrict squaredErrors,
               double *__restrict squaredDeltas) {
  for (int64_t r = 0; r != kStrip; ++r) {
    const float error = (current[r] - rounded[r]) * pivot;
    const float delta = given[r] - rounded[r];
    errors[r] = error;
    rounded[r] = delta;
    squaredErrors[r] += square(error);
    squaredDeltas[r] += square(delta);
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

namespace llq::numerics {

/// A strip of rows on its way through the columns. Matrices of a strip are
/// [kStrip, K] in the order of rounding.
class CompensatedStrip {
public:
  CompensatedStrip(const GPTQFactor &factor, const float *weights,
                   int64_t rows);

  int64_t blocks() const { return std::ssize(factor.blocks) - 1; }
  int64_t begin(int64_t block) const { return factor.blocks[block]; }
  int64_t width(int64_t block) const { return begin(block + 1) - begin(block); }

  /// Sets the block's values before any of its columns is rounded.
  void loadBlock(int64_t block);
  /// Rounds the columns of the block that was loaded.
  void roundBlock(int64_t block, StripRounder &rounder);
  /// The same in two steps, with all columns at once, as rows.
  void getBlock(int64_t block, float *values) const;
  void setBlock(int64_t block, const float *values, BlockCompensation kind);

  CompensatedLoss loss(BlockCompensation kind) const;

private:
  void beginGroup(const GPTQFactor::Group &group, int64_t block,
                  StripRounder &rounder);
  void lookAhead(const GPTQFactor::Group &group, int64_t block);
  void storeColumns(int64_t block, const std::vector<float> &values,
                    std::vector<float> &matrix) const;

  const GPTQFactor &factor;
  const int64_t columns;
  const int64_t rows;
  size_t nextGroup = 0; ///< of the dynamic ones

  std::vector<float> weights; ///< as given, dead columns zero
  std::vector<float> deltas;  ///< D of the columns done, or what stands for it
  /// D V of the panel that the present block is in, [kStrip, panel's width].
  std::vector<float> panel;
  // Of the present block: [kStrip, width], then by columns, [width, kStrip].
  std::vector<float> started;
  std::vector<float> current, given, rounded;
  std::vector<float> ahead;
  double squaredErrors[kStrip] = {}, squaredDeltas[kStrip] = {};
};

CompensatedStrip::CompensatedStrip(const GPTQFactor &factor,
                                   const float *source, int64_t rows)
    : factor(factor), columns(factor.columns()), rows(rows),
      weights(kStrip * columns), deltas(kStrip * columns) {
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = 0; j != columns; ++j)
      if (!factor.deadPosition[j])
        weights[r * columns + j] = source[r * columns + factor.order[j]];

  int64_t widest = 0;
  for (int64_t b = 0; b != blocks(); ++b)
    widest = std::max(widest, width(b));
  for (auto *buffer : {&started, &current, &given, &rounded})
    buffer->resize(kStrip * widest);
}

/// The present values of a group that spans several blocks, the first of which
/// is `block`: W_G + X with X V_GG = D V_:G, block by block.
void CompensatedStrip::lookAhead(const GPTQFactor::Group &group,
                                 int64_t block) {
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
                   factor.inverse(b), width(b), 0.0f, ahead.data() + offset,
                   size);
  }
  for (int64_t r = 0; r != kStrip; ++r)
    for (int64_t j = 0; j != size; ++j)
      ahead[r * size + j] += weights[r * columns + group.begin + j];
}

/// Shows the present values of a group that begins in `block`.
void CompensatedStrip::beginGroup(const GPTQFactor::Group &group, int64_t block,
                                  StripRounder &rounder) {
  const int64_t size = group.end - group.begin;
  if (group.end > begin(block + 1)) {
    lookAhead(group, block);
  } else {
    ahead.resize(kStrip * size);
    const float *first = &current[(group.begin - begin(block)) * kStrip];
    for (int64_t r = 0; r != kStrip; ++r)
      for (int64_t j = 0; j != size; ++j)
        ahead[r * size + j] = first[j * kStrip + r];
  }
  rounder.beginGroup(group.index, ahead.data(), size);
}

void CompensatedStrip::loadBlock(int64_t block) {
  const int64_t count = width(block);
  const int64_t size = std::max<int64_t>(factor.settings.blockSize, 1);
  const int64_t panelBlocks = std::max(kPanelBlocks, kPanelColumns / size);
  const int64_t lead = block - block % panelBlocks;
  const int64_t first = begin(lead);
  const int64_t stride = begin(std::min(lead + panelBlocks, blocks())) - first;
  if (block == lead) {
    panel.resize(kStrip * stride);
    blas::multiply(kStrip, stride, first, 1.0f, deltas.data(), columns,
                   factor.row(0) + first, columns, 0.0f, panel.data(), stride);
  }
  float *sums = panel.data() + (begin(block) - first);
  blas::multiply(kStrip, count, begin(block) - first, 1.0f,
                 deltas.data() + first, columns,
                 factor.row(first) + begin(block), columns, 1.0f, sums, stride);
  blas::multiply(kStrip, count, count, 1.0f, sums, stride,
                 factor.inverse(block), count, 0.0f, started.data(), count);
  for (int64_t r = 0; r != kStrip; ++r) {
    const float *row = &weights[r * columns + begin(block)];
    for (int64_t j = 0; j != count; ++j) {
      given[j * kStrip + r] = row[j];
      current[j * kStrip + r] = row[j] + started[r * count + j];
    }
  }
}

void CompensatedStrip::roundBlock(int64_t block, StripRounder &rounder) {
  const bool dynamic = factor.hasDynamicGroups();
  float errors[kStrip];
  for (int64_t c = 0, count = width(block); c != count; ++c) {
    const int64_t j = begin(block) + c;
    if (dynamic && nextGroup != factor.groups.size() &&
        factor.groups[nextGroup].begin == j)
      beginGroup(factor.groups[nextGroup++], block, rounder);
    float *column = &current[c * kStrip], *delta = &rounded[c * kStrip];
    rounder.roundColumn(j, column, delta);
    if (factor.isDead(j)) // costs nothing, whatever it becomes
      std::fill_n(delta, kStrip, 0.0f);
    subtractColumn(column, &given[c * kStrip], factor.pivot(j), delta, errors,
                   squaredErrors, squaredDeltas);
    compensate(column + kStrip, errors,
               factor.inverse(block) + c * count + c + 1, count - c - 1);
  }
  rounder.endBlock(begin(block), begin(block + 1));
  // By now the deltas.
  storeColumns(block, rounded, deltas);
}

/// Puts `values` of the block, by columns, into a matrix.
void CompensatedStrip::storeColumns(int64_t block,
                                    const std::vector<float> &values,
                                    std::vector<float> &matrix) const {
  for (int64_t r = 0; r != kStrip; ++r) {
    float *row = &matrix[r * columns + begin(block)];
    for (int64_t c = 0; c != width(block); ++c)
      row[c] = values[c * kStrip + r];
  }
}

void CompensatedStrip::getBlock(int64_t block, float *values) const {
  const int64_t count = width(block);
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t c = 0; c != count; ++c)
      values[r * count + c] = current[c * kStrip + r];
}

void CompensatedStrip::setBlock(int64_t block, const float *values,
                                BlockCompensation kind) {
  const int64_t count = width(block), first = begin(block);
  // [kStrip, width] again, and zero in the rows that fill up the strip.
  std::vector<float> differences(kStrip * count), errors(kStrip * count);
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t c = 0; c != count; ++c) {
      const int64_t at = c * kStrip + r;
      const float value =
          factor.isDead(first + c) ? 0.0f : values[r * count + c];
      differences[r * count + c] = current[at] - value;
      rounded[at] = given[at] - value;
      squaredDeltas[r] += square(rounded[at]);
    }
  if (kind == BlockCompensation::Exact) {
    // E_b = (current - rounded) V_bb, the errors of all columns at once.
    blas::multiply(kStrip, count, count, 1.0f, differences.data(), count,
                   factor.row(first) + first, columns, 0.0f, errors.data(),
                   count);
    for (int64_t r = 0; r != rows; ++r)
      for (int64_t c = 0; c != count; ++c)
        squaredErrors[r] += square(errors[r * count + c]);
    storeColumns(block, rounded, deltas);
    return;
  }
  // Those done are not needed as they were given any more.
  storeColumns(block, rounded, weights);
  if (kind == BlockCompensation::None)
    return;
  // With E_b = (current - rounded) diag(V_bb) instead, columns to come are what
  // they would be if this block had become current - E_b V_bb^-1.
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t c = 0; c != count; ++c)
      differences[r * count + c] *= factor.pivot(first + c);
  blas::multiply(kStrip, count, count, 1.0f, differences.data(), count,
                 factor.inverse(block), count, 0.0f, errors.data(), count);
  for (int64_t r = 0; r != kStrip; ++r)
    for (int64_t c = 0; c != count; ++c) {
      const int64_t at = c * kStrip + r;
      rounded[at] = given[at] - current[at] + errors[r * count + c];
    }
  storeColumns(block, rounded, deltas);
}

CompensatedLoss CompensatedStrip::loss(BlockCompensation kind) const {
  CompensatedLoss loss;
  if (kind != BlockCompensation::Exact)
    loss.squaredErrors = factor.squaredErrors(weights.data(), rows);
  double squares = 0;
  for (int64_t r = 0; r != rows; ++r) {
    loss.squaredErrors += squaredErrors[r];
    squares += squaredDeltas[r];
  }
  loss.outputError = loss.squaredErrors - factor.lambda * squares;
  return loss;
}

} // namespace llq::numerics

static CompensatedLoss sum(const std::vector<CompensatedLoss> &losses) {
  CompensatedLoss total;
  for (const CompensatedLoss &loss : losses)
    total.merge(loss);
  return total;
}

CompensatedLoss llq::numerics::compensateColumns(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    const MakeStripRounder &makeRounder, ThreadPool &pool) {
  const int64_t columns = factor.columns();
  std::vector<CompensatedLoss> losses((rows + kStrip - 1) / kStrip);
  pool.parallelFor(0, rows, kStrip, [&](int64_t first, int64_t last) {
    std::unique_ptr<StripRounder> rounder = makeRounder(first, last);
    CompensatedStrip strip(factor, weights + first * columns, last - first);
    for (int64_t block = 0; block != strip.blocks(); ++block) {
      strip.loadBlock(block);
      strip.roundBlock(block, *rounder);
    }
    losses[first / kStrip] = strip.loss(BlockCompensation::Exact);
  });
  return sum(losses);
}

CompensatedLoss llq::numerics::compensateBlocks(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    const RoundBlockFn &round, ThreadPool &pool, BlockCompensation kind) {
  const int64_t columns = factor.columns();
  const int64_t count = (rows + kStrip - 1) / kStrip;
  std::vector<std::unique_ptr<CompensatedStrip>> strips(count);
  auto forStrips = [&](auto body) {
    pool.parallelFor(0, rows, kStrip, [&](int64_t first, int64_t last) {
      body(strips[first / kStrip], first, last);
    });
  };
  forStrips([&](auto &strip, int64_t first, int64_t last) {
    strip = std::make_unique<CompensatedStrip>(
        factor, weights + first * columns, last - first);
  });
  std::vector<float> values;
  for (int64_t block = 0; count != 0 && block != strips[0]->blocks(); ++block) {
    const int64_t begin = strips[0]->begin(block);
    const int64_t width = strips[0]->width(block);
    values.resize(rows * width);
    forStrips([&](auto &strip, int64_t first, int64_t) {
      strip->loadBlock(block);
      strip->getBlock(block, values.data() + first * width);
    });
    round(begin, begin + width, values.data());
    forStrips([&](auto &strip, int64_t first, int64_t) {
      strip->setBlock(block, values.data() + first * width, kind);
    });
  }
  std::vector<CompensatedLoss> losses(count);
  forStrips([&](auto &strip, int64_t first, int64_t) {
    losses[first / kStrip] = strip->loss(kind);
  });
  return sum(losses);
}
