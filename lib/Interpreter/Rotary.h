//===- Rotary.h - Rotary position embedding of one head --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_INTERPRETER_ROTARY_H
#define LLQ_LIB_INTERPRETER_ROTARY_H

#include <cstdint>

namespace llq::interp {

/// Rotates the first 2 * `half` elements of a head vector in place, by pairs
/// (i, half + i), or (2i, 2i + 1) if interleaved; the rest stays.
template <typename T>
void rotateHead(T *head, const double *cosines, const double *sines,
                int64_t half, bool interleaved) {
  for (int64_t i = 0; i < half; ++i) {
    T &first = head[interleaved ? 2 * i : i];
    T &second = head[interleaved ? 2 * i + 1 : half + i];
    double real = cosines[i] * double(first) - sines[i] * double(second);
    double imaginary = sines[i] * double(first) + cosines[i] * double(second);
    first = T(real);
    second = T(imaginary);
  }
}

} // namespace llq::interp

#endif // LLQ_LIB_INTERPRETER_ROTARY_H
