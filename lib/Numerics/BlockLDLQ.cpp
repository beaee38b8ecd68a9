//===- BlockLDLQ.cpp - Tuples of weights on E8P, with feedback ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/BlockLDLQ.h"
#include "GroupRange.h"
#include "RangeSearch.h"
#include "llq/Numerics/Compensation.h"
#include "llq/Numerics/CoordinateDescent.h"
#include "llq/Numerics/E8P.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <functional>
#include <vector>

using namespace llq;
using namespace llq::numerics;

/// scale / RMS(W), and residualScale / scale, for normal deviates: those of the
/// authors' code.
static constexpr double kNormalScale[] = {0, 0, 1 / 1.03, 1 / 0.98, 1 / 1.03};
static constexpr double kResidualShare[] = {0, 0, 0, 1 / 2.04, 1 / 3.45};

void E8PGrid::decode(uint32_t code, float *values) const {
  float point[kE8Width], residual[kE8Width] = {};
  decodeE8P(static_cast<uint16_t>(code), point);
  if (bits == 3)
    decodeE8(static_cast<uint8_t>(code >> 16), residual);
  else if (bits == 4)
    decodeE8P(static_cast<uint16_t>(code >> 16), residual);
  for (int64_t i = 0; i != kE8Width; ++i)
    values[i] = scale * point[i] + residualScale * residual[i];
}

void E8PGrid::round(float *values, int64_t count, uint32_t *codes) const {
  float scaled[kE8Width], point[kE8Width];
  for (int64_t t = 0; t != count; ++t, values += kE8Width) {
    for (int64_t i = 0; i != kE8Width; ++i)
      scaled[i] = values[i] / scale;
    uint16_t code;
    encodeE8P(scaled, 1, &code);
    codes[t] = code;
    if (bits != 2) {
      decodeE8P(code, point);
      for (int64_t i = 0; i != kE8Width; ++i)
        scaled[i] = (values[i] - scale * point[i]) / residualScale;
      uint16_t residual = 0;
      uint8_t narrow = 0;
      if (bits == 4)
        encodeE8P(scaled, 1, &residual);
      else
        encodeE8(scaled, 1, &narrow);
      codes[t] |= static_cast<uint32_t>(residual | narrow) << 16;
    }
    decode(codes[t], values);
  }
}

namespace {
/// The weights of a matrix, or of a sample of its rows, on their way to codes.
class TupleQuantizer {
public:
  TupleQuantizer(const float *weights, int64_t rows, const GPTQFactor &factor,
                 ThreadPool &pool)
      : weights(weights), rows(rows), columns(factor.columns()), factor(factor),
        pool(pool) {}

  /// Both return the error at the output; codes[rows, K / 8].
  double compensate(const E8PGrid &grid, uint32_t *codes) const;
  double descend(const E8PGrid &grid, std::span<const float> secondMoment,
                 int sweeps, uint32_t *codes) const;

private:
  void roundBlock(const E8PGrid &grid, int64_t begin, int64_t count,
                  float *values, uint32_t *codes) const;

  const float *weights;
  const int64_t rows, columns;
  const GPTQFactor &factor;
  ThreadPool &pool;
};
} // namespace

/// Rounds the tuple of columns at positions [begin, begin + 8) of `count` rows,
/// whose codes start at `codes`.
void TupleQuantizer::roundBlock(const E8PGrid &grid, int64_t begin,
                                int64_t count, float *values,
                                uint32_t *codes) const {
  const int64_t *order = &factor.permutation()[begin];
  const int64_t tuple = order[0] / kE8Width;
  for (int64_t r = 0; r != count; ++r, values += kE8Width) {
    float sorted[kE8Width];
    for (int64_t i = 0; i != kE8Width; ++i) {
      assert(order[i] / kE8Width == tuple);
      sorted[order[i] % kE8Width] = values[i];
    }
    grid.round(sorted, 1, &codes[r * (columns / kE8Width) + tuple]);
    for (int64_t i = 0; i != kE8Width; ++i)
      values[i] = sorted[order[i] % kE8Width];
  }
}

double TupleQuantizer::compensate(const E8PGrid &grid, uint32_t *codes) const {
  std::vector<CompensatedLoss> losses((rows + kStripRows - 1) / kStripRows);
  pool.parallelFor(0, rows, kStripRows, [&](int64_t first, int64_t last) {
    auto round = [&](int64_t begin, int64_t, float *values) {
      roundBlock(grid, begin, last - first, values,
                 codes + first * (columns / kE8Width));
    };
    // A strip at a time, so a thread never waits for others between blocks.
    losses[first / kStripRows] = compensateBlocks(
        weights + first * columns, last - first, factor, round, pool);
  });
  CompensatedLoss loss;
  for (const CompensatedLoss &part : losses)
    loss.merge(part);
  return loss.outputError;
}

double TupleQuantizer::descend(const E8PGrid &grid,
                               std::span<const float> secondMoment, int sweeps,
                               uint32_t *codes) const {
  std::vector<float> rounded(rows * columns);
  for (int64_t t = 0; t != rows * columns / kE8Width; ++t)
    grid.decode(codes[t], &rounded[t * kE8Width]);
  auto round = [&](float *values, int64_t count, uint32_t *tupleCodes) {
    grid.round(values, count, tupleCodes);
  };
  descendByTuples(weights, rows, columns, secondMoment, kE8Width, sweeps, round,
                  rounded.data(), codes, pool);
  std::transform(weights, weights + rows * columns, rounded.begin(),
                 rounded.begin(), std::minus<float>());
  return factor.outputError(rounded.data(), rows, pool);
}

std::optional<NonFiniteWeight> llq::numerics::quantizeBlockLDLQ(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    std::span<const float> secondMoment, const BlockLDLQOptions &options,
    uint32_t *codes, BlockLDLQResult &result, ThreadPool &pool) {
  const int64_t columns = factor.columns();
  const unsigned bits = options.bits;
  assert(bits >= 2 && bits <= 4 && columns % kE8Width == 0);
  assert(factor.options().blockSize == kE8Width);
  assert(!factor.options().hasDynamicGroups(columns));
  if (auto bad = findNonFinite(weights, rows, columns))
    return bad;

  const double rms = rootMeanSquare(weights, rows * columns);
  auto gridOf = [&](double relativeScale) {
    auto stored = [&](double scale) {
      return roundScale(static_cast<float>(scale), options.scaleType);
    };
    E8PGrid grid{bits, stored(relativeScale * rms), 0};
    if (bits != 2)
      grid.residualScale = stored(kResidualShare[bits] * grid.scale);
    return grid;
  };
  result.relativeScale = options.relativeScale;
  if (result.relativeScale == 0) {
    const RowSample sample(weights, rows, columns);
    const TupleQuantizer quantizer(sample.weights.data(), sample.rows, factor,
                                   pool);
    std::vector<uint32_t> ignored(sample.rows * columns / kE8Width);
    result.relativeScale =
        searchRange(kNormalScale[bits], [&](double relativeScale) {
          return quantizer.compensate(gridOf(relativeScale), ignored.data());
        });
  }

  result.grid = gridOf(result.relativeScale);
  const TupleQuantizer quantizer(weights, rows, factor, pool);
  result.outputError = quantizer.compensate(result.grid, codes);
  if (options.sweeps != 0)
    result.outputError =
        quantizer.descend(result.grid, secondMoment, options.sweeps, codes);
  return std::nullopt;
}
