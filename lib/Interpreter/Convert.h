//===- Convert.h - Conversions between element types -----------*- C++ -*-===//
//
// One definition of every conversion: Cast, the widening of half-precision
// operands, the rounding of results and the reading of index tensors use it.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_INTERPRETER_CONVERT_H
#define LLQ_LIB_INTERPRETER_CONVERT_H

#include "llq/Interpreter/Tensor.h"

#include <cmath>
#include <limits>
#include <type_traits>

namespace llq::interp {

/// Converts `source` to `type`: floats round to nearest even and overflow to
/// infinity, floats to integers truncate and saturate (NaN gives 0), integers
/// keep their low bits, as floats do on the way to a type below a byte,
/// anything to bool is "not zero". Returns the same bytes
/// if the type does not change.
Result<Tensor> convert(const Tensor &source, ElementType type);

/// Elements [begin, begin + count) of any tensor as doubles.
void readDoubles(const Tensor &source, int64_t begin, int64_t count,
                 double *out);

/// Elements [begin, begin + count) of an integer or bool tensor; ui64 values
/// wrap around.
void readInts(const Tensor &source, int64_t begin, int64_t count, int64_t *out);

/// Sets an element of an f32 or f64 tensor, rounding once.
inline void writeDouble(MutableTensor &out, int64_t index, double value) {
  if (out.type() == ElementType::Float64)
    out.data<double>()[index] = value;
  else
    out.data<float>()[index] = float(value);
}

/// Converts one double to an integer by truncation, saturating; NaN gives 0.
template <typename Int> Int saturatingCast(double value) {
  using Limits = std::numeric_limits<Int>;
  if (std::isnan(value))
    return 0;
  if (value >= double(Limits::max()))
    return Limits::max();
  if (value <= double(Limits::min()))
    return Limits::min();
  return Int(value);
}

/// A computed double as a number type: saturating if that is an integer.
template <typename T> T fromDouble(double value) {
  if constexpr (std::is_integral_v<T>)
    return saturatingCast<T>(value);
  else
    return T(value);
}

} // namespace llq::interp

#endif // LLQ_LIB_INTERPRETER_CONVERT_H
