//===- Float16.h - f16 and bf16 conversions ---------------------*- C++ -*-===//
//
// Conversions between f32 and the two 16-bit floating point types in integer
// arithmetic: the same bits on every machine, with or without F16C, and simple
// enough for a compiler to vectorise. 16-bit values travel as their bits.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_FLOAT16_H
#define LLQ_NUMERICS_FLOAT16_H

#include <bit>
#include <cstdint>
#include <span>

namespace llq::numerics {

/// Smallest positive f16, 2^-24, and largest finite f16, as bits.
inline constexpr uint16_t kSmallestF16 = 0x0001;
inline constexpr uint16_t kLargestF16 = 0x7bff;

/// Rounds `value` to the nearest f16, ties to even. Values of magnitude 65520
/// and above become infinity. A NaN keeps its sign and the upper ten bits of
/// its payload (at least one of them set), as NumPy does.
constexpr uint16_t encodeF16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t sign = (bits >> 16) & 0x8000u;
  uint32_t magnitude = bits & 0x7fffffffu;

  // Normal result: rebias the exponent and add just under half a unit of the
  // last kept place; the carry may run into the exponent, which is right.
  uint32_t odd = (magnitude >> 13) & 1;
  uint32_t normal = (magnitude - (112u << 23) + 0xfffu + odd) >> 13;

  // Subnormal result: 0.5f has its last place at 2^-24, the unit of f16
  // subnormals, so the addition rounds to it.
  uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
      std::bit_cast<uint32_t>(0.5f);

  uint32_t payload = (magnitude >> 13) & 0x3ffu;
  uint32_t nan = 0x7c00u | (payload == 0 ? 1u : payload);

  uint32_t result = magnitude < (113u << 23) ? subnormal : normal;
  result = magnitude >= (143u << 23) ? 0x7c00u : result; // 2^16 and above
  result = magnitude > 0x7f800000u ? nan : result;
  return static_cast<uint16_t>(sign | result);
}

/// The f32 that equals the f16 with these bits; NaN payloads are kept.
constexpr float decodeF16(uint16_t bits) {
  uint32_t sign = (bits & 0x8000u) << 16;
  uint32_t magnitude = (bits & 0x7fffu) << 13;
  uint32_t exponent = magnitude & (0x1fu << 23);

  uint32_t normal = magnitude + (112u << 23);
  // Infinities and NaNs need the largest f32 exponent.
  uint32_t special = magnitude + (224u << 23);
  // Mantissa m as 2^-14 * (1 + m / 1024), less the 2^-14.
  uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude + (113u << 23)) -
                              std::bit_cast<float>(113u << 23));

  uint32_t result = exponent == 0 ? subnormal : normal;
  result = exponent == (0x1fu << 23) ? special : result;
  return std::bit_cast<float>(sign | result);
}

/// Rounds `value` to the nearest bf16, ties to even. Every NaN becomes the
/// quiet NaN of its sign without payload, as ml_dtypes does.
constexpr uint16_t encodeBF16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1)) >> 16;
  uint32_t nan = 0x7fc0u | ((bits >> 16) & 0x8000u);
  bool isNaN = (bits & 0x7fffffffu) > 0x7f800000u;
  return static_cast<uint16_t>(isNaN ? nan : rounded);
}

/// The f32 that equals the bf16 with these bits.
constexpr float decodeBF16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

/// Array forms of the functions above. `to` has at least as many elements as
/// `from`, and the two do not overlap.
void encodeF16(std::span<const float> from, std::span<uint16_t> to);
void decodeF16(std::span<const uint16_t> from, std::span<float> to);
void encodeBF16(std::span<const float> from, std::span<uint16_t> to);
void decodeBF16(std::span<const uint16_t> from, std::span<float> to);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_FLOAT16_H
