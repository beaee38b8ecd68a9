//===- GroupWidths.h - Which groups of columns get which width --*- C++ -*-===//
//
// The allocation of SliM-LLM (arXiv 2405.14917): groups of columns whose
// salience is large get N + 1 bits in all rows, as many whose salience is small
// N - 1, the others N, so that the mean is N. How many, p, is what makes the
// cost at the layer's output on calibration inputs least, with weights rounded
// to nearest.
//
// The salience of a weight is (w_ij V_jj)^2 (V_jj = 1 / U_jj of the authors'
// code): what the output loses if it becomes 0 and the columns behind make up
// for it. That of a group is the sum over its columns and all rows.
//
// A last group that is shorter stays at N bits, or the mean would not be N.
//
// Costs of all p take about three products of inputs and weights: one more p
// changes two groups.
//
// Departures from the authors' code: p = 0 is tried too; equal saliences stay
// in the order of the groups; nothing is added to H before saliences are taken.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_GROUPWIDTHS_H
#define LLQ_NUMERICS_GROUPWIDTHS_H

#include "llq/Numerics/AffineGrid.h"
#include "llq/Numerics/GPTQFactor.h"

#include <cstdint>
#include <span>
#include <vector>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

/// How the outputs of rounded weights are compared with the right ones.
enum class OutputCost : uint8_t {
  /// softmaxDivergence of a token's outputs.
  Divergence,
  /// The square of their difference.
  SquaredError,
};

/// Free choices of the allocation.
struct GroupWidthOptions {
  unsigned bits = 2; ///< N, 2 to 7
  /// As in UniformGridOptions; 0: one group per row.
  int64_t groupSize = 128;
  /// Weights are rounded to plain grids of these options.
  AffineGridOptions grid;
  OutputCost cost = OutputCost::Divergence;
};

/// Salience of each group of weights[rows, K], the groups of the factor's group
/// size in the order of the matrix. Dead columns have none. The factor's
/// columns are in any order but a stored permutation.
std::vector<double> groupSalience(const float *weights, int64_t rows,
                                  const GPTQFactor &factor, ThreadPool &pool);

/// Width of each group: N, but N - 1 for the `moved` least and N + 1 for the
/// `moved` most salient ones of the first `wholeGroups`. 2 moved <=
/// wholeGroups.
std::vector<uint8_t> allocateWidths(std::span<const double> salience,
                                    int64_t wholeGroups, int64_t moved,
                                    unsigned bits);

/// KL(q || p) of the softmax of two rows of outputs, q's and the reference's,
/// both clamped to at least 1e-6, because of which it can be slightly negative.
double softmaxDivergence(std::span<const float> outputs,
                         std::span<const float> reference);

/// Widths and how they were found.
struct GroupWidths {
  std::vector<uint8_t> widths; ///< [G]
  int64_t moved;               ///< p
  /// Mean cost of a token for p = 0, 1, ..., floor(whole groups / 2) - 1.
  std::vector<double> costs;
};

/// The widths of the least cost for finite weights[rows, columns] and
/// inputs[T, columns]. T = 0: no group moves.
GroupWidths chooseGroupWidths(const float *weights, int64_t rows,
                              int64_t columns, std::span<const float> inputs,
                              std::span<const double> salience,
                              const GroupWidthOptions &options,
                              ThreadPool &pool);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_GROUPWIDTHS_H
