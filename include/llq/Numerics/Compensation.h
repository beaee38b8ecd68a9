//===- Compensation.h - Rounding with compensation of errors ----*- C++ -*-===//
//
// The loop that GPTQ made known, without its grid: columns of W[N, K] become
// what a format can store one after another (compensateColumns), or a block at
// a time (compensateBlocks), and each time the columns still open take over the
// error, so that the layer's output on calibration inputs changes least. What a
// column becomes is up to a method.
//
// With D = W - Ŵ of the columns done and H + lambda I = V V^T (GPTQFactor), a
// block b of columns begins at W_b + (D V_:b) V_bb^-1, which is what makes the
// loss least. Within a block compensateColumns goes on column by column.
//
// All results are equal bit for bit for any number of threads and, column by
// column, for any division of the rows into calls, on one kind of processor.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_COMPENSATION_H
#define LLQ_NUMERICS_COMPENSATION_H

#include "llq/Numerics/GPTQFactor.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

/// Rows that are rounded together; arrays of a strip always have so many.
inline constexpr int64_t kStripRows = 256;

/// What rounding cost, summed over rows. Not finite if compensation overflowed,
/// which takes a nearly singular H without damping: the result is of no use.
struct CompensatedLoss {
  /// sum e_j^2, twice the loss that the authors' code prints; equal to
  /// delta (H + lambda I) delta^T.
  double squaredErrors = 0;
  /// delta H delta^T of the weights without dead columns.
  double outputError = 0;

  void merge(const CompensatedLoss &other) {
    squaredErrors += other.squaredErrors;
    outputError += other.outputError;
  }
};

/// Decides what the columns of a strip of rows become. Positions count in the
/// order of rounding: column factor.permutation()[position] of the matrix.
class StripRounder {
public:
  virtual ~StripRounder() = default;

  /// Called in front of the first column of each dynamic group, the groups of
  /// the factor's options: `values[kStripRows, size]` are the present values of
  /// all its columns. `group` is the one that they are in the matrix.
  virtual void beginGroup(int64_t group, const float *values, int64_t size) {}

  /// Sets what the column at `position`, now of the values
  /// `current[kStripRows]`, becomes. Dead columns count as 0 whatever it is.
  virtual void roundColumn(int64_t position, const float *current,
                           float *rounded) = 0;

  /// Called behind the columns [begin, end), which follow each other.
  virtual void endBlock(int64_t begin, int64_t end) {}
};

/// Makes the rounder of rows [begin, end) of the matrix, at most kStripRows;
/// called from several threads.
using MakeStripRounder =
    std::function<std::unique_ptr<StripRounder>(int64_t begin, int64_t end)>;

/// Rounds finite weights[rows, K] column by column.
CompensatedLoss compensateColumns(const float *weights, int64_t rows,
                                  const GPTQFactor &factor,
                                  const MakeStripRounder &makeRounder,
                                  ThreadPool &pool);

/// Replaces `values[rows, end - begin]`, the present values of the columns at
/// positions [begin, end), by what they become. Dead columns count as 0
/// whatever it is.
using RoundBlockFn =
    std::function<void(int64_t begin, int64_t end, float *values)>;

/// What the columns behind a block of deltas D_b = current - rounded take over.
enum class BlockCompensation : uint8_t {
  /// D_b V_bb, which makes the loss least.
  Exact,
  /// D_b diag(V_bb): what is right for a single column, and BiLLM's code does
  /// for blocks.
  Diagonal,
  None,
};

/// Rounds finite weights[rows, K] block by block, the factor's blocks, for
/// methods that decide on columns of all rows together. Takes 12 bytes for each
/// weight.
CompensatedLoss
compensateBlocks(const float *weights, int64_t rows, const GPTQFactor &factor,
                 const RoundBlockFn &round, ThreadPool &pool,
                 BlockCompensation kind = BlockCompensation::Exact);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_COMPENSATION_H
