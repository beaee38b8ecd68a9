//===- Power.h - The power that range searches weigh errors by --*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_POWER_H
#define LLQ_LIB_NUMERICS_POWER_H

#include <bit>
#include <cstdint>

namespace llq::numerics {

/// |d|^2.4 for |d| < 2^20, relative error below 3e-7; 0 below about 2^-60.
/// Taken as d^2 * (d^2)^(1/5), the fifth root by a guess from the exponent bits
/// and two polynomial corrections, all in vectorisable f32 arithmetic.
inline __attribute__((always_inline)) float power24(float d) {
  float t = d * d;
  // y = t^(-1/5) within 3.6 %: the bits of a float are nearly linear in its
  // logarithm, so the power is a multiplication of the bits.
  constexpr float bias = 1.2f * 0x3f800000 - 5.5e5f;
  float y = std::bit_cast<float>(static_cast<int32_t>(
      bias - 0.2f * static_cast<float>(std::bit_cast<int32_t>(t))));
  // With e = 1 - t y^5, t^(-1/5) = y (1 - e)^(-1/5), expanded to e^2.
  float y2 = y * y;
  float e = 1.0f - t * y * (y2 * y2);
  y += y * (e * (0.2f + e * 0.12f));
  // The second time straight to t^(1/5) = t y^4 (1 - e)^(-4/5).
  y2 = y * y;
  float root = t * (y2 * y2);
  e = 1.0f - root * y;
  root += root * (e * (0.8f + e * 0.72f));
  return t * root;
}

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_POWER_H
