//===- RangeSearch.h - The scale of a whole matrix --------------*- C++ -*-===//
//
// Methods with one scale per matrix look for it by what rounding costs at the
// output, on a sample of rows: after a rotation rows are much alike.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_RANGESEARCH_H
#define LLQ_LIB_NUMERICS_RANGESEARCH_H

#include <cstdint>
#include <functional>
#include <vector>

namespace llq::numerics {

/// Rows of a sample: two strips.
inline constexpr int64_t kSampleRows = 512;

/// Rows of a matrix at even distances.
struct RowSample {
  std::vector<float> weights; ///< [rows, columns]
  int64_t rows;

  RowSample(const float *matrix, int64_t matrixRows, int64_t columns);
};

/// The root mean square of finite values; 1 if all are zero.
double rootMeanSquare(const float *values, int64_t count);

/// `start` times a factor in 0.3..5 at which cost() is least, to 2.5 %: walks
/// in steps of 20 % while the cost falls, then in a half, a quarter and an
/// eighth of that. About nine evaluations; outliers that a rotation only
/// spreads take more. A cost that is no number counts as infinite.
double searchRange(double start, const std::function<double(double)> &cost);

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_RANGESEARCH_H
