//===- Float16Test.cpp - Tests of the 16-bit float conversions -----------===//
//
// Every f16 and bf16 there and back, and rounding of f32 against an oracle that
// knows nothing of bit patterns: the nearest of the two neighbours.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Float16.h"
#include "llq/Numerics/Random.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <vector>

using namespace llq::numerics;

namespace {
float fromBits(uint32_t bits) { return std::bit_cast<float>(bits); }

/// The value of f16 bits by the definition of the format.
double valueOfF16(uint16_t bits) {
  int exponent = (bits >> 10) & 0x1f, mantissa = bits & 0x3ff;
  double magnitude = exponent == 0 ? std::ldexp(mantissa, -24)
                                   : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

/// The f16 nearest to finite `value`, ties to even, by bisection over the
/// values, which are ordered like their bits. 65536 stands for infinity.
uint16_t nearestF16(float value) {
  double magnitude = std::fabs(double(value));
  uint16_t low = 0, high = 0x7c00; // valueOfF16(0x7c00) is 65536
  while (high - low > 1) {
    uint16_t middle = (low + high) / 2;
    (valueOfF16(middle) <= magnitude ? low : high) = middle;
  }
  double below = magnitude - valueOfF16(low);
  double above = valueOfF16(high) - magnitude;
  bool up = above < below || (above == below && low % 2 == 1);
  return (up ? high : low) | (std::signbit(value) ? 0x8000 : 0);
}

TEST(Float16, EveryF16ThereAndBack) {
  for (uint32_t bits = 0; bits != 0x10000; ++bits) {
    float value = decodeF16(bits);
    if ((bits & 0x7fff) < 0x7c00)
      ASSERT_EQ(double(value), valueOfF16(bits)) << bits;
    ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0) << bits;
    ASSERT_EQ(std::isnan(value), (bits & 0x7fff) > 0x7c00) << bits;
    ASSERT_EQ(encodeF16(value), bits);
  }
}

TEST(Float16, RoundsToTheNearest) {
  std::vector<uint32_t> words(200000);
  Random(1).fillWords(0, words);
  for (uint32_t word : words) {
    // Exponents from below the smallest subnormal to above the largest f16.
    uint32_t exponent = 100 + (word >> 23) % 45;
    float value = fromBits((word & 0x807fffff) | (exponent << 23));
    ASSERT_EQ(encodeF16(value), nearestF16(value)) << value;
  }
}

TEST(Float16, RoundsTiesToEven) {
  // Halfway between every two neighbours, and one f32 to either side.
  for (uint32_t bits = 0; bits != 0x7c00; ++bits) {
    float tie =
        static_cast<float>((valueOfF16(bits) + valueOfF16(bits + 1)) / 2);
    ASSERT_EQ(encodeF16(tie), bits + bits % 2);
    ASSERT_EQ(encodeF16(std::nextafter(tie, 0.0f)), bits);
    ASSERT_EQ(encodeF16(std::nextafter(tie, 1e6f)), bits + 1);
    ASSERT_EQ(encodeF16(-tie), 0x8000 + bits + bits % 2);
  }
}

TEST(Float16, ExtremeValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(encodeF16(0.0f), 0);
  EXPECT_EQ(encodeF16(-0.0f), 0x8000);
  EXPECT_EQ(encodeF16(fromBits(1)), 0);
  EXPECT_EQ(encodeF16(65504.0f), kLargestF16);
  EXPECT_EQ(encodeF16(65519.996f), kLargestF16);
  EXPECT_EQ(encodeF16(65520.0f), 0x7c00);
  EXPECT_EQ(encodeF16(-1e30f), 0xfc00);
  EXPECT_EQ(encodeF16(infinity), 0x7c00);
  EXPECT_EQ(encodeF16(-infinity), 0xfc00);
  EXPECT_EQ(encodeF16(fromBits(0x7fc00000)), 0x7e00);
  // A payload below the kept bits must not turn a NaN into an infinity.
  EXPECT_EQ(encodeF16(fromBits(0xff800001)), 0xfc01);
}

TEST(BFloat16, EveryBF16ThereAndBack) {
  for (uint32_t bits = 0; bits != 0x10000; ++bits) {
    float value = decodeBF16(bits);
    ASSERT_EQ(std::bit_cast<uint32_t>(value), bits << 16);
    if (std::isnan(value))
      ASSERT_EQ(encodeBF16(value), 0x7fc0 | (bits & 0x8000));
    else
      ASSERT_EQ(encodeBF16(value), bits);
  }
}

TEST(BFloat16, RoundsToTheNearestEven) {
  EXPECT_EQ(encodeBF16(fromBits(0x3f807fff)), 0x3f80);
  EXPECT_EQ(encodeBF16(fromBits(0x3f808000)), 0x3f80);
  EXPECT_EQ(encodeBF16(fromBits(0x3f808001)), 0x3f81);
  EXPECT_EQ(encodeBF16(fromBits(0x3f818000)), 0x3f82);
  EXPECT_EQ(encodeBF16(fromBits(0x7f7fffff)), 0x7f80); // rounds to infinity
  EXPECT_EQ(encodeBF16(fromBits(0x00008001)), 0x0001);
  EXPECT_EQ(encodeBF16(fromBits(0x7f800001)), 0x7fc0);
}

TEST(Float16, ArraysEqualScalars) {
  std::vector<uint32_t> words(1003);
  Random(2).fillWords(0, words);
  std::vector<float> values;
  for (uint32_t word : words)
    values.push_back(fromBits(word));
  std::vector<uint16_t> f16(values.size()), bf16(values.size());
  encodeF16(values, f16);
  encodeBF16(values, bf16);
  std::vector<float> fromF16(values.size()), fromBF16(values.size());
  decodeF16(f16, fromF16);
  decodeBF16(bf16, fromBF16);
  for (size_t i = 0; i != values.size(); ++i) {
    ASSERT_EQ(f16[i], encodeF16(values[i]));
    ASSERT_EQ(bf16[i], encodeBF16(values[i]));
    ASSERT_EQ(std::bit_cast<uint32_t>(fromF16[i]),
              std::bit_cast<uint32_t>(decodeF16(f16[i])));
    ASSERT_EQ(std::bit_cast<uint32_t>(fromBF16[i]),
              std::bit_cast<uint32_t>(decodeBF16(bf16[i])));
  }
}
} // namespace
