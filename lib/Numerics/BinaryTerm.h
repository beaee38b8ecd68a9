//===- BinaryTerm.h - Sums of binary terms ----------------------*- C++ -*-===//
//
// The best one bit can do for a set of weights is mean + deviation * sgn(w -
// mean), where deviation, the mean of |w - mean|, has the least squared error
// for these signs. sgn(0) = 1, as a bit has no third value.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_BINARYTERM_H
#define LLQ_LIB_NUMERICS_BINARYTERM_H

#include "GroupRange.h"

#include <cmath>
#include <span>

namespace llq::numerics {

/// value(0), ..., value(count - 1) summed in lanes, in double precision.
template <typename Value>
inline __attribute__((always_inline)) double sumInLanes(int64_t count,
                                                        Value value) {
  double sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t lane = 0; lane != kLanes; ++lane)
      sums[lane] += static_cast<double>(value(i + lane));
  for (int64_t lane = 0; i != count; ++i, ++lane)
    sums[lane] += static_cast<double>(value(i));
  double sum = 0;
  for (double lane : sums)
    sum += lane;
  return sum;
}

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_BINARYTERM_H
