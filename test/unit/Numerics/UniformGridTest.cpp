//===- UniformGridTest.cpp - Examples by hand and edge cases of the grid -===//
//
// The worked examples of docs/methods/rtn.md, rounding of scales, groups of
// every shape, damaged weights, and the clip search against a plain version.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "QuantizeMatrix.h"
#include "llq/Numerics/Float16.h"
#include "llq/Numerics/Statistics.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace llq;
using namespace llq::numerics;

namespace {
using Codes = std::vector<uint8_t>;

/// Options of the worked examples, which keep scales in f32.
UniformGridOptions exampleOptions(unsigned bits, int64_t groupSize,
                                  GridScheme scheme) {
  UniformGridOptions options;
  options.bits = bits;
  options.groupSize = groupSize;
  options.scheme = scheme;
  options.scaleType = ScaleType::F32;
  return options;
}

double squaredError(const std::vector<float> &weights,
                    const QuantizedMatrix &quantized) {
  ErrorStatistics statistics;
  statistics.add(weights, quantized.dequantize());
  return statistics.squaredError;
}

TEST(UniformGrid, ExampleATwoBits) {
  const std::vector<float> v = {-1.0f, 0.2f, 0.9f, 2.0f};
  auto q = quantizeMatrix(v, 1, exampleOptions(2, 4, GridScheme::Asymmetric));
  EXPECT_EQ(q.scales[0], 1);
  EXPECT_EQ(q.zeros[0], 1);
  EXPECT_EQ(q.codes, (Codes{0, 1, 2, 3}));
  EXPECT_EQ(q.dequantize(), (std::vector<float>{-1, 0, 1, 2}));
  EXPECT_NEAR(squaredError(v, q) / 4, 0.0125, 1e-7);
}

TEST(UniformGrid, ExampleBFourBitsThreeSchemes) {
  const std::vector<float> v = {-0.7f, -0.1f, 0.06f, 0.8f};
  auto a = quantizeMatrix(v, 1, exampleOptions(4, 4, GridScheme::Asymmetric));
  EXPECT_NEAR(a.scales[0], 0.1, 1e-7);
  EXPECT_EQ(a.zeros[0], 7);
  EXPECT_EQ(a.codes, (Codes{0, 6, 8, 15}));
  EXPECT_NEAR(squaredError(v, a) / 4, 4.0e-4, 1e-8);

  auto b = quantizeMatrix(v, 1, exampleOptions(4, 4, GridScheme::Symmetric));
  EXPECT_NEAR(b.scales[0], 0.1066667, 1e-7);
  EXPECT_EQ(b.codes, (Codes{1, 7, 9, 15}));
  EXPECT_NEAR(b.dequantize()[0], -0.746667, 1e-6);
  EXPECT_NEAR(squaredError(v, b) / 4, 1.8111e-3, 1e-7);

  auto e = quantizeMatrix(v, 1, exampleOptions(4, 4, GridScheme::Signed));
  EXPECT_NEAR(e.scales[0], 0.1142857, 1e-7);
  EXPECT_EQ(e.codes, (Codes{8 - 6, 8 - 1, 8 + 1, 8 + 7}));
  EXPECT_NEAR(e.dequantize()[3], 0.8, 1e-6);
  EXPECT_NEAR(squaredError(v, e) / 4, 8.388e-4, 1e-7);
}

TEST(UniformGrid, ExampleCSymmetricWithoutNegatives) {
  const std::vector<float> v = {0.5f, 0.9f, 1.4f, 2.6f};
  auto b = quantizeMatrix(v, 1, exampleOptions(2, 4, GridScheme::Symmetric));
  EXPECT_NEAR(b.scales[0], 0.866667, 1e-6);
  EXPECT_EQ(b.codes, (Codes{3, 3, 3, 3}));
  EXPECT_NEAR(squaredError(v, b) / 4, 0.8561, 1e-4);
  auto a = quantizeMatrix(v, 1, exampleOptions(2, 4, GridScheme::Asymmetric));
  EXPECT_EQ(a.codes, (Codes{1, 1, 2, 3}));
  EXPECT_NEAR(squaredError(v, a) / 4, 0.0617, 1e-4);
}

TEST(UniformGrid, ExampleDOneSided) {
  const std::vector<float> v = {2.0f, 2.1f, 2.2f, 2.3f};
  auto a = quantizeMatrix(v, 1, exampleOptions(2, 4, GridScheme::Asymmetric));
  EXPECT_NEAR(a.scales[0], 0.766667, 1e-6);
  EXPECT_EQ(a.zeros[0], 0);
  EXPECT_EQ(a.codes, (Codes{3, 3, 3, 3}));
  EXPECT_NEAR(squaredError(v, a) / 4, 0.035, 1e-4);
}

TEST(UniformGrid, ExampleEGroupsMatter) {
  const std::vector<float> v = {-0.07f, 0.02f, 0.05f, 0.14f,
                                -1.4f,  0.3f,  0.9f,  2.1f};
  auto one = quantizeMatrix(v, 1, exampleOptions(3, 0, GridScheme::Asymmetric));
  EXPECT_EQ(one.scales, (std::vector<float>{0.5f}));
  EXPECT_EQ(one.zeros, (Codes{3}));
  EXPECT_EQ(one.codes, (Codes{3, 3, 3, 3, 0, 4, 5, 7}));
  EXPECT_NEAR(squaredError(v, one), 0.0974, 1e-6);
  auto two = quantizeMatrix(v, 1, exampleOptions(3, 4, GridScheme::Asymmetric));
  EXPECT_NEAR(two.scales[0], 0.03, 1e-8);
  EXPECT_EQ(two.scales[1], 0.5f);
  EXPECT_EQ(two.zeros, (Codes{2, 3}));
  EXPECT_EQ(two.codes, (Codes{0, 3, 4, 7, 0, 4, 5, 7}));
  EXPECT_NEAR(squaredError(v, two), 0.0704, 1e-6);
}

TEST(UniformGrid, TiesGoToEven) {
  // s = 1 and z = 8, so v / s is a half exactly: down, up, down, ...
  std::vector<float> v = {-8, 7, -2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f};
  auto q = quantizeMatrix(v, 1, exampleOptions(4, 0, GridScheme::Asymmetric));
  EXPECT_EQ(q.codes, (Codes{0, 15, 6, 6, 8, 8, 10, 10}));
  // Rounding comes before adding an odd zero point.
  v = {-7, 8, -2.5f, -1.5f, -0.5f, 0.5f, 1.5f, 2.5f};
  q = quantizeMatrix(v, 1, exampleOptions(4, 0, GridScheme::Asymmetric));
  EXPECT_EQ(q.zeros[0], 7);
  EXPECT_EQ(q.codes, (Codes{0, 15, 5, 5, 7, 7, 9, 9}));
  // The zero point itself is a tie.
  q = quantizeMatrix({-2.5f, 12.5f, 0}, 1,
                     exampleOptions(4, 0, GridScheme::Asymmetric));
  EXPECT_EQ(q.zeros[0], 2);
  EXPECT_EQ(q.codes, (Codes{0, 14, 2}));
}

TEST(UniformGrid, ScaleIsRoundedToItsTypeFirst) {
  EXPECT_EQ(roundScale(0.1f, ScaleType::F32), 0.1f);
  EXPECT_EQ(roundScale(0.1f, ScaleType::F16), decodeF16(encodeF16(0.1f)));
  EXPECT_EQ(roundScale(1e-9f, ScaleType::F16), 0x1p-24f);
  EXPECT_EQ(roundScale(0.0f, ScaleType::F16), 0x1p-24f);
  EXPECT_EQ(roundScale(0x1.8p-24f, ScaleType::F16), 0x1p-23f); // tie to even
  EXPECT_EQ(roundScale(65520.0f, ScaleType::F16), 65504.0f);
  EXPECT_EQ(roundScale(std::numeric_limits<float>::infinity(), ScaleType::F16),
            65504.0f);
  EXPECT_EQ(roundScale(0.0f, ScaleType::F32),
            std::numeric_limits<float>::denorm_min());

  // f32: s = 2/15 and 1 / s = 7.5 rounds to z = 8 or 7 by the last bit of s;
  // f16: s = 0.13330078 and 1 / s = 7.5018 decides for 8.
  UniformGridOptions options;
  options.groupSize = 0;
  auto q = quantizeMatrix({-1, 1}, 1, options);
  EXPECT_EQ(q.scales[0], 0.13330078125f);
  EXPECT_EQ(q.zeros[0], 8);
  EXPECT_EQ(q.codes, (Codes{0, 15}));
}

TEST(UniformGrid, ZeroPointStaysACodeWhenTheScaleIsRoundedDown) {
  // 255 steps of 1.49 * 2^-24 cover the range, but s becomes 2^-24.
  UniformGridOptions options;
  options.bits = 8;
  auto q = quantizeMatrix({-255 * 1.49f * 0x1p-24f, 0}, 1, options);
  EXPECT_EQ(q.scales[0], 0x1p-24f);
  EXPECT_EQ(q.zeros[0], 255);
  EXPECT_EQ(q.codes, (Codes{0, 255}));
}

TEST(UniformGrid, GroupsOfZeros) {
  for (unsigned bits = 2; bits <= 8; ++bits)
    for (auto scheme :
         {GridScheme::Asymmetric, GridScheme::Symmetric, GridScheme::Signed})
      for (auto clip : {ClipSearch::None, ClipSearch::MSE}) {
        UniformGridOptions options = exampleOptions(bits, 4, scheme);
        options.clip = clip;
        auto q = quantizeMatrix({0, 0, -0.0f, 0, 0, 0}, 1, options);
        float range = scheme == GridScheme::Signed ? 1 : 2;
        int steps = scheme == GridScheme::Signed ? (1 << (bits - 1)) - 1
                                                 : (1 << bits) - 1;
        for (int group : {0, 1}) {
          EXPECT_EQ(q.scales[group], range / steps);
          for (int i = 4 * group; i != 4 + 2 * group; ++i)
            EXPECT_EQ(q.codes[i], q.zeros[group]);
        }
        EXPECT_EQ(q.dequantize(), std::vector<float>(6, 0.0f));
      }
}

TEST(UniformGrid, RangesAtTheEndOfFloat) {
  // hi - lo overflows, their quotient by the steps does not.
  const float largest = std::numeric_limits<float>::max();
  auto q = quantizeMatrix({-largest, largest, 0}, 1,
                          exampleOptions(4, 0, GridScheme::Asymmetric));
  EXPECT_EQ(q.scales[0], static_cast<float>(2.0 * largest / 15));
  EXPECT_EQ(q.codes[0], 0);
  EXPECT_EQ(q.codes[1], 15);
  // A quotient below all floats is kept from zero.
  const float smallest = std::numeric_limits<float>::denorm_min();
  for (auto scheme :
       {GridScheme::Asymmetric, GridScheme::Symmetric, GridScheme::Signed})
    for (auto clip : {ClipSearch::None, ClipSearch::MSE}) {
      UniformGridOptions options = exampleOptions(8, 0, scheme);
      options.clip = clip;
      q = quantizeMatrix({-smallest, smallest, 0}, 1, options);
      EXPECT_EQ(q.scales[0], smallest);
      EXPECT_EQ(q.dequantize(), (std::vector<float>{-smallest, smallest, 0}));
    }
}

TEST(UniformGrid, GroupsPerRow) {
  UniformGridOptions options;
  options.groupSize = 128;
  EXPECT_EQ(options.groupsPerRow(256), 2);
  EXPECT_EQ(options.groupsPerRow(257), 3);
  EXPECT_EQ(options.groupsPerRow(5), 1);
  EXPECT_EQ(options.groupsPerRow(0), 0);
  options.groupSize = 0;
  EXPECT_EQ(options.groupsPerRow(14336), 1);
  EXPECT_EQ(options.groupsPerRow(0), 0);
  options.groupSize = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(options.groupsPerRow(7), 1);
}

TEST(UniformGrid, OptionsInRange) {
  UniformGridOptions options;
  EXPECT_TRUE(options.isValid());
  for (unsigned bits : {0u, 1u, 9u, ~0u}) {
    options.bits = bits;
    EXPECT_FALSE(options.isValid());
  }
  options.bits = 3;
  options.groupSize = -1;
  EXPECT_FALSE(options.isValid());
}

TEST(UniformGrid, NonFiniteWeightsAreFound) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (float bad :
       {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity})
    for (int64_t column : {0, 15, 16, 31, 63, 64, 79, 80, 82})
      for (auto clip : {ClipSearch::None, ClipSearch::MSE}) {
        std::vector<float> weights = normalMatrix(3 * 83, 1);
        weights[83 + column] = bad;
        weights[2 * 83] = bad;
        UniformGridOptions options;
        options.groupSize = 64;
        options.clip = clip;
        std::vector<uint8_t> codes(weights.size()), zeros(6);
        std::vector<float> scales(6);
        auto found = quantizeRows(weights.data(), 3, 83, options,
                                  {codes.data(), scales.data(), zeros.data()});
        ASSERT_TRUE(found);
        EXPECT_EQ(found->row, 1);
        EXPECT_EQ(found->column, column);
        EXPECT_TRUE(std::isnan(bad) ? std::isnan(found->value)
                                    : found->value == bad);
      }
}

TEST(UniformGrid, BlocksOfRowsEqualTheWhole) {
  const int64_t rows = 37, columns = 150;
  const std::vector<float> weights = normalMatrix(rows * columns, 3);
  for (auto clip : {ClipSearch::None, ClipSearch::MSE}) {
    UniformGridOptions options;
    options.groupSize = 64;
    options.clip = clip;
    const auto whole = quantizeMatrix(weights, rows, options);
    const int64_t groups = options.groupsPerRow(columns);
    for (unsigned threads : {1, 2, 3}) {
      QuantizedMatrix parts = whole;
      std::fill(parts.codes.begin(), parts.codes.end(), 0);
      std::fill(parts.scales.begin(), parts.scales.end(), 0);
      std::fill(parts.zeros.begin(), parts.zeros.end(), 0);
      ThreadPool(threads).parallelFor(
          0, rows, threads, [&](int64_t first, int64_t last) {
            auto bad = quantizeRows(weights.data() + first * columns,
                                    last - first, columns, options,
                                    {parts.codes.data() + first * columns,
                                     parts.scales.data() + first * groups,
                                     parts.zeros.data() + first * groups});
            EXPECT_FALSE(bad);
          });
      EXPECT_EQ(parts.codes, whole.codes);
      EXPECT_EQ(parts.scales, whole.scales);
      EXPECT_EQ(parts.zeros, whole.zeros);
    }
  }
}

TEST(UniformGrid, RowsAreMadeOfGroups) {
  // The pieces that other methods use give what the whole gives.
  UniformGridOptions options;
  options.groupSize = 32;
  const std::vector<float> weights = normalMatrix(70, 4);
  const auto q = quantizeMatrix(weights, 1, options);
  for (size_t group = 0, at = 0; at < 70; ++group, at += 32) {
    std::span v = std::span(weights).subspan(at, std::min<size_t>(32, 70 - at));
    GroupGrid grid = chooseGrid(v, options);
    EXPECT_EQ(grid.scale, q.scales[group]);
    EXPECT_EQ(grid.zero, q.zeros[group]);
    Codes codes(v.size());
    quantizeGroup(v, grid, options, codes);
    EXPECT_TRUE(std::equal(codes.begin(), codes.end(), q.codes.begin() + at));
  }
}

/// The search as the card states it, evaluated in double precision.
double leastObjective(std::span<const float> group,
                      const UniformGridOptions &options) {
  UniformGridOptions plain = options;
  plain.clip = ClipSearch::None;
  double least = std::numeric_limits<double>::infinity();
  for (int step = 0; step != 80; ++step) {
    // The grid of a range p * [lo, hi] is that of the extrema times p, whose
    // signs and zeros are as in the group.
    float shrink = static_cast<float>(1 - step / 100.0);
    auto [lo, hi] = std::minmax_element(group.begin(), group.end());
    const float extrema[] = {shrink * *lo, shrink * *hi};
    least = std::min(least,
                     clipObjective(group, chooseGrid(extrema, plain), options));
  }
  return least;
}

TEST(UniformGrid, ClipSearchFindsTheLeastObjective) {
  for (unsigned bits = 2; bits <= 8; ++bits)
    for (auto scheme :
         {GridScheme::Asymmetric, GridScheme::Symmetric, GridScheme::Signed})
      for (auto scaleType : {ScaleType::F16, ScaleType::F32})
        for (int size : {1, 15, 16, 128, 129, 700}) {
          UniformGridOptions options;
          options.bits = bits;
          options.scheme = scheme;
          options.scaleType = scaleType;
          options.clip = ClipSearch::MSE;
          // Heavy tails, so that clipping pays.
          std::vector<float> group = normalMatrix(size, bits * 1000 + size);
          for (float &value : group)
            value *= std::fabs(value) * 20;
          double found =
              clipObjective(group, chooseGrid(group, options), options);
          double least = leastObjective(group, options);
          EXPECT_LE(found, least * (1 + 1e-6)) << bits << " bits, " << size;
          EXPECT_GE(found, least);
        }
}

TEST(UniformGrid, ClipSearchNeverIncreasesTheObjective) {
  for (uint64_t seed = 0; seed != 50; ++seed) {
    UniformGridOptions options, plain;
    options.bits = plain.bits = 2 + seed % 3;
    options.clip = ClipSearch::MSE;
    std::vector<float> group = normalMatrix(64, seed);
    EXPECT_LE(clipObjective(group, chooseGrid(group, options), options),
              clipObjective(group, chooseGrid(group, plain), plain) *
                  (1 + 1e-6));
  }
}

TEST(UniformGrid, ClipSearchIgnoresPowersOfTwo) {
  // Neither large nor small weights may over- or underflow the objective.
  UniformGridOptions options;
  options.scaleType = ScaleType::F32;
  options.bits = 3;
  options.clip = ClipSearch::MSE;
  const std::vector<float> group = normalMatrix(100, 8, 1.0f);
  const GroupGrid grid = chooseGrid(group, options);
  EXPECT_LT(grid.scale, chooseGrid(group, {3, 0, GridScheme::Asymmetric,
                                           ScaleType::F32, ClipSearch::None})
                            .scale);
  for (int exponent : {-100, -50, 50, 124}) {
    std::vector<float> scaled;
    for (float value : group)
      scaled.push_back(std::ldexp(value, exponent));
    GroupGrid other = chooseGrid(scaled, options);
    EXPECT_EQ(other.scale, std::ldexp(grid.scale, exponent));
    EXPECT_EQ(other.zero, grid.zero);
  }
}
} // namespace
