//===- RandomTest.cpp - Tests of the random numbers ----------------------===//
//
// Known answers of Philox4x32-10 from its authors' distribution, and the
// promise that numbers depend on seed, stream and index only.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Random.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <vector>

using namespace llq::numerics;

namespace {
using Words = std::array<uint32_t, 4>;

TEST(Random, PhiloxKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                   {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, WordsAreThoseOfTheCounters) {
  const uint64_t seed = 0x0123456789abcdef, stream = 0xfedcba9876543210;
  // Across a carry into the counter's second word.
  const uint64_t first = (uint64_t(1) << 34) - 6;
  uint32_t words[12];
  Random(seed, stream).fillWords(first, words);
  for (uint64_t i = 0; i != 12; ++i) {
    uint64_t counter = (first + i) / 4;
    Words expected = philox({uint32_t(counter), uint32_t(counter >> 32),
                             uint32_t(stream), uint32_t(stream >> 32)},
                            {uint32_t(seed), uint32_t(seed >> 32)});
    EXPECT_EQ(words[i], expected[(first + i) % 4]);
  }
}

TEST(Random, PartsEqualTheWhole) {
  Random random(7, 3);
  std::vector<float> uniform(1000), normal(1000), part(1000);
  random.fillUniform(11, uniform);
  random.fillNormal(11, normal, 0.5f);
  for (size_t first : {0, 1, 2, 3, 255, 256, 600})
    for (size_t size : {1, 5, 300}) {
      std::span<float> out = std::span(part).first(size);
      random.fillUniform(11 + first, out);
      EXPECT_TRUE(std::equal(out.begin(), out.end(), uniform.begin() + first));
      random.fillNormal(11 + first, out, 0.5f);
      EXPECT_TRUE(std::equal(out.begin(), out.end(), normal.begin() + first));
    }
}

TEST(Random, UniformMoments) {
  std::vector<float> values(1 << 18);
  Random(5).fillUniform(0, values);
  double sum = 0, squares = 0;
  for (double value : values) {
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    sum += value;
    squares += value * value;
  }
  // Four standard errors of 2^18 numbers.
  EXPECT_NEAR(sum / values.size(), 0.5, 0.0023);
  EXPECT_NEAR(squares / values.size(), 1.0 / 3, 0.0024);
}

TEST(Random, NormalEqualsItsFormula) {
  const size_t size = 1 << 16;
  std::vector<uint32_t> words(size);
  std::vector<float> values(size);
  Random random(9);
  random.fillWords(0, words);
  random.fillNormal(0, values);
  double power2 = 0, power4 = 0;
  for (size_t i = 0; i != size; i += 2) {
    double u = ((words[i] >> 8) + 1) * 0x1p-24;
    double angle = 2 * std::acos(-1.0) * (words[i + 1] >> 8) * 0x1p-24;
    double radius = std::sqrt(-2 * std::log(u));
    // A few last places of the largest deviate, 5.8.
    ASSERT_NEAR(values[i], radius * std::cos(angle), 1e-6);
    ASSERT_NEAR(values[i + 1], radius * std::sin(angle), 1e-6);
  }
  for (double value : values) {
    power2 += value * value;
    power4 += value * value * value * value;
  }
  EXPECT_NEAR(power2 / size, 1, 0.023);
  EXPECT_NEAR(power4 / size, 3, 0.16);
}

TEST(Random, SeedsAndStreamsDiffer) {
  uint32_t a[4], b[4], c[4];
  Random(1, 0).fillWords(0, a);
  Random(2, 0).fillWords(0, b);
  Random(1, 1).fillWords(0, c);
  EXPECT_FALSE(std::equal(a, a + 4, b));
  EXPECT_FALSE(std::equal(a, a + 4, c));
}
} // namespace
