//===- ImportanceGrid.cpp - Grids that mind what weights are for ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/ImportanceGrid.h"
#include "GroupRange.h"
#include "VectorClones.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <iterator>
#include <numeric>
#include <vector>

using namespace llq::numerics;

/// Candidate ranges: shares 1.10, 1.05, ..., 0.50 of the plain one, and from
/// each as many rounds of least squares.
static constexpr int kFirstShare = 22, kLastShare = 10;
static constexpr int kRounds = 3;

void llq::numerics::importanceWeights(std::span<const float> group,
                                      std::span<const float> importance,
                                      std::span<float> omega) {
  assert(importance.empty() || importance.size() == group.size());
  double square = 0;
  for (float weight : group)
    square += double(weight) * double(weight);
  square /= static_cast<double>(std::max<size_t>(group.size(), 1));
  const bool plain = std::all_of(importance.begin(), importance.end(),
                                 [](float value) { return value == 0; });
  for (size_t c = 0, e = group.size(); c != e; ++c)
    omega[c] = static_cast<float>(
        (plain ? 1.0 : double(importance[c])) *
        std::sqrt(square + double(group[c]) * double(group[c])));
}

namespace {
/// Weights are clamped to [low, high] steps of a grid.
struct StepRange {
  float low, high;
};

/// Weighted sums over a group of weights w that are q steps of a grid.
struct FitSums {
  double o, oq, oqq, ow, owq;
};
} // namespace

/// Those of `grid`.
static StepRange stepRange(GroupGrid grid, const UniformGridOptions &options) {
  return {static_cast<float>(options.minCode() - grid.zero),
          static_cast<float>(options.maxCode() - grid.zero)};
}

/// `weight` in steps of `scale`, an integer: its code less the zero.
static inline float stepsOf(float weight, float scale, StepRange range) {
  float steps = weight / scale;
  steps = steps > range.low ? steps : range.low;
  steps = steps < range.high ? steps : range.high;
  return roundToInteger(steps);
}

/// The sum of all lanes, in order.
static double total(const double (&lanes)[kLanes]) {
  return std::accumulate(std::begin(lanes), std::end(lanes), 0.0);
}

LLQ_VECTOR_CLONES static double sumErrors(const float *__restrict group,
                                          const float *__restrict omega,
                                          int64_t count, float scale,
                                          StepRange range) {
  double sums[kLanes] = {};
  inLanes(count, [&](int64_t lane, int64_t i) {
    const float error = scale * stepsOf(group[i], scale, range) - group[i];
    sums[lane] += static_cast<double>(omega[i] * (error * error));
  });
  return total(sums);
}

double llq::numerics::weightedError(std::span<const float> group,
                                    std::span<const float> omega,
                                    GroupGrid grid,
                                    const UniformGridOptions &options) {
  return sumErrors(group.data(), omega.data(),
                   static_cast<int64_t>(group.size()), grid.scale,
                   stepRange(grid, options));
}

LLQ_VECTOR_CLONES static FitSums sumFit(const float *__restrict group,
                                        const float *__restrict omega,
                                        int64_t count, float scale,
                                        StepRange range) {
  double o[kLanes] = {}, oq[kLanes] = {}, oqq[kLanes] = {}, ow[kLanes] = {},
         owq[kLanes] = {};
  inLanes(count, [&](int64_t lane, int64_t i) {
    const double weight = omega[i], w = group[i];
    const double q = stepsOf(group[i], scale, range);
    o[lane] += weight;
    oq[lane] += weight * q;
    oqq[lane] += weight * (q * q);
    ow[lane] += weight * w;
    owq[lane] += weight * (q * w);
  });
  return {total(o), total(oq), total(oqq), total(ow), total(owq)};
}

namespace {
/// The search for one group's grid.
class WeightedSearch {
public:
  WeightedSearch(std::span<const float> group, std::span<const float> omega,
                 const UniformGridOptions &options, GroupGrid start)
      : group(group), omega(omega), options(options), best(start),
        least(weightedError(group, omega, start, options)) {}

  /// Keeps `grid` if it is better than all before. Returns whether it is.
  bool consider(GroupGrid grid) {
    const double error = weightedError(group, omega, grid, options);
    if (!(error < least))
      return false;
    least = error;
    best = grid;
    return true;
  }

  /// The grid that fits the codes of `grid` best, with its zero point or any;
  /// `grid` if there is none, as where all codes are equal.
  GroupGrid refit(GroupGrid grid, bool moveZero) const {
    const FitSums f =
        sumFit(group.data(), omega.data(), static_cast<int64_t>(group.size()),
               grid.scale, stepRange(grid, options));
    double scale = f.owq / f.oqq;
    int32_t zero = grid.zero;
    if (moveZero) {
      // w ~ scale * q + offset, and the offset moves the zero point by
      // -offset / scale.
      const double fitted =
          (f.o * f.owq - f.oq * f.ow) / (f.o * f.oqq - f.oq * f.oq);
      const double moved =
          double(grid.zero) - (f.ow - fitted * f.oq) / f.o / fitted;
      if (fitted > 0 && std::isfinite(moved)) {
        scale = fitted;
        zero = static_cast<int32_t>(std::nearbyint(std::clamp(
            moved, double(options.minCode()), double(options.maxCode()))));
      }
    }
    if (!(scale > 0) || !std::isfinite(scale))
      return grid;
    return {roundScale(static_cast<float>(scale), options.scaleType), zero};
  }

  /// Least squares and rounding in turn, from `grid`.
  void descend(GroupGrid grid) {
    consider(grid);
    for (int round = 0; round != kRounds; ++round)
      consider(grid = refit(grid, options.storesZeros()));
  }

  /// Tries the zero points next to the best one until none is better. At few
  /// levels much depends on which way it is rounded.
  void polish() {
    for (bool better = options.storesZeros(); better;) {
      better = false;
      const GroupGrid start = best;
      for (int32_t zero : {start.zero - 1, start.zero, start.zero + 1})
        if (zero >= options.minCode() && zero <= options.maxCode()) {
          const GroupGrid moved{start.scale, zero};
          better |= consider(moved);
          better |= consider(refit(moved, false));
        }
    }
  }

  GroupGrid result() const { return best; }

private:
  std::span<const float> group, omega;
  const UniformGridOptions &options;
  GroupGrid best;
  double least;
};
} // namespace

GroupGrid llq::numerics::chooseWeightedGrid(std::span<const float> group,
                                            std::span<const float> omega,
                                            const UniformGridOptions &options) {
  assert(options.isValid() && omega.size() == group.size());
  std::optional<GroupRange> range = groupRange(group, options.scheme);
  assert(range && "weights must be finite");
  WeightedSearch search(group, omega, options, gridOfRange(*range, options));
  for (int share = kFirstShare; share >= kLastShare; --share) {
    const float factor = static_cast<float>(share) / 20.0f;
    search.descend(
        gridOfRange({factor * range->lo, factor * range->hi}, options));
  }
  search.polish();
  return search.result();
}

std::optional<NonFiniteWeight> llq::numerics::quantizeRowsByImportance(
    const float *weights, int64_t rows, int64_t columns,
    std::span<const float> importance, const UniformGridOptions &options,
    const UniformRows &result) {
  assert(options.isValid() && rows >= 0 && columns >= 0);
  assert(importance.empty() ||
         static_cast<int64_t>(importance.size()) == columns);
  std::vector<float> omega(options.groupLength(columns));
  return quantizeGroups(
      weights, rows, columns, options, [&](const RowGroup &group) {
        if (!allFinite(group.weights))
          return false;
        const size_t size = group.weights.size();
        std::span<float> groupOmega(omega.data(), size);
        importanceWeights(group.weights,
                          importance.empty()
                              ? importance
                              : importance.subspan(group.column, size),
                          groupOmega);
        GroupGrid grid = chooseWeightedGrid(group.weights, groupOmega, options);
        quantizeGroup(group.weights, grid, options,
                      {result.codes + group.at, size});
        result.scales[group.index] = grid.scale;
        if (options.storesZeros())
          result.zeros[group.index] = static_cast<uint8_t>(grid.zero);
        return true;
      });
}
