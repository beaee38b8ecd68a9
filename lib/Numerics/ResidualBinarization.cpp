//===- ResidualBinarization.cpp - Two binary terms for every weight -------===//
//
// A block is held with its columns in the order of salience, dead ones last, so
// that salient columns and the others are runs. Rows are independent but for
// sums over all of them, which are taken chunk by chunk in a fixed order.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/ResidualBinarization.h"
#include "BinaryTerm.h"
#include "GroupRange.h"
#include "RoundToType.h"
#include "VectorClones.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <functional>
#include <numeric>
#include <vector>

using namespace llq;
using namespace llq::numerics;

static constexpr int64_t kChunkRows = 64;
/// Values that quantiles are taken from, at most.
static constexpr int64_t kSampleSize = 1 << 16;
/// Where two binary terms split normal weights best, in standard deviations.
static constexpr float kNormalBreak = 0.98f;

namespace {

/// A run of a row. A value counts `fit` in means and `cost` in errors.
struct Run {
  const float *values, *fit, *cost;
  int64_t count;

  Run part(int64_t begin, int64_t end) const {
    return {values + begin, fit + begin, cost + begin, end - begin};
  }
};

/// mean +- scale.
struct BinaryTerm {
  float mean, scale;

  bool isHigh(float value) const { return value >= mean; }
  float nearest(float value) const {
    return isHigh(value) ? mean + scale : mean - scale;
  }
};

} // namespace

LLQ_VECTOR_CLONES static BinaryTerm fitTerm(const Run &run, bool withMean) {
  const float *values = run.values, *fit = run.fit;
  const double total = sumInLanes(run.count, [&](int64_t i) { return fit[i]; });
  if (!(total > 0))
    return {0, 0};
  BinaryTerm term{0, 0};
  if (withMean)
    term.mean = static_cast<float>(
        sumInLanes(run.count, [&](int64_t i) { return fit[i] * values[i]; }) /
        total);
  term.scale = static_cast<float>(
      sumInLanes(run.count,
                 [&](int64_t i) {
                   return fit[i] * std::fabs(values[i] - term.mean);
                 }) /
      total);
  return term;
}

LLQ_VECTOR_CLONES static double termError(const Run &run, BinaryTerm term) {
  const float *values = run.values, *cost = run.cost;
  return sumInLanes(run.count, [&](int64_t i) {
    const float error = std::fabs(values[i] - term.mean) - term.scale;
    return cost[i] * (error * error);
  });
}

static double oneTermError(const Run &run, bool withMean) {
  return termError(run, fitTerm(run, withMean));
}

/// What `term` leaves of a run.
static Run subtract(const Run &run, BinaryTerm term,
                    std::vector<float> &scratch) {
  scratch.resize(run.count);
  for (int64_t i = 0; i != run.count; ++i)
    scratch[i] = run.values[i] - term.nearest(run.values[i]);
  return {scratch.data(), run.fit, run.cost, run.count};
}

static double twoTermError(const Run &run, bool withMean,
                           std::vector<float> &scratch) {
  return oneTermError(subtract(run, fitTerm(run, withMean), scratch), withMean);
}

namespace {

/// A run in two: small values, then large ones.
class SplitRun {
public:
  void assign(const Run &run, const float *magnitudes, float breakPoint) {
    for (auto *buffer : {&values, &fit, &cost})
      buffer->resize(run.count);
    int64_t low = 0, high = run.count;
    for (int64_t i = 0; i != run.count; ++i) {
      const int64_t at = magnitudes[i] < breakPoint ? low++ : --high;
      values[at] = run.values[i];
      fit[at] = run.fit[i];
      cost[at] = run.cost[i];
    }
    count = low;
  }
  /// In ascending order of magnitude, to be split anywhere.
  void sort(const Run &run) {
    order.resize(run.count);
    for (int64_t i = 0; i != run.count; ++i)
      order[i] = {std::fabs(run.values[i]), i};
    std::sort(order.begin(), order.end());
    for (auto *buffer : {&values, &fit, &cost})
      buffer->resize(run.count);
    for (int64_t i = 0; i != run.count; ++i) {
      values[i] = run.values[order[i].second];
      fit[i] = run.fit[order[i].second];
      cost[i] = run.cost[order[i].second];
    }
  }
  /// Of a sorted run.
  float magnitude(int64_t i) const { return order[i].first; }
  void splitAt(int64_t smaller) { count = smaller; }
  void splitBy(float breakPoint) {
    count = std::lower_bound(order.begin(), order.end(),
                             std::pair(breakPoint, int64_t(-1))) -
            order.begin();
  }

  Run small() const { return whole().part(0, count); }
  Run large() const { return whole().part(count, std::ssize(values)); }
  double error(bool withMean) const {
    return oneTermError(small(), withMean) + oneTermError(large(), withMean);
  }

private:
  Run whole() const {
    return {values.data(), fit.data(), cost.data(), std::ssize(values)};
  }

  std::vector<float> values, fit, cost;
  std::vector<std::pair<float, int64_t>> order;
  int64_t count = 0; ///< of the small ones
};

/// The four levels of a table, by code, and what is listed of them.
struct LevelTable {
  float levels[4];

  LevelTable(BinaryTerm low, BinaryTerm high, ScaleType type)
      : LevelTable(high.mean - high.scale, low.mean - low.scale,
                   low.mean + low.scale, high.mean + high.scale, type) {}
  LevelTable(float a, float b, float c, float d, ScaleType type)
      : levels{roundToType(a, type), roundToType(b, type), roundToType(c, type),
               roundToType(d, type)} {}

  void list(int64_t listed, float *result) const {
    std::copy_n(levels + 4 - listed, listed, result);
  }
};

/// A block of columns of all rows.
class Block {
public:
  Block(const GPTQFactor &factor, std::span<const float> factors,
        const ResidualBinaryOptions &options, int64_t begin, int64_t end,
        int64_t rows, float *values, ThreadPool &pool)
      : factor(factor), factors(factors), options(options), begin(begin),
        width(end - begin), rows(rows), values(values), pool(pool),
        withMean(options.terms == BinaryTerms::MeanAndScale) {
    // Compensation without damping can run away. The loss says so; any levels
    // will do, but searches need numbers.
    std::replace_if(
        values, values + rows * width,
        [](float v) { return !std::isfinite(v); }, 0.0f);
    rankColumns();
    salient = chooseSalient();
    if (options.splitSearch != SplitSearch::Rows)
      breakPoint = chooseBreak();
  }

  void store(const ResidualBinaryRows &result);

private:
  using RowErrors = std::function<void(int64_t row, double *errors)>;

  void rankColumns();
  std::vector<double> columnSaliences() const;
  int64_t chooseSalient() const;
  float chooseBreak() const;
  std::vector<float> breakCandidates() const;
  float chooseRowBreak(const Run &run) const;
  int64_t findLeast(int64_t candidates, const RowErrors &addErrors) const;
  void weightedErrors(int64_t r, int64_t candidates, double *errors) const;
  void storeRow(int64_t r, uint8_t *codes, float *levels, int64_t listed);

  /// [first, live) of a row: weights, or their saliences.
  Run weightRun(int64_t r, int64_t first) const {
    const float *fit = options.weightedLevels ? cost.data() : ones.data();
    return Run{&ranked[r * width], fit, cost.data(), width}.part(first, live);
  }
  Run plainRun(int64_t r, int64_t first) const {
    return Run{&ranked[r * width], ones.data(), ones.data(), width}.part(first,
                                                                         live);
  }
  Run salienceRun(int64_t r, int64_t first, std::vector<float> &scratch) const {
    scratch.resize(width);
    for (int64_t c = 0; c != width; ++c)
      scratch[c] = salience(ranked[r * width + c], begin + rank[c]);
    return Run{scratch.data(), ones.data(), ones.data(), width}.part(first,
                                                                     live);
  }
  float salience(float value, int64_t position) const {
    const float score = std::fabs(value) * factors[position];
    return options.criterion == SalienceCriterion::Magnitude ? score
                                                             : score * score;
  }

  const GPTQFactor &factor;
  const std::span<const float> factors; ///< of salience, by position
  const ResidualBinaryOptions &options;
  const int64_t begin, width, rows;
  float *const values; ///< [rows, width]
  ThreadPool &pool;
  const bool withMean;

  std::vector<int64_t> rank; ///< columns of the block, most salient first
  int64_t live = 0;          ///< of them, those that are not dead
  std::vector<float> ranked; ///< values[rows, width] in this order
  std::vector<float> cost;   ///< V_jj^2 in this order, up to a factor
  std::vector<float> ones;
  int64_t salient = 0;
  float breakPoint = 0;
};

} // namespace

std::vector<double> Block::columnSaliences() const {
  const int64_t chunks = (rows + kChunkRows - 1) / kChunkRows;
  std::vector<double> parts(chunks * width), sums(width);
  pool.parallelFor(0, rows, kChunkRows, [&](int64_t first, int64_t last) {
    double *part = &parts[first / kChunkRows * width];
    for (int64_t r = first; r != last; ++r)
      for (int64_t c = 0; c != width; ++c)
        part[c] +=
            static_cast<double>(salience(values[r * width + c], begin + c));
  });
  for (int64_t chunk = 0; chunk != chunks; ++chunk)
    for (int64_t c = 0; c != width; ++c)
      sums[c] += parts[chunk * width + c];
  return sums;
}

void Block::rankColumns() {
  const std::vector<double> sums = columnSaliences();
  rank.resize(width);
  std::iota(rank.begin(), rank.end(), 0);
  auto isDead = [&](int64_t c) { return factor.isDead(begin + c); };
  std::sort(rank.begin(), rank.end(), [&](int64_t a, int64_t b) {
    if (isDead(a) != isDead(b))
      return isDead(b);
    return sums[a] != sums[b] ? sums[a] > sums[b] : a < b;
  });
  live = width - std::count_if(rank.begin(), rank.end(), isDead);

  ones.assign(width, 1.0f);
  cost.resize(width);
  float largest = 0;
  for (int64_t c = 0; c != live; ++c)
    largest = std::max(largest, factor.pivot(begin + rank[c]));
  for (int64_t c = 0; c != live; ++c) {
    const float share = factor.pivot(begin + rank[c]) / largest;
    cost[c] = share * share;
  }
  ranked.resize(rows * width);
  pool.parallelFor(0, rows, kChunkRows, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r != last; ++r)
      for (int64_t c = 0; c != width; ++c)
        ranked[r * width + c] = values[r * width + rank[c]];
  });
}

/// The first candidate whose error over all rows is least; `addErrors` adds
/// those of a row.
int64_t Block::findLeast(int64_t candidates, const RowErrors &addErrors) const {
  const int64_t chunks = (rows + kChunkRows - 1) / kChunkRows;
  std::vector<double> parts(chunks * candidates), sums(candidates);
  pool.parallelFor(0, rows, kChunkRows, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r != last; ++r)
      addErrors(r, &parts[first / kChunkRows * candidates]);
  });
  for (int64_t chunk = 0; chunk != chunks; ++chunk)
    for (int64_t i = 0; i != candidates; ++i)
      sums[i] += parts[chunk * candidates + i];
  return std::min_element(sums.begin(), sums.end()) - sums.begin();
}

int64_t Block::chooseSalient() const {
  const int64_t most = std::min(options.salientColumns, live);
  auto search = [&](int64_t least, int64_t greatest, auto error) {
    least = std::min(least, most);
    const int64_t candidates = std::min(greatest, most) - least + 1;
    return least + findLeast(candidates, [&](int64_t r, double *errors) {
             for (int64_t i = 0; i != candidates; ++i)
               errors[i] += error(r, least + i);
           });
  };
  switch (options.salientSearch) {
  case SalientSearch::Fixed:
    break;
  case SalientSearch::Paper:
    return search(3, 30, [&](int64_t r, int64_t n) {
      const Run run = plainRun(r, 0);
      return oneTermError(run.part(0, n), false) +
             oneTermError(run.part(n, live), false);
    });
  case SalientSearch::Reference:
    return search(1, 49, [&](int64_t r, int64_t n) {
      std::vector<float> saliences, scratch;
      const Run run = salienceRun(r, 0, saliences);
      return twoTermError(run.part(0, n), withMean, scratch) +
             twoTermError(run.part(n, live), withMean, scratch);
    });
  case SalientSearch::Weighted:
    return findLeast(most + 1, [&](int64_t r, double *errors) {
      weightedErrors(r, most + 1, errors);
    });
  }
  return most;
}

/// Adds the error of a row with 0, 1, ... salient columns.
void Block::weightedErrors(int64_t r, int64_t candidates,
                           double *errors) const {
  const Run run = weightRun(r, 0);
  SplitRun split;
  std::vector<float> magnitudes(live), scratch;
  double squares = 0; // of the columns that are not salient
  for (int64_t c = 0; c != live; ++c) {
    magnitudes[c] = std::fabs(run.values[c]);
    squares +=
        static_cast<double>(run.values[c]) * static_cast<double>(run.values[c]);
  }
  for (int64_t n = 0; n != candidates; ++n) {
    const auto others = static_cast<double>(std::max<int64_t>(live - n, 1));
    const auto deviation =
        static_cast<float>(std::sqrt(std::max(squares, 0.0) / others));
    split.assign(run.part(n, live), magnitudes.data() + n,
                 kNormalBreak * deviation);
    errors[n] +=
        twoTermError(run.part(0, n), withMean, scratch) + split.error(withMean);
    if (n != live)
      squares -= static_cast<double>(run.values[n]) *
                 static_cast<double>(run.values[n]);
  }
}

/// The value below which a share of sorted values is, between two of them.
static float quantile(const std::vector<float> &sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  const auto part = static_cast<float>(at - static_cast<double>(low));
  return sorted[low] + part * (sorted[high] - sorted[low]);
}

/// Points to split all rows at.
std::vector<float> Block::breakCandidates() const {
  const bool ofSaliences = options.splitSearch == SplitSearch::Reference;
  std::vector<float> candidates, sample, scratch;
  if (options.splitSearch == SplitSearch::Paper) {
    float largest = 0;
    for (int64_t r = 0; r != rows; ++r)
      for (int64_t c = salient; c != live; ++c)
        largest = std::max(largest, std::fabs(ranked[r * width + c]));
    for (int tenth = 1; tenth != 10; ++tenth)
      candidates.push_back(static_cast<float>(tenth) * 0.1f * largest);
    return candidates;
  }
  // All of some rows.
  const int64_t step = (rows * width + kSampleSize - 1) / kSampleSize;
  for (int64_t r = 0; r < rows; r += step) {
    const Run run =
        ofSaliences ? salienceRun(r, salient, scratch) : plainRun(r, salient);
    for (int64_t i = 0; i != run.count; ++i)
      sample.push_back(std::fabs(run.values[i]));
    if (ofSaliences)
      sample.insert(sample.end(), width - run.count, 0.0f);
  }
  std::sort(sample.begin(), sample.end());
  for (int percent = 10; percent <= (ofSaliences ? 90 : 95); ++percent)
    candidates.push_back(quantile(sample, percent / 100.0));
  return candidates;
}

float Block::chooseBreak() const {
  if (options.splitSearch == SplitSearch::Fixed)
    return options.breakPoint;
  if (salient == live)
    return 0;
  const std::vector<float> candidates = breakCandidates();
  const int64_t best =
      findLeast(std::ssize(candidates), [&](int64_t r, double *errors) {
        std::vector<float> scratch;
        SplitRun split;
        const bool paper = options.splitSearch == SplitSearch::Paper;
        split.sort(options.splitSearch == SplitSearch::Reference
                       ? salienceRun(r, salient, scratch)
                   : paper ? plainRun(r, salient)
                           : weightRun(r, salient));
        for (size_t i = 0; i != candidates.size(); ++i) {
          split.splitBy(candidates[i]);
          errors[i] += split.error(withMean && !paper);
        }
      });
  return candidates[best];
}

/// The point to split one row at.
float Block::chooseRowBreak(const Run &run) const {
  if (run.count == 0)
    return 0;
  SplitRun split;
  split.sort(run);
  double least = std::numeric_limits<double>::infinity();
  float best = split.magnitude(run.count - 1);
  int64_t last = -1;
  for (int percent = 10; percent <= 95; ++percent) {
    const int64_t smaller = run.count * percent / 100;
    // Equal magnitudes stay together.
    if (smaller == last || (smaller != 0 && split.magnitude(smaller - 1) ==
                                                split.magnitude(smaller)))
      continue;
    last = smaller;
    split.splitAt(smaller);
    if (const double error = split.error(withMean); error < least) {
      least = error;
      best = split.magnitude(smaller);
    }
  }
  return best;
}

/// Replaces a row of values by levels.
void Block::storeRow(int64_t r, uint8_t *codes, float *levels, int64_t listed) {
  // The other columns.
  const Run others = weightRun(r, salient);
  std::vector<float> magnitudes, scratch;
  const Run searched = options.splitSearch == SplitSearch::Reference
                           ? salienceRun(r, salient, scratch)
                           : others;
  for (int64_t i = 0; i != others.count; ++i)
    magnitudes.push_back(std::fabs(searched.values[i]));
  const float point = options.splitSearch == SplitSearch::Rows
                          ? chooseRowBreak(others)
                          : breakPoint;
  SplitRun split;
  split.assign(others, magnitudes.data(), point);
  const BinaryTerm small = fitTerm(split.small(), withMean);
  const BinaryTerm large = fitTerm(split.large(), withMean);
  const LevelTable table(small, large, options.scaleType);
  table.list(listed, levels);
  auto setCode = [&](int64_t c, int code, const LevelTable &from) {
    codes[rank[c]] = static_cast<uint8_t>(code);
    values[r * width + rank[c]] = from.levels[code];
  };
  for (int64_t i = 0; i != others.count; ++i) {
    const float value = others.values[i];
    const bool isSmall = magnitudes[i] < point;
    setCode(salient + i,
            isSmall ? (small.isHigh(value) ? 2 : 1)
                    : (large.isHigh(value) ? 3 : 0),
            table);
  }
  for (int64_t c = live; c != width; ++c)
    setCode(c, 2, table);

  // The salient ones.
  const Run run = weightRun(r, 0).part(0, salient);
  const BinaryTerm first = fitTerm(run, withMean);
  const Run rest = subtract(run, first, scratch);
  const BinaryTerm second = fitTerm(rest, withMean);
  const float mean = first.mean + second.mean;
  const LevelTable twice(mean - first.scale - second.scale,
                         mean - first.scale + second.scale,
                         mean + first.scale - second.scale,
                         mean + first.scale + second.scale, options.scaleType);
  twice.list(listed, levels + listed);
  for (int64_t c = 0; c != salient; ++c)
    setCode(c, 2 * first.isHigh(run.values[c]) + second.isHigh(rest.values[c]),
            twice);
}

void Block::store(const ResidualBinaryRows &result) {
  const int64_t columns = factor.columns(), listed = options.listedLevels();
  const int64_t group = factor.permutation()[begin] / factor.groupLength();
  const int64_t groups = factor.groupCount();
  const int64_t *order = factor.permutation().data() + begin;
  for (int64_t c = 0; c != width; ++c)
    result.salient[order[rank[c]]] = c < salient;
  pool.parallelFor(0, rows, kChunkRows, [&](int64_t first, int64_t last) {
    std::vector<uint8_t> codes(width);
    for (int64_t r = first; r != last; ++r) {
      storeRow(r, codes.data(),
               result.levels + (r * groups + group) * 2 * listed, listed);
      for (int64_t c = 0; c != width; ++c)
        result.codes[r * columns + order[c]] = codes[c];
    }
  });
}

std::optional<NonFiniteWeight> llq::numerics::quantizeResidualBinary(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    const ResidualBinaryOptions &options, const ResidualBinaryRows &result,
    CompensatedLoss &loss, ThreadPool &pool) {
  const int64_t columns = factor.columns();
  assert(options.salientColumns >= 0);
  assert(factor.options().order == GPTQOrder::Natural &&
         std::min(factor.options().blockSize, columns) ==
             std::min(factor.groupLength(), columns) &&
         "blocks are groups");
  if (auto bad = findNonFinite(weights, rows, columns))
    return bad;
  const auto factors = salienceFactors(factor, options.criterion, pool);
  loss.merge(compensateBlocks(
      weights, rows, factor,
      [&](int64_t begin, int64_t end, float *values) {
        Block(factor, factors, options, begin, end, rows, values, pool)
            .store(result);
      },
      pool, options.compensation));
  return std::nullopt;
}

void llq::numerics::dequantizeResidualBinary(
    const ResidualBinaryRows &quantized, int64_t rows, int64_t columns,
    int64_t groupSize, int64_t listedLevels, float *weights) {
  const UniformGridOptions groups{.groupSize = groupSize};
  const int64_t length = groups.groupLength(columns);
  const int64_t count = groups.groupsPerRow(columns);
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = 0; j != columns; ++j) {
      const int64_t table =
          (r * count + j / length) * 2 + (quantized.salient[j] ? 1 : 0);
      const float *levels = quantized.levels + table * listedLevels;
      const int code = quantized.codes[r * columns + j];
      weights[r * columns + j] = listedLevels == 4 ? levels[code]
                                 : code >= 2       ? levels[code - 2]
                                                   : -levels[1 - code];
    }
}
