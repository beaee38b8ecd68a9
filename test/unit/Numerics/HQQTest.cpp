//===- HQQTest.cpp - Real zero points and their search --------------------===//
//
// The example and the properties of docs/methods/hqq.md.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/HQQ.h"
#include "QuantizeMatrix.h"
#include "llq/Numerics/Float16.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace llq::numerics;

namespace {
using Floats = std::vector<float>;
using Codes = std::vector<uint8_t>;

HQQOptions hqq(unsigned bits, int iterations = 20) {
  HQQOptions options;
  options.grid.bits = bits;
  options.grid.scaleType = ScaleType::F32;
  options.iterations = iterations;
  return options;
}

Floats rounded(const Floats &group, FloatZeroGrid grid,
               const HQQOptions &options) {
  Codes codes(group.size());
  quantizeGroup(group, grid, options.grid, codes);
  Floats result(group.size());
  dequantizeGroup(codes, grid, result);
  return result;
}

double meanError(const Floats &group, FloatZeroGrid grid,
                 const HQQOptions &options) {
  auto result = rounded(group, grid, options);
  double sum = 0;
  for (size_t i = 0; i != group.size(); ++i)
    sum += std::fabs(double(group[i]) - result[i]);
  return sum / double(group.size());
}

TEST(HQQ, Example) {
  const Floats w = {-0.62f, 0.11f, 0.35f, -0.08f, 0.51f, -0.27f, 0.90f, 0.02f};
  auto grid = chooseFloatZeroGrid(w, hqq(3));
  EXPECT_NEAR(grid.scale, 0.2171429, 1e-6);
  const double zeros[] = {2.855263, 2.720395, 2.595395, 2.595395};
  const double errors[] = {0.053214, 0.051964, 0.048214, 0.048214};
  for (int iterations = 0; iterations != 4; ++iterations) {
    auto found = searchFloatZero(w, hqq(3, iterations));
    EXPECT_EQ(found.scale, grid.scale);
    EXPECT_NEAR(found.zero, zeros[iterations], 1e-5);
    EXPECT_NEAR(meanError(w, found, hqq(3)), errors[iterations], 1e-6);
  }
  Codes codes(8);
  quantizeGroup(w, searchFloatZero(w, hqq(3)), hqq(3).grid, codes);
  EXPECT_EQ(codes, (Codes{0, 3, 4, 2, 5, 1, 7, 3}));
}

TEST(HQQ, NeverWorseThanPlainRounding) {
  for (uint64_t seed = 0; seed != 60; ++seed)
    for (bool normalise : {false, true})
      for (unsigned bits : {2, 3, 4, 8}) {
        Floats w = normalMatrix(64, seed, seed % 2 ? 0.02f : 5.0f);
        w[seed] *= 6; // an outlier
        HQQOptions options = hqq(bits);
        options.normalise = normalise;
        // The search takes its errors in f32.
        const double plain =
            meanError(w, chooseFloatZeroGrid(w, options), options);
        EXPECT_LE(meanError(w, searchFloatZero(w, options), options),
                  plain * (1 + 1e-6));
      }
}

TEST(HQQ, ZeroStaysNearWhereItWasForNormalWeights) {
  for (uint64_t seed = 0; seed != 40; ++seed) {
    const Floats w = normalMatrix(64, 100 + seed);
    EXPECT_NEAR(searchFloatZero(w, hqq(4)).zero,
                chooseFloatZeroGrid(w, hqq(4)).zero, 0.5);
  }
}

TEST(HQQ, BeginsAtAWholeZeroWithFourBits) {
  const Floats w = normalMatrix(64, 3);
  auto zero = [&](unsigned bits, FirstZero first) {
    HQQOptions options = hqq(bits);
    options.firstZero = first;
    return chooseFloatZeroGrid(w, options).zero;
  };
  for (unsigned bits : {3, 4}) {
    const float exact = zero(bits, FirstZero::Exact);
    EXPECT_NE(exact, std::nearbyint(exact));
    EXPECT_EQ(zero(bits, FirstZero::Rounded), std::nearbyint(exact));
    EXPECT_EQ(zero(bits, FirstZero::Published),
              bits == 4 ? std::nearbyint(exact) : exact);
  }
}

TEST(HQQ, ConstantShiftsOnlyTheZero) {
  // Binary fractions, so that the shifted weights are exact.
  Floats w = normalMatrix(32, 7, 1.0f);
  for (float &value : w)
    value = std::nearbyint(value * 1024) / 1024;
  Floats shifted = w;
  for (float &value : shifted)
    value += 0.5f;
  HQQOptions options = hqq(4);
  options.firstZero = FirstZero::Exact;
  auto a = searchFloatZero(w, options), b = searchFloatZero(shifted, options);
  EXPECT_EQ(a.scale, b.scale);
  EXPECT_NEAR(b.zero * b.scale, a.zero * a.scale - 0.5, 1e-4);
  Codes first(32), second(32);
  quantizeGroup(w, a, hqq(4).grid, first);
  quantizeGroup(shifted, b, hqq(4).grid, second);
  EXPECT_EQ(first, second);
}

TEST(HQQ, TheNormMattersOnceErrorsAreNormalised) {
  // The absolute measure leaves all errors of small weights to the mean square:
  // any p gives the same zero.
  const Floats w = normalMatrix(64, 3, 0.02f);
  HQQOptions options = hqq(3);
  HQQOptions other = options;
  other.power = 0.2;
  EXPECT_EQ(searchFloatZero(w, options).zero, searchFloatZero(w, other).zero);
  options.normalise = true;
  bool differs = false;
  for (uint64_t seed = 0; seed != 20; ++seed) {
    const Floats v = normalMatrix(64, seed, 0.02f);
    differs |=
        searchFloatZero(v, options).zero != searchFloatZero(v, other).zero;
  }
  EXPECT_TRUE(differs);
}

TEST(HQQ, RowsAreStoredAsF16) {
  const int64_t rows = 5, columns = 150;
  const Floats w = normalMatrix(rows * columns, 9, 0.02f);
  HQQOptions options;
  options.grid.bits = 3;
  const int64_t groups = options.grid.groupsPerRow(columns);
  EXPECT_EQ(groups, 3); // of 64, the last one of 22
  Codes codes(w.size());
  Floats scales(rows * groups), zeros(rows * groups);
  ASSERT_FALSE(quantizeHQQ(w.data(), rows, columns, options,
                           {codes.data(), scales.data(), zeros.data()}));
  for (size_t i = 0; i != scales.size(); ++i) {
    EXPECT_EQ(decodeF16(encodeF16(scales[i])), scales[i]);
    EXPECT_EQ(decodeF16(encodeF16(zeros[i])), zeros[i]);
  }
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t k = 0; k != columns; ++k) {
      const size_t g = r * groups + k / 64;
      EXPECT_NEAR(scales[g] * (float(codes[r * columns + k]) - zeros[g]),
                  w[r * columns + k], scales[g] * 1.1f);
    }
  // Blocks of rows are independent.
  Codes again(columns);
  Floats scale(groups), zero(groups);
  ASSERT_FALSE(quantizeHQQ(w.data() + 3 * columns, 1, columns, options,
                           {again.data(), scale.data(), zero.data()}));
  EXPECT_TRUE(
      std::equal(again.begin(), again.end(), codes.begin() + 3 * columns));
}

TEST(HQQ, GroupsOfOneValue) {
  for (float value : {0.0f, 1.0f, -0.7f, 1e-6f, 3e4f}) {
    const Floats w(64, value);
    Codes codes(64);
    float scale, zero;
    HQQOptions options;
    ASSERT_FALSE(
        quantizeHQQ(w.data(), 1, 64, options, {codes.data(), &scale, &zero}));
    EXPECT_GT(scale, 0);
    EXPECT_NEAR(scale * (float(codes[0]) - zero), value,
                1e-3f * std::fabs(value) + 0x1p-24f);
  }
}

TEST(HQQ, NonFiniteWeightsAreFound) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(),
                    std::numeric_limits<float>::infinity()}) {
    Floats w = normalMatrix(200, 1);
    w[100 + 70] = bad;
    Codes codes(200);
    Floats scales(4), zeros(4);
    auto found = quantizeHQQ(w.data(), 2, 100, HQQOptions(),
                             {codes.data(), scales.data(), zeros.data()});
    ASSERT_TRUE(found);
    EXPECT_EQ(found->row, 1);
    EXPECT_EQ(found->column, 70);
  }
}
} // namespace
