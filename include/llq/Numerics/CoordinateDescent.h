//===- CoordinateDescent.h - Rounding again with all else fixed -*- C++ -*-===//
//
// What remains to be gained once every column of W[N, K] has been rounded: each
// tuple of columns in turn moves to where the output changes least given what
// all others have become (the greedy passes of QuIP, the refinement sweeps of
// QuIP#). Unlike the compensated loop it sees both sides of a column.
//
// Results are equal bit for bit for any number of threads, those of a row
// whatever stands beside it, on one kind of processor.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_COORDINATEDESCENT_H
#define LLQ_NUMERICS_COORDINATEDESCENT_H

#include <cstdint>
#include <functional>
#include <span>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

/// Replaces values[count, width], tuples of `count` rows, by what a format can
/// store, and sets their codes[count], in whatever form. A function of each
/// tuple alone; called from several threads.
using RoundTuplesFn =
    std::function<void(float *values, int64_t count, uint32_t *codes)>;

/// Improves `rounded[rows, K]`, what weights[rows, K] have become, and
/// codes[rows, K / width], which may be null, in `passes` passes over the
/// tuples of `width` columns, a divisor of K, from the last to the first. With
/// D = W - Ŵ a tuple t moves to round(Ŵ_t + (D H)_t H_tt^-1) if that makes D H
/// D^T smaller, so no pass makes a row worse. `secondMoment` [K, K] is
/// symmetric, both triangles are read; K^2 products a row and pass.
void descendByTuples(const float *weights, int64_t rows, int64_t columns,
                     std::span<const float> secondMoment, int64_t width,
                     int passes, const RoundTuplesFn &round, float *rounded,
                     uint32_t *codes, ThreadPool &pool);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_COORDINATEDESCENT_H
