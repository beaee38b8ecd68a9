//===- PartialBinarization.cpp - Few weights in 8 bits, one for all -------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/PartialBinarization.h"
#include "BinaryTerm.h"
#include "GroupRange.h"
#include "RoundToType.h"
#include "VectorClones.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <vector>

using namespace llq;
using namespace llq::numerics;

static constexpr int64_t kStrip = kStripRows;

/// The grid of a row's salient weights.
static constexpr UniformGridOptions salientGrid(ScaleType type) {
  return {.bits = 8,
          .groupSize = 0,
          .scheme = GridScheme::Asymmetric,
          .scaleType = type};
}

static int64_t groupLength(int64_t groupSize, int64_t columns) {
  return UniformGridOptions{.groupSize = groupSize}.groupLength(columns);
}
static int64_t groupsPerRow(int64_t groupSize, int64_t columns) {
  return UniformGridOptions{.groupSize = groupSize}.groupsPerRow(columns);
}

namespace {

/// What one bit says of the weights of a row's group: mean +- deviation.
struct BinaryFit {
  double mean = 0, deviation = 0;
};

/// Which weights are salient: those of which ||w - mean| - deviation| f_j is
/// above the threshold of their group.
class SalienceRule {
public:
  SalienceRule(const float *weights, int64_t rows, const GPTQFactor &factor,
               const PartialBinaryOptions &options, ThreadPool &pool);

  bool isDead(int64_t column) const { return dead[column]; }
  /// Fits a group of a row to the weights that are not salient, of which
  /// `scratch` becomes a list, and calls mark(column, salient) for all.
  template <typename Mark>
  BinaryFit fit(int64_t r, int64_t group, std::vector<float> &scratch,
                Mark mark) const;

private:
  float score(int64_t r, int64_t column, int64_t group) const {
    const BinaryFit &bit = bits[r * groups + group];
    const auto mean = static_cast<float>(bit.mean);
    const auto deviation = static_cast<float>(bit.deviation);
    return std::fabs(std::fabs(weights[r * columns + column] - mean) -
                     deviation) *
           factors[column];
  }
  void chooseThreshold(int64_t group);
  void refit(int64_t group);
  int64_t first(int64_t group) const { return group * length; }
  int64_t last(int64_t group) const {
    return std::min(first(group) + length, columns);
  }

  const float *const weights;
  const PartialBinaryOptions &options;
  const int64_t rows, columns, length, groups;
  std::vector<float> factors;    ///< by column
  std::vector<bool> dead;        ///< by column
  std::vector<float> thresholds; ///< by group
  std::vector<BinaryFit> bits;   ///< [rows, groups], at first zero
};

} // namespace

SalienceRule::SalienceRule(const float *weights, int64_t rows,
                           const GPTQFactor &factor,
                           const PartialBinaryOptions &options,
                           ThreadPool &pool)
    : weights(weights), options(options), rows(rows), columns(factor.columns()),
      length(groupLength(options.groupSize, columns)),
      groups(groupsPerRow(options.groupSize, columns)), factors(columns),
      dead(columns), thresholds(groups), bits(rows * groups) {
  const auto byPosition = salienceFactors(factor, options.criterion, pool);
  for (int64_t position = 0; position != columns; ++position) {
    const int64_t column = factor.permutation()[position];
    factors[column] = byPosition[position];
    dead[column] = factor.isDead(position);
  }
  pool.parallelFor(0, groups, 1, [&](int64_t group, int64_t) {
    chooseThreshold(group);
    for (int round = 0; round != options.rounds; ++round) {
      refit(group);
      chooseThreshold(group);
    }
  });
}

/// Sets the score up to which a share of 1 - salient of all is.
void SalienceRule::chooseThreshold(int64_t group) {
  std::vector<float> scores;
  scores.reserve(rows * (last(group) - first(group)));
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = first(group); j != last(group); ++j)
      if (!dead[j])
        scores.push_back(score(r, j, group));
  const auto count = static_cast<double>(scores.size());
  const double rank = std::floor(count * (1 - options.salient));
  if (!(options.salient > 0) || rank >= count) { // none
    thresholds[group] = std::numeric_limits<float>::infinity();
  } else if (options.salient >= 1) { // all
    thresholds[group] = -1;
  } else {
    auto nth = scores.begin() + static_cast<int64_t>(rank);
    std::nth_element(scores.begin(), nth, scores.end());
    thresholds[group] = *nth;
  }
}

template <typename Mark>
BinaryFit SalienceRule::fit(int64_t r, int64_t group,
                            std::vector<float> &scratch, Mark mark) const {
  scratch.clear();
  for (int64_t j = first(group); j != last(group); ++j) {
    const bool salient = !dead[j] && score(r, j, group) > thresholds[group];
    mark(j, salient);
    if (!salient && !dead[j])
      scratch.push_back(weights[r * columns + j]);
  }
  const auto fitted = static_cast<int64_t>(scratch.size());
  const int64_t zeros = options.binaryScale == BinaryScale::Reference
                            ? last(group) - first(group) - fitted
                            : 0;
  const auto count = static_cast<double>(std::max<int64_t>(fitted + zeros, 1));
  BinaryFit bit;
  bit.mean = sumInLanes(fitted, [&](int64_t i) { return scratch[i]; }) / count;
  auto distance = [&](int64_t i) {
    return std::fabs(static_cast<double>(scratch[i]) - bit.mean);
  };
  bit.deviation = (sumInLanes(fitted, distance) +
                   static_cast<double>(zeros) * std::fabs(bit.mean)) /
                  count;
  return bit;
}

/// Sets what the present rule makes of a group.
void SalienceRule::refit(int64_t group) {
  std::vector<float> scratch;
  for (int64_t r = 0; r != rows; ++r)
    bits[r * groups + group] = fit(r, group, scratch, [](int64_t, bool) {});
}

namespace {

/// The two values of one group in all rows of a strip.
struct StripLevels {
  float offset[kStrip] = {}, scale[kStrip] = {};
};

class PartialBinaryRounder : public StripRounder {
public:
  PartialBinaryRounder(const GPTQFactor &factor, const SalienceRule &rule,
                       const PartialBinaryOptions &options, const float *source,
                       int64_t firstRow, int64_t rows,
                       const PartialBinaryRows &result)
      : factor(factor), rule(rule), options(options), columns(factor.columns()),
        length(groupLength(options.groupSize, columns)),
        groups(groupsPerRow(options.groupSize, columns)), firstRow(firstRow),
        rows(rows), result(result), levels(groups) {
    std::fill_n(salientScale, kStrip, 1.0f);
    for (int64_t r = 0; r != rows; ++r) {
      chooseSalientGrid(source + r * columns, r);
      for (int64_t group = 0; group != groups; ++group)
        chooseLevels(r, group);
    }
  }

  void roundColumn(int64_t position, const float *current,
                   float *rounded) override;
  void endBlock(int64_t begin, int64_t end) override;

private:
  void chooseSalientGrid(const float *row, int64_t r);
  void chooseLevels(int64_t r, int64_t group);

  const GPTQFactor &factor;
  const SalienceRule &rule;
  const PartialBinaryOptions &options;
  const int64_t columns, length, groups, firstRow, rows;
  const PartialBinaryRows result;
  std::vector<StripLevels> levels; ///< by group
  float salientScale[kStrip], salientZero[kStrip] = {};
  std::vector<uint8_t> codes; ///< of the present block, [columns, kStrip]
  std::vector<float> scratch;
};

} // namespace

void PartialBinaryRounder::chooseSalientGrid(const float *row, int64_t r) {
  scratch.assign(row, row + columns);
  for (int64_t j = 0; j != columns; ++j)
    if (rule.isDead(j))
      scratch[j] = 0;
  const GroupGrid grid = chooseGrid(scratch, salientGrid(options.scaleType));
  result.salientScales[r] = salientScale[r] = grid.scale;
  result.salientZeros[r] = static_cast<uint8_t>(grid.zero);
  salientZero[r] = static_cast<float>(grid.zero);
}

/// Sets the mask of a row's group and what the others may become.
void PartialBinaryRounder::chooseLevels(int64_t r, int64_t group) {
  const BinaryFit bit =
      rule.fit(firstRow + r, group, scratch, [&](int64_t column, bool salient) {
        result.salient[r * columns + column] = salient;
      });
  StripLevels &level = levels[group];
  level.scale[r] =
      roundToType(static_cast<float>(2 * bit.deviation), options.scaleType);
  level.offset[r] = roundToType(static_cast<float>(bit.mean - bit.deviation),
                                options.scaleType);
  result.scales[r * groups + group] = level.scale[r];
  result.offsets[r * groups + group] = level.offset[r];
}

/// Rounds one column of a strip both ways and takes what the mask says.
LLQ_VECTOR_CLONES static void
roundPartialBinary(const float *__restrict current,
                   const uint8_t *__restrict salient, const StripLevels &levels,
                   const float *__restrict salientScale,
                   const float *__restrict salientZero,
                   uint8_t *__restrict codes, float *__restrict rounded) {
  for (int64_t r = 0; r != kStrip; ++r) {
    const float value = current[r], low = levels.offset[r];
    const bool bit = value >= low + 0.5f * levels.scale[r];
    const float binary = bit ? levels.scale[r] + low : low;

    const float zero = salientZero[r];
    float steps = value / salientScale[r];
    steps = steps > -zero ? steps : -zero;
    steps = steps < 255.0f - zero ? steps : 255.0f - zero;
    steps = roundToInteger(steps);

    rounded[r] = salient[r] ? salientScale[r] * steps : binary;
    codes[r] =
        static_cast<uint8_t>(static_cast<int32_t>(salient[r] ? steps + zero
                                                  : bit      ? 1.0f
                                                             : 0.0f));
  }
}

void PartialBinaryRounder::roundColumn(int64_t position, const float *current,
                                       float *rounded) {
  const int64_t column = factor.permutation()[position];
  uint8_t salient[kStrip] = {};
  for (int64_t r = 0; r != rows; ++r)
    salient[r] = result.salient[r * columns + column];
  const size_t at = codes.size();
  codes.resize(at + kStrip);
  roundPartialBinary(current, salient, levels[column / length], salientScale,
                     salientZero, &codes[at], rounded);
}

void PartialBinaryRounder::endBlock(int64_t begin, int64_t end) {
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = begin; j != end; ++j)
      result.codes[r * columns + factor.permutation()[j]] =
          codes[(j - begin) * kStrip + r];
  codes.clear();
}

std::optional<NonFiniteWeight> llq::numerics::quantizePartialBinary(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    const PartialBinaryOptions &options, const PartialBinaryRows &result,
    CompensatedLoss &loss, ThreadPool &pool) {
  const int64_t columns = factor.columns();
  assert(options.groupSize >= 0);
  assert(!factor.options().hasDynamicGroups(columns));
  if (auto bad = findNonFinite(weights, rows, columns))
    return bad;
  const int64_t groups = groupsPerRow(options.groupSize, columns);
  const SalienceRule rule(weights, rows, factor, options, pool);
  auto makeRounder = [&](int64_t first, int64_t last) {
    const PartialBinaryRows strip{
        result.codes + first * columns, result.salient + first * columns,
        result.scales + first * groups, result.offsets + first * groups,
        result.salientScales + first,   result.salientZeros + first};
    return std::make_unique<PartialBinaryRounder>(factor, rule, options,
                                                  weights + first * columns,
                                                  first, last - first, strip);
  };
  loss.merge(compensateColumns(weights, rows, factor, makeRounder, pool));
  return std::nullopt;
}

void llq::numerics::dequantizePartialBinary(const PartialBinaryRows &quantized,
                                            int64_t rows, int64_t columns,
                                            int64_t groupSize, float *weights) {
  const int64_t length = groupLength(groupSize, columns);
  const int64_t groups = groupsPerRow(groupSize, columns);
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = 0; j != columns; ++j) {
      const int64_t at = r * columns + j, group = r * groups + j / length;
      const auto code = static_cast<float>(quantized.codes[at]);
      weights[at] =
          quantized.salient[at]
              ? quantized.salientScales[r] *
                    (code - static_cast<float>(quantized.salientZeros[r]))
              : quantized.scales[group] * code + quantized.offsets[group];
    }
}
