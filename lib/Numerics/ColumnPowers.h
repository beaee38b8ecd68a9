//===- ColumnPowers.h - Sums of powers of a matrix's columns ----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_COLUMNPOWERS_H
#define LLQ_LIB_NUMERICS_COLUMNPOWERS_H

#include "llq/Numerics/GPTQFactor.h"
#include "llq/Support/ParallelFor.h"

#include <cassert>
#include <cstdint>
#include <vector>

namespace llq::numerics {

/// What the saliences (w_ij V_jj)^2 of a matrix add up to, by column of the
/// matrix.
struct ColumnPowers {
  std::vector<double> importance;     ///< V_jj^2, 0 of dead columns
  std::vector<double> second, fourth; ///< sum_i w_ij^2 and w_ij^4

  ColumnPowers(const float *weights, int64_t rows, const GPTQFactor &factor,
               ThreadPool &pool)
      : importance(factor.columns()), second(factor.columns()),
        fourth(factor.columns()) {
    const int64_t columns = factor.columns();
    assert(!factor.options().isStoredPermuted(columns));
    for (int64_t position = 0; position != columns; ++position) {
      const double pivot = factor.pivot(position);
      importance[factor.permutation()[position]] = pivot * pivot;
    }
    for (int64_t column : factor.deadColumns())
      importance[column] = 0;
    pool.parallelFor(0, columns, 512, [&](int64_t first, int64_t last) {
      for (int64_t r = 0; r != rows; ++r)
        for (int64_t j = first; j != last; ++j) {
          const double weight = weights[r * columns + j];
          second[j] += weight * weight;
          fourth[j] += (weight * weight) * (weight * weight);
        }
    });
  }
};

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_COLUMNPOWERS_H
