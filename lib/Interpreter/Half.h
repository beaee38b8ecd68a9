//===- Half.h - IEEE half and bfloat16 values ------------------*- C++ -*-===//
//
// Storage types for f16 and bf16. Narrowing rounds to nearest, ties to even,
// straight from double where the source is one, so that no value is rounded
// twice.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_INTERPRETER_HALF_H
#define LLQ_LIB_INTERPRETER_HALF_H

#include "llq/Numerics/Float16.h"

#include <bit>
#include <cmath>
#include <cstdint>

namespace llq::interp {

/// Rounds to a 16-bit format with `mantissaBits` stored mantissa bits and
/// smallest normal exponent `minExponent`.
template <int mantissaBits, int minExponent>
uint16_t roundTo16Bits(double value) {
  constexpr uint16_t infinity =
      uint16_t(((uint32_t(1) << (15 - mantissaBits)) - 1) << mantissaBits);
  uint64_t bits = std::bit_cast<uint64_t>(value);
  uint16_t sign = uint16_t(bits >> 48) & 0x8000;
  if (std::isnan(value))
    return sign | infinity | uint16_t(1u << (mantissaBits - 1));
  int exponent = int((bits >> 52) & 0x7ff) - 1023;
  if (exponent == 1024)
    return sign | infinity;
  uint64_t significand =
      (bits & ((uint64_t(1) << 52) - 1)) | (uint64_t(1) << 52);
  int drop = 52 - mantissaBits;
  int base = 0;
  if (exponent < minExponent)
    drop += minExponent - exponent; // subnormal result
  else
    base = exponent - minExponent;
  if (drop > 54)
    return sign;
  uint64_t quotient = significand >> drop;
  uint64_t rest = significand & ((uint64_t(1) << drop) - 1);
  uint64_t half = uint64_t(1) << (drop - 1);
  if (rest > half || (rest == half && (quotient & 1)))
    ++quotient;
  // The leading one of the quotient (or its carry) adds into the exponent.
  uint64_t encoded = (uint64_t(base) << mantissaBits) + quotient;
  return sign | (encoded >= infinity ? infinity : uint16_t(encoded));
}

struct Half {
  uint16_t bits;

  explicit operator float() const { return numerics::decodeF16(bits); }
  explicit operator double() const { return double(float(*this)); }
  static Half from(float value) { return {numerics::encodeF16(value)}; }
  static Half from(double value) { return {roundTo16Bits<10, -14>(value)}; }
};

struct BFloat16 {
  uint16_t bits;

  explicit operator float() const { return numerics::decodeBF16(bits); }
  explicit operator double() const { return double(float(*this)); }
  static BFloat16 from(float value) { return {numerics::encodeBF16(value)}; }
  static BFloat16 from(double value) { return {roundTo16Bits<7, -126>(value)}; }
};

} // namespace llq::interp

#endif // LLQ_LIB_INTERPRETER_HALF_H
