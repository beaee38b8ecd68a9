//===- E8PTest.cpp - Tests of the E8P codebook ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/E8P.h"
#include "Calibration.h"
#include "Hash.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>
#include <set>

using namespace llq;
using namespace llq::numerics;

namespace {
using Values = std::array<float, 8>;

Values e8p(uint16_t code) {
  Values values;
  decodeE8P(code, values.data());
  return values;
}

Values e8(uint8_t code) {
  Values values;
  decodeE8(code, values.data());
  return values;
}

double distance(const float *x, const Values &c) {
  double sum = 0;
  for (int i = 0; i != 8; ++i)
    sum += (double(x[i]) - c[i]) * (double(x[i]) - c[i]);
  return sum;
}

TEST(E8P, PointsAreDistinctAndOnTheShiftedLattice) {
  std::set<Values> points;
  for (int code = 0; code != 1 << 16; ++code) {
    const Values c = e8p(static_cast<uint16_t>(code));
    points.insert(c);
    // E8 + 1/4: all coordinates integers + 1/4 or all halves more, sum - 2 even
    float sum = 0;
    for (float value : c) {
      const float doubled = 2 * (value - 0.25f);
      ASSERT_EQ(doubled, std::round(doubled));
      ASSERT_EQ(int(doubled) & 1, int(2 * (c[0] - 0.25f)) & 1);
      sum += value - 0.25f;
    }
    ASSERT_EQ(std::fmod(sum, 2.0f), 0);
  }
  EXPECT_EQ(points.size(), size_t(1) << 16);
}

TEST(E8P, EntriesAreThoseOfThePaper) {
  int lengths[7] = {};
  for (const auto &entry : e8pTable())
    ++lengths[std::inner_product(entry.begin(), entry.end(), entry.begin(), 0) /
              8];
  // Squared lengths 2, 4, ... 12.
  const int expected[] = {0, 1, 8, 28, 56 + 8, 70 + 56, 29};
  EXPECT_TRUE(std::equal(lengths, lengths + 7, expected));
  using Entry = std::array<int8_t, 8>;
  EXPECT_EQ(e8pTable()[0], (Entry{1, 1, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(e8pTable()[1], (Entry{1, 1, 1, 1, 1, 1, 1, -3}));
  EXPECT_EQ(e8pTable()[2], (Entry{1, 1, 1, 1, 1, 1, 1, 5}));
  EXPECT_EQ(e8pTable()[226], (Entry{5, 3, 1, 1, 1, 1, 1, -1}));
  EXPECT_EQ(e8pTable()[227], (Entry{3, 1, 1, 1, 3, 3, 3, -3}));
  EXPECT_EQ(e8pTable()[255], (Entry{3, 3, 1, 1, 3, 3, 3, -1}));
  std::vector<int32_t> bytes;
  for (const auto *table : {&e8pTable(), &e8Table()})
    for (const auto &entry : *table)
      bytes.insert(bytes.end(), entry.begin(), entry.end());
  EXPECT_EQ(hashOf(bytes), 0xfb8000b3f6e8ef65u);
}

TEST(E8P, CodesByHand) {
  EXPECT_EQ(e8p(0x0000), (Values{.75, .75, .75, .75, .75, .75, .75, .75}));
  // Two signs; then one, which means a shift downwards and bit 0 flipped.
  EXPECT_EQ(e8p(0x0003), (Values{-.25, -.25, .75, .75, .75, .75, .75, .75}));
  EXPECT_EQ(e8p(0x0001), (Values{.25, .25, .25, .25, .25, .25, .25, .25}));
  EXPECT_EQ(e8p(0x0080), (Values{-.75, .25, .25, .25, .25, .25, .25, -.75}));
  EXPECT_EQ(e8p(0x0100), (Values{.75, .75, .75, .75, .75, .75, .75, -1.25}));
}

TEST(E8P, ResidualPointsAreThoseOfE8) {
  std::set<Values> points;
  int lengths[5] = {};
  for (int code = 0; code != 256; ++code) {
    const Values c = e8(static_cast<uint8_t>(code));
    points.insert(c);
    ++lengths[int(std::inner_product(c.begin(), c.end(), c.begin(), 0.0f))];
  }
  EXPECT_EQ(points.size(), 256u);
  EXPECT_EQ(lengths[0], 1);
  EXPECT_EQ(lengths[2], 240);
  EXPECT_EQ(lengths[4], 15);
  EXPECT_EQ(e8(0), (Values{-1, -1, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(e8(113), (Values{-.5, -.5, -.5, -.5, -.5, -.5, -.5, -.5}));
  EXPECT_EQ(e8(255), (Values{0, 0, 0, 0, 0, 0, -2, 0}));
  EXPECT_FALSE(points.count({0, 0, 0, 0, 0, 0, 0, -2}));
}

TEST(E8P, FindsTheNearestPoint) {
  std::vector<Values> all(1 << 16);
  for (int code = 0; code != 1 << 16; ++code)
    all[code] = e8p(static_cast<uint16_t>(code));
  for (float deviation : {0.3f, 1.0f, 3.0f}) {
    const int count = 60;
    const auto x = normalMatrix(8 * count, 3, deviation);
    uint16_t codes[count];
    encodeE8P(x.data(), count, codes);
    uint8_t residual[count];
    encodeE8(x.data(), count, residual);
    for (int i = 0; i != count; ++i) {
      double least = std::numeric_limits<double>::infinity();
      for (const Values &c : all)
        least = std::min(least, distance(&x[8 * i], c));
      EXPECT_NEAR(distance(&x[8 * i], e8p(codes[i])), least, 1e-5);
      least = std::numeric_limits<double>::infinity();
      for (int code = 0; code != 256; ++code)
        least = std::min(least, distance(&x[8 * i], e8(uint8_t(code))));
      EXPECT_NEAR(distance(&x[8 * i], e8(residual[i])), least, 1e-5);
    }
  }
}

TEST(E8P, PointsAreTheirOwnNearest) {
  for (int code = 0; code != 1 << 16; ++code) {
    const Values c = e8p(static_cast<uint16_t>(code));
    uint16_t found;
    encodeE8P(c.data(), 1, &found);
    ASSERT_EQ(found, code);
  }
  for (int code = 0; code != 256; ++code) {
    const Values c = e8(static_cast<uint8_t>(code));
    uint8_t found;
    encodeE8(c.data(), 1, &found);
    ASSERT_EQ(found, code);
  }
}

TEST(E8P, NormalDeviatesCostWhatThePaperSays) {
  // Mean squared error of normal deviates at the best scale: 0.089 at 2 bits,
  // where the best uniform grid has 0.1189.
  const int count = 20000;
  auto x = normalMatrix(8 * count, 4, 1.0f);
  std::vector<uint16_t> codes(count);
  std::vector<float> scaled(x.size());
  double least = 1;
  for (float range : {0.9f, 1.0f, 1.1f}) {
    for (size_t i = 0; i != x.size(); ++i)
      scaled[i] = x[i] * range;
    encodeE8P(scaled.data(), count, codes.data());
    double sum = 0;
    for (int i = 0; i != count; ++i)
      sum += distance(&scaled[8 * i], e8p(codes[i]));
    least = std::min(least, sum / double(x.size()) / (range * range));
  }
  EXPECT_NEAR(least, 0.09, 0.002);
}
} // namespace
