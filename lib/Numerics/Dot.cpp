//===- Dot.cpp - Sums of products in double precision ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Dot.h"
#include "VectorClones.h"

using namespace llq::numerics;

template <typename T>
static inline __attribute__((always_inline)) double
dotInLanes(const T *a, const T *b, int64_t count) {
  constexpr int64_t lanes = 8;
  double sums[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int64_t lane = 0; lane != lanes; ++lane)
      sums[lane] +=
          static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
  for (; i != count; ++i)
    sums[0] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  for (int64_t width = lanes / 2; width != 0; width /= 2)
    for (int64_t lane = 0; lane != width; ++lane)
      sums[lane] += sums[lane + width];
  return sums[0];
}

// The vectorised bodies. A clone cannot be an overload that headers declare.
LLQ_VECTOR_CLONES static double dotF32(const float *a, const float *b,
                                       int64_t count) {
  return dotInLanes(a, b, count);
}

LLQ_VECTOR_CLONES static double dotF64(const double *a, const double *b,
                                       int64_t count) {
  return dotInLanes(a, b, count);
}

double llq::numerics::dot(const float *a, const float *b, int64_t count) {
  return dotF32(a, b, count);
}

double llq::numerics::dot(const double *a, const double *b, int64_t count) {
  return dotF64(a, b, count);
}
