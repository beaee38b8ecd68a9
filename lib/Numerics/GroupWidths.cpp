//===- GroupWidths.cpp - Which groups of columns get which width ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/GroupWidths.h"
#include "BLAS.h"
#include "ColumnPowers.h"
#include "Dot.h"
#include "GroupRange.h"
#include "VectorClones.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

using namespace llq;
using namespace llq::numerics;

/// Rows, and tokens, that are taken together.
static constexpr int64_t kStrip = 256, kTokens = 16;

std::vector<double> llq::numerics::groupSalience(const float *weights,
                                                 int64_t rows,
                                                 const GPTQFactor &factor,
                                                 ThreadPool &pool) {
  const ColumnPowers powers(weights, rows, factor, pool);
  std::vector<double> salience(factor.groupCount());
  for (int64_t j = 0; j != factor.columns(); ++j)
    salience[j / factor.groupLength()] +=
        powers.importance[j] * powers.second[j];
  return salience;
}

/// The first `wholeGroups` groups, least salient first.
static std::vector<int64_t> orderBySalience(std::span<const double> salience,
                                            int64_t wholeGroups) {
  std::vector<int64_t> order(wholeGroups);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return salience[a] != salience[b] ? salience[a] < salience[b] : a < b;
  });
  return order;
}

std::vector<uint8_t>
llq::numerics::allocateWidths(std::span<const double> salience,
                              int64_t wholeGroups, int64_t moved,
                              unsigned bits) {
  assert(2 * moved <= wholeGroups &&
         wholeGroups <= static_cast<int64_t>(salience.size()));
  const std::vector<int64_t> order = orderBySalience(salience, wholeGroups);
  std::vector<uint8_t> widths(salience.size(), static_cast<uint8_t>(bits));
  for (int64_t i = 0; i != moved; ++i) {
    --widths[order[i]];
    ++widths[order[wholeGroups - 1 - i]];
  }
  return widths;
}

/// e^x for x <= 0, relative error below 4e-7; at least e^-87.
static inline __attribute__((always_inline)) float exponential(float x) {
  x = x > -87.0f ? x : -87.0f;
  // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, so that n ln 2 is
  // exact.
  const float n = roundToInteger(x * 1.44269504f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  const float series =
      1.0f +
      r * (1.0f +
           r * (1.0f / 2 +
                r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r / 720)))));
  return series * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

/// ln 1e-6.
static constexpr float kLogFloor = -13.8155106f;

/// logs = the logarithm of softmax(outputs), at least ln 1e-6.
LLQ_VECTOR_CLONES static void logSoftmax(const float *__restrict outputs,
                                         int64_t count,
                                         float *__restrict logs) {
  float largest[kLanes];
  std::fill_n(largest, kLanes, -std::numeric_limits<float>::infinity());
  inLanes(count, [&](int64_t lane, int64_t i) {
    largest[lane] = outputs[i] > largest[lane] ? outputs[i] : largest[lane];
  });
  const float top = *std::max_element(largest, largest + kLanes);
  double sums[kLanes] = {};
  inLanes(count, [&](int64_t lane, int64_t i) {
    sums[lane] += static_cast<double>(exponential(outputs[i] - top));
  });
  const float shift =
      static_cast<float>(std::log(std::accumulate(sums, sums + kLanes, 0.0)));
  for (int64_t i = 0; i != count; ++i) {
    const float value = (outputs[i] - top) - shift;
    logs[i] = value > kLogFloor ? value : kLogFloor;
  }
}

/// sum e^q (q - p) for logarithms q and p.
LLQ_VECTOR_CLONES static double divergence(const float *__restrict q,
                                           const float *__restrict p,
                                           int64_t count) {
  double sums[kLanes] = {};
  inLanes(count, [&](int64_t lane, int64_t i) {
    sums[lane] += static_cast<double>(exponential(q[i]) * (q[i] - p[i]));
  });
  return std::accumulate(sums, sums + kLanes, 0.0);
}

double llq::numerics::softmaxDivergence(std::span<const float> outputs,
                                        std::span<const float> reference) {
  assert(outputs.size() == reference.size());
  const auto count = static_cast<int64_t>(outputs.size());
  if (count == 0)
    return 0;
  std::vector<float> q(count), p(count);
  logSoftmax(outputs.data(), count, q.data());
  logSoftmax(reference.data(), count, p.data());
  return divergence(q.data(), p.data(), count);
}

namespace {
/// The outputs of a layer while widths of its groups change. Matrices of
/// outputs are [T, rows].
class OutputSweep {
public:
  OutputSweep(const float *weights, int64_t rows, int64_t columns,
              std::span<const float> inputs, const GroupWidthOptions &options,
              ThreadPool &pool);

  /// Rounds a group to other bits.
  void changeWidth(int64_t group, unsigned from, unsigned to);
  /// The mean cost of a token.
  double cost();

private:
  void addOutputs(const float *deltas, int64_t firstRow, int64_t lastRow,
                  int64_t firstColumn, int64_t count, float *outputs) const;
  /// rounded[size] = what `bits` make of a group of a row.
  void roundGroup(int64_t row, int64_t group, unsigned bits,
                  std::span<float> rounded) const;
  int64_t groupSize(int64_t group) const {
    return std::min(length, columns - group * length);
  }
  const float *groupOf(int64_t row, int64_t group) const {
    return weights + row * columns + group * length;
  }

  const float *weights;
  const int64_t rows, columns, tokens, length;
  const float *inputs;
  const GroupWidthOptions &options;
  ThreadPool &pool;
  std::vector<float> errors; ///< outputs of rounded less those of all weights
  // Of all weights, where divergence is wanted:
  std::vector<float> outputs, logs;
};
} // namespace

OutputSweep::OutputSweep(const float *weights, int64_t rows, int64_t columns,
                         std::span<const float> inputs,
                         const GroupWidthOptions &options, ThreadPool &pool)
    : weights(weights), rows(rows), columns(columns),
      tokens(static_cast<int64_t>(inputs.size()) / columns),
      length(UniformGridOptions{.groupSize = options.groupSize}.groupLength(
          columns)),
      inputs(inputs.data()), options(options), pool(pool),
      errors(tokens * rows) {
  const bool compares = options.cost == OutputCost::Divergence;
  if (compares) {
    outputs.resize(tokens * rows);
    logs.resize(tokens * rows);
  }
  pool.parallelFor(0, rows, kStrip, [&](int64_t first, int64_t last) {
    if (compares)
      addOutputs(weights + first * columns, first, last, 0, columns,
                 outputs.data());
    std::vector<float> deltas((last - first) * columns);
    for (int64_t r = first; r != last; ++r)
      for (int64_t group = 0; group * length < columns; ++group) {
        float *at = &deltas[(r - first) * columns + group * length];
        const int64_t size = groupSize(group);
        roundGroup(r, group, options.bits, {at, static_cast<size_t>(size)});
        for (int64_t j = 0; j != size; ++j)
          at[j] -= groupOf(r, group)[j];
      }
    addOutputs(deltas.data(), first, last, 0, columns, errors.data());
  });
  if (compares)
    pool.parallelFor(0, tokens, kTokens, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t != last; ++t)
        logSoftmax(&outputs[t * rows], rows, &logs[t * rows]);
    });
}

/// result[:, rows] += inputs[:, columns] deltas[rows, columns]^T.
void OutputSweep::addOutputs(const float *deltas, int64_t firstRow,
                             int64_t lastRow, int64_t firstColumn,
                             int64_t count, float *result) const {
  blas::multiplyTransposed(tokens, lastRow - firstRow, count, 1.0f,
                           inputs + firstColumn, columns, deltas, count, 1.0f,
                           result + firstRow, rows);
}

void OutputSweep::roundGroup(int64_t row, int64_t group, unsigned bits,
                             std::span<float> rounded) const {
  uint8_t codes[kStrip];
  std::span<const float> values(groupOf(row, group), rounded.size());
  const AffineGrid grid = plainAffineGrid(values, bits, options.grid);
  for (size_t at = 0; at < rounded.size(); at += kStrip) {
    const size_t count = std::min<size_t>(kStrip, rounded.size() - at);
    quantizeGroup(values.subspan(at, count), grid, bits, codes);
    dequantizeGroup({codes, count}, grid, rounded.subspan(at));
  }
}

void OutputSweep::changeWidth(int64_t group, unsigned from, unsigned to) {
  const auto size = static_cast<size_t>(groupSize(group));
  pool.parallelFor(0, rows, kStrip, [&](int64_t first, int64_t last) {
    std::vector<float> deltas((last - first) * size), before(size);
    for (int64_t r = first; r != last; ++r) {
      float *row = &deltas[(r - first) * size];
      roundGroup(r, group, to, {row, size});
      roundGroup(r, group, from, before);
      for (size_t j = 0; j != size; ++j)
        row[j] -= before[j];
    }
    addOutputs(deltas.data(), first, last, group * length,
               static_cast<int64_t>(size), errors.data());
  });
}

double OutputSweep::cost() {
  std::vector<double> costs(tokens);
  pool.parallelFor(0, tokens, kTokens, [&](int64_t first, int64_t last) {
    std::vector<float> row(rows), rowLogs(rows);
    for (int64_t t = first; t != last; ++t) {
      const float *error = &errors[t * rows];
      if (options.cost == OutputCost::SquaredError) {
        costs[t] = dot(error, error, rows);
        continue;
      }
      for (int64_t i = 0; i != rows; ++i)
        row[i] = outputs[t * rows + i] + error[i];
      logSoftmax(row.data(), rows, rowLogs.data());
      costs[t] = divergence(rowLogs.data(), &logs[t * rows], rows);
    }
  });
  return std::accumulate(costs.begin(), costs.end(), 0.0) /
         static_cast<double>(tokens);
}

GroupWidths llq::numerics::chooseGroupWidths(const float *weights, int64_t rows,
                                             int64_t columns,
                                             std::span<const float> inputs,
                                             std::span<const double> salience,
                                             const GroupWidthOptions &options,
                                             ThreadPool &pool) {
  assert(options.bits >= 2 && options.bits <= 7);
  const UniformGridOptions groups{.groupSize = options.groupSize};
  assert(static_cast<int64_t>(salience.size()) == groups.groupsPerRow(columns));
  const int64_t whole = columns / groups.groupLength(columns);
  GroupWidths result{{}, 0, {}};
  if (!inputs.empty() && rows != 0) {
    OutputSweep sweep(weights, rows, columns, inputs, options, pool);
    const std::vector<int64_t> order = orderBySalience(salience, whole);
    result.costs.push_back(sweep.cost());
    for (int64_t p = 1; p < whole / 2; ++p) {
      sweep.changeWidth(order[p - 1], options.bits, options.bits - 1);
      sweep.changeWidth(order[whole - p], options.bits, options.bits + 1);
      result.costs.push_back(sweep.cost());
      if (result.costs[p] < result.costs[result.moved])
        result.moved = p;
    }
  }
  result.widths = allocateWidths(salience, whole, result.moved, options.bits);
  return result;
}
