//===- UniformGridPropertyTest.cpp - Laws that every grid obeys ----------===//
//
// The properties of section 8 of docs/methods/rtn.md that concern the maths,
// over random matrices of all widths and schemes.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "QuantizeMatrix.h"
#include "llq/Numerics/BitPacking.h"
#include "llq/Numerics/Statistics.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <string>
#include <tuple>

using namespace llq::numerics;

namespace {
class UniformGridProperty : public testing::TestWithParam<
                                std::tuple<unsigned, GridScheme, ScaleType>> {
protected:
  UniformGridProperty() {
    std::tie(options.bits, options.scheme, options.scaleType) = GetParam();
    options.groupSize = 16;
  }

  UniformGridOptions options;
  static constexpr int64_t rows = 6, columns = 53;
  const std::vector<float> weights = normalMatrix(rows * columns, 42, 0.5f);
};

TEST_P(UniformGridProperty, ErrorIsAtMostHalfAStep) {
  // Of Symmetric this is true as every group here has a negative weight.
  auto q = quantizeMatrix(weights, rows, options);
  auto decoded = q.dequantize();
  int64_t groups = options.groupsPerRow(columns);
  for (int64_t i = 0; i != rows * columns; ++i) {
    float scale = q.scales[i / columns * groups + i % columns / 16];
    // Where a scale was rounded down to f16, the outermost weights lie beyond
    // the outermost codes by up to 2^-11 of the range.
    float rounding = options.scaleType == ScaleType::F16
                         ? scale * options.maxCode() * 0x1p-11f
                         : 0;
    ASSERT_LE(std::fabs(decoded[i] - weights[i]),
              scale / 2 + rounding + 4e-7f * std::fabs(weights[i]));
  }
}

TEST_P(UniformGridProperty, QuantizingTheDecodedChangesNothing) {
  auto q = quantizeMatrix(weights, rows, options);
  auto decoded = q.dequantize();
  int64_t groups = options.groupsPerRow(columns);
  for (int64_t row = 0; row != rows; ++row)
    for (int64_t group = 0; group != groups; ++group) {
      int64_t at = row * columns + group * 16;
      size_t size = std::min<int64_t>(16, columns - group * 16);
      GroupGrid grid{q.scales[row * groups + group],
                     q.zeros[row * groups + group]};
      std::vector<uint8_t> codes(size);
      quantizeGroup(std::span(decoded).subspan(at, size), grid, options, codes);
      ASSERT_TRUE(std::equal(codes.begin(), codes.end(), q.codes.begin() + at));
    }
}

TEST_P(UniformGridProperty, ScalesWithPowersOfTwo) {
  auto q = quantizeMatrix(weights, rows, options);
  for (float factor : {0.25f, 8.0f}) {
    std::vector<float> scaled = weights;
    for (float &value : scaled)
      value *= factor;
    auto other = quantizeMatrix(scaled, rows, options);
    EXPECT_EQ(other.codes, q.codes);
    EXPECT_EQ(other.zeros, q.zeros);
    for (size_t i = 0; i != q.scales.size(); ++i)
      ASSERT_EQ(other.scales[i], q.scales[i] * factor);
  }
}

TEST_P(UniformGridProperty, RowsAreIndependent) {
  auto q = quantizeMatrix(weights, rows, options);
  std::vector<float> reversed;
  for (int64_t row = rows; row-- != 0;)
    reversed.insert(reversed.end(), weights.begin() + row * columns,
                    weights.begin() + (row + 1) * columns);
  auto other = quantizeMatrix(reversed, rows, options);
  for (int64_t row = 0; row != rows; ++row)
    ASSERT_TRUE(std::equal(q.codes.begin() + row * columns,
                           q.codes.begin() + (row + 1) * columns,
                           other.codes.begin() + (rows - 1 - row) * columns));
}

TEST_P(UniformGridProperty, GroupsRunAlongTheRow) {
  // Reversing the columns permutes codes of a whole row, changes those of
  // groups.
  std::vector<float> reversed(weights.size());
  for (int64_t row = 0; row != rows; ++row)
    std::reverse_copy(weights.begin() + row * columns,
                      weights.begin() + (row + 1) * columns,
                      reversed.begin() + row * columns);
  for (int64_t groupSize : {0, 16}) {
    options.groupSize = groupSize;
    auto q = quantizeMatrix(weights, rows, options);
    auto other = quantizeMatrix(reversed, rows, options);
    for (int64_t row = 0; row != rows; ++row)
      std::reverse(other.codes.begin() + row * columns,
                   other.codes.begin() + (row + 1) * columns);
    EXPECT_EQ(other.codes == q.codes, groupSize == 0);
    EXPECT_EQ(other.scales == q.scales, groupSize == 0);
  }
}

TEST_P(UniformGridProperty, HalvingGroupsNeverCoarsensThem) {
  auto q = quantizeMatrix(weights, rows, options);
  options.groupSize = 8;
  auto halves = quantizeMatrix(weights, rows, options);
  int64_t groups = (columns + 15) / 16, halfGroups = (columns + 7) / 8;
  for (int64_t row = 0; row != rows; ++row)
    for (int64_t half = 0; half != halfGroups; ++half)
      ASSERT_LE(halves.scales[row * halfGroups + half],
                q.scales[row * groups + half / 2]);
}

TEST_P(UniformGridProperty, ZeroWeightsStayZero) {
  std::vector<float> sparse = weights;
  for (size_t i = 0; i < sparse.size(); i += 3)
    sparse[i] = i % 2 ? -0.0f : 0.0f;
  for (auto clip : {ClipSearch::None, ClipSearch::MSE}) {
    options.clip = clip;
    auto decoded = quantizeMatrix(sparse, rows, options).dequantize();
    for (size_t i = 0; i < sparse.size(); i += 3)
      ASSERT_EQ(decoded[i], 0.0f);
  }
}

TEST_P(UniformGridProperty, CodesSurvivePacking) {
  auto q = quantizeMatrix(weights, rows, options);
  for (uint8_t code : q.codes) {
    ASSERT_GE(code, options.minCode());
    ASSERT_LE(code, options.maxCode());
  }
  QuantizedMatrix unpacked = q;
  std::vector<uint8_t> packed(rows * packedRowBytes(columns, options.bits));
  packRows(q.codes, rows, columns, options.bits, packed);
  std::fill(unpacked.codes.begin(), unpacked.codes.end(), 0);
  unpackRows(packed, rows, columns, options.bits, unpacked.codes);
  EXPECT_EQ(unpacked.dequantize(), q.dequantize());
}

TEST_P(UniformGridProperty, ErrorIsBoundedByTheRange) {
  // max error <= (hi - lo) / (2 M), a bound that halves with every bit.
  options.groupSize = 0;
  ErrorStatistics statistics;
  statistics.add(weights, quantizeMatrix(weights, rows, options).dequantize());
  auto [lo, hi] = std::minmax_element(weights.begin(), weights.end());
  float range = options.scheme == GridScheme::Asymmetric
                    ? *hi - *lo
                    : 2 * std::max(*hi, -*lo);
  float steps = static_cast<float>(options.scheme == GridScheme::Signed
                                       ? 2 * options.midCode() - 2
                                       : options.maxCode());
  float rounding =
      options.scaleType == ScaleType::F16 ? range * 0x1p-11f : 1e-6f;
  EXPECT_LE(statistics.maxAbsError, range / (2 * steps) + rounding);
}

/// The name of a combination, such as W4SignedF16.
std::string
describe(const testing::TestParamInfo<UniformGridProperty::ParamType> &info) {
  auto [bits, scheme, scaleType] = info.param;
  std::string name = "W" + std::to_string(bits);
  name += scheme == GridScheme::Asymmetric  ? "Asymmetric"
          : scheme == GridScheme::Symmetric ? "Symmetric"
                                            : "Signed";
  return name + (scaleType == ScaleType::F16 ? "F16" : "F32");
}

INSTANTIATE_TEST_SUITE_P(
    All, UniformGridProperty,
    testing::Combine(testing::Range(2u, 9u),
                     testing::Values(GridScheme::Asymmetric,
                                     GridScheme::Symmetric, GridScheme::Signed),
                     testing::Values(ScaleType::F16, ScaleType::F32)),
    describe);

TEST(UniformGridLaws, WeightsOnTheGridComeBackExactly) {
  // With both outer codes present and a scale that is a power of two.
  const float scale = 0x1p-5f;
  for (unsigned bits = 2; bits <= 8; ++bits) {
    UniformGridOptions options;
    options.bits = bits;
    const int top = options.maxCode();
    for (int zero = 0; zero <= top; zero += 1 + zero / 3) {
      std::vector<float> group = {scale * static_cast<float>(-zero),
                                  scale * static_cast<float>(top - zero)};
      for (int i = 0; i != 14; ++i)
        group.push_back(scale * static_cast<float>(i * 37 % (top + 1) - zero));
      auto q = quantizeMatrix(group, 1, options);
      EXPECT_EQ(q.scales[0], scale);
      EXPECT_EQ(q.zeros[0], zero);
      EXPECT_EQ(q.dequantize(), group);
    }
  }
}

TEST(UniformGridLaws, EightBitsPerRowLoseAboutAPercent) {
  // ||x (W' - W)^T|| / ||x W^T|| is about s / (sqrt(12) sigma).
  const int64_t rows = 64, columns = 512;
  const auto weights = normalMatrix(rows * columns, 5, 0.02f);
  const auto x = normalMatrix(columns, 6, 1.0f);
  UniformGridOptions options;
  options.bits = 8;
  options.groupSize = 0;
  auto q = quantizeMatrix(weights, rows, options);
  auto decoded = q.dequantize();
  double error = 0, output = 0, scale = 0;
  for (int64_t row = 0; row != rows; ++row) {
    double difference = 0, exact = 0;
    for (int64_t i = 0; i != columns; ++i) {
      double w = weights[row * columns + i];
      difference += x[i] * (decoded[row * columns + i] - w);
      exact += x[i] * w;
    }
    error += difference * difference;
    output += exact * exact;
    scale += q.scales[row] / rows;
  }
  double expected = scale / (std::sqrt(12.0) * 0.02);
  // 64 outputs estimate both norms to some 10 %.
  EXPECT_NEAR(std::sqrt(error / output), expected, 0.35 * expected);
  EXPECT_NEAR(expected, 0.0075, 0.002);
}
} // namespace
