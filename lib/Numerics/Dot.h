//===- Dot.h - Sums of products in double precision -------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_DOT_H
#define LLQ_LIB_NUMERICS_DOT_H

#include <cstdint>

namespace llq::numerics {

/// sum_i a[i] * b[i], in f64 and in eight lanes: the order of the additions
/// depends on `count` alone.
double dot(const float *a, const float *b, int64_t count);
double dot(const double *a, const double *b, int64_t count);

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_DOT_H
