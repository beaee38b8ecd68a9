//===- Statistics.h - How far an approximation is off -----------*- C++ -*-===//
//
// Error figures of quantized tensors for reports: sums that can be taken row
// block by row block and merged in order, so that a report does not depend on
// the number of threads.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_STATISTICS_H
#define LLQ_NUMERICS_STATISTICS_H

#include <cstdint>
#include <span>

namespace llq::numerics {

/// Sums over pairs (reference r, approximation a), in double precision.
struct ErrorStatistics {
  uint64_t count = 0;
  double squaredError = 0;     ///< sum of (a - r)^2
  double squaredReference = 0; ///< sum of r^2
  double maxAbsError = 0;      ///< max |a - r|; NaN once any error is NaN

  /// Adds the pairs of two spans of equal length.
  void add(std::span<const float> reference,
           std::span<const float> approximation);

  /// Adds the sums of another part. Merging parts in a fixed order gives equal
  /// bits whoever computed them.
  void merge(const ErrorStatistics &other);

  /// Mean squared error; 0 of no pairs.
  double meanSquaredError() const;

  /// ||a - r|| / ||r||. 0 if both norms are 0, infinity if only ||r|| is.
  double relativeError() const;

  /// Signal to quantization noise ratio 10 log10(||r||^2 / ||a - r||^2), in
  /// decibels; infinity where there is no error.
  double sqnrDecibel() const;
};

} // namespace llq::numerics

#endif // LLQ_NUMERICS_STATISTICS_H
