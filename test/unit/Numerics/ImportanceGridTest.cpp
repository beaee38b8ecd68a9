//===- ImportanceGridTest.cpp - Grids that mind what weights are for ------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/ImportanceGrid.h"
#include "QuantizeMatrix.h"
#include "llq/Numerics/Float16.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace llq::numerics;

namespace {
using Floats = std::vector<float>;

UniformGridOptions grid(unsigned bits, GridScheme scheme,
                        ScaleType type = ScaleType::F16) {
  UniformGridOptions options;
  options.bits = bits;
  options.groupSize = 32;
  options.scheme = scheme;
  options.scaleType = type;
  return options;
}

constexpr GridScheme kSchemes[] = {GridScheme::Asymmetric,
                                   GridScheme::Symmetric, GridScheme::Signed};

TEST(ImportanceGrid, WeightsAreImportanceTimesSize) {
  Floats omega(4);
  const Floats importance = {1, 2, 0, 0.5f};
  importanceWeights(Floats{1, -1, 1, -1}, importance, omega);
  const float root = std::sqrt(2.0f);
  for (int i = 0; i != 4; ++i)
    EXPECT_FLOAT_EQ(omega[i], root * importance[i]);
  // sigma^2 = (9 + 16) / 2.
  omega.resize(2);
  importanceWeights(Floats{3, 4}, {}, omega);
  EXPECT_FLOAT_EQ(omega[0], std::sqrt(12.5f + 9));
  EXPECT_FLOAT_EQ(omega[1], std::sqrt(12.5f + 16));
  // Nothing is important: as if there were no calibration.
  Floats dead(2);
  importanceWeights(Floats{3, 4}, Floats{0, 0}, dead);
  EXPECT_EQ(dead, omega);
}

TEST(ImportanceGrid, ErrorEqualsItsDefinition) {
  for (GridScheme scheme : kSchemes) {
    const Floats w = normalMatrix(50, 3), omega(50, 0.7f);
    auto options = grid(3, scheme);
    const GroupGrid choice = chooseGrid(w, options);
    std::vector<uint8_t> codes(50);
    Floats decoded(50);
    quantizeGroup(w, choice, options, codes);
    dequantizeGroup(codes, choice, decoded);
    double sum = 0;
    for (size_t i = 0; i != 50; ++i)
      sum += 0.7f * std::pow(double(decoded[i]) - w[i], 2);
    EXPECT_NEAR(weightedError(w, omega, choice, options), sum, 1e-6 * sum);
  }
}

TEST(ImportanceGrid, NeverWorseThanRTNAndMostlyBetter) {
  for (GridScheme scheme : kSchemes)
    for (unsigned bits : {2, 3, 4, 8}) {
      int better = 0;
      double before = 0, after = 0;
      auto options = grid(bits, scheme);
      for (uint64_t seed = 0; seed != 100; ++seed) {
        const Floats w = normalMatrix(32, seed);
        Floats importance = normalMatrix(32, 1000 + seed, 1.0f), omega(32);
        for (float &value : importance)
          value = std::exp(2 * value);
        importanceWeights(w, importance, omega);
        const double rtn =
            weightedError(w, omega, chooseGrid(w, options), options);
        const GroupGrid found = chooseWeightedGrid(w, omega, options);
        const double error = weightedError(w, omega, found, options);
        EXPECT_LE(error, rtn);
        EXPECT_GE(found.zero, options.minCode());
        EXPECT_LE(found.zero, options.maxCode());
        EXPECT_EQ(decodeF16(encodeF16(found.scale)), found.scale);
        better += error < rtn;
        before += rtn;
        after += error;
      }
      EXPECT_GE(better, 80) << bits;
      EXPECT_LT(after, (bits <= 3 ? 0.75 : 0.95) * before) << bits;
    }
}

TEST(ImportanceGrid, EqualImportanceIsNone) {
  for (GridScheme scheme : kSchemes)
    for (uint64_t seed = 0; seed != 20; ++seed) {
      auto options = grid(3, scheme);
      const Floats w = normalMatrix(32, 300 + seed);
      Floats with(32), without(32);
      importanceWeights(w, Floats(32, 0.25f), with);
      importanceWeights(w, {}, without);
      const GroupGrid a = chooseWeightedGrid(w, with, options);
      const GroupGrid b = chooseWeightedGrid(w, without, options);
      EXPECT_EQ(a.scale, b.scale);
      EXPECT_EQ(a.zero, b.zero);
    }
}

TEST(ImportanceGrid, NearTheBestOfAllGrids) {
  // 2 bits: try all zero points and a thousand scales.
  double found = 0, best = 0;
  auto options = grid(2, GridScheme::Asymmetric, ScaleType::F32);
  for (uint64_t seed = 0; seed != 30; ++seed) {
    const Floats w = normalMatrix(16, seed, 1.0f);
    Floats omega = normalMatrix(16, 500 + seed, 1.0f);
    for (float &value : omega)
      value = std::exp(value);
    found +=
        weightedError(w, omega, chooseWeightedGrid(w, omega, options), options);
    double least = std::numeric_limits<double>::infinity();
    for (int32_t zero = 0; zero != 4; ++zero)
      for (int step = 1; step <= 1000; ++step)
        least = std::min(
            least,
            weightedError(w, omega, {float(step) * 0.003f, zero}, options));
    best += least;
  }
  EXPECT_LT(found, 1.1 * best);
}

TEST(ImportanceGrid, WeightsOnAGridAreFoundExactly) {
  Floats w, omega;
  for (int code : {0, 1, 2, 3, 7, 5, 4, 6, 7, 0}) {
    w.push_back(0.25f * float(code - 3));
    omega.push_back(1.0f + float(code));
  }
  auto options = grid(3, GridScheme::Asymmetric);
  const GroupGrid found = chooseWeightedGrid(w, omega, options);
  EXPECT_EQ(weightedError(w, omega, found, options), 0);
}

TEST(ImportanceGrid, Rows) {
  const int64_t rows = 4, columns = 70;
  const Floats w = normalMatrix(rows * columns, 8);
  Floats importance = normalMatrix(columns, 9, 1.0f);
  for (float &value : importance)
    value *= value;
  for (GridScheme scheme : kSchemes) {
    auto options = grid(3, scheme);
    QuantizedMatrix q = quantizeMatrix(w, rows, options); // room for a result
    ASSERT_FALSE(quantizeRowsByImportance(
        w.data(), rows, columns, importance, options,
        {q.codes.data(), q.scales.data(), q.zeros.data()}));
    for (int64_t r = 0; r != rows; ++r)
      for (int64_t g = 0; g != 3; ++g) {
        const int64_t first = g * 32, size = std::min<int64_t>(32, 70 - first);
        Floats group(&w[r * columns + first], &w[r * columns + first] + size);
        Floats omega(size);
        importanceWeights(group, {&importance[first], size_t(size)}, omega);
        const GroupGrid expected = chooseWeightedGrid(group, omega, options);
        EXPECT_EQ(q.scales[r * 3 + g], expected.scale);
        EXPECT_EQ(int32_t(q.zeros[r * 3 + g]), expected.zero);
      }
  }
}

TEST(ImportanceGrid, GroupsOfZerosAndNonFiniteWeights) {
  auto options = grid(4, GridScheme::Asymmetric);
  Floats w(64, 0.0f);
  std::vector<uint8_t> codes(64), zeros(2);
  Floats scales(2);
  ASSERT_FALSE(
      quantizeRowsByImportance(w.data(), 1, 64, {}, options,
                               {codes.data(), scales.data(), zeros.data()}));
  for (int i = 0; i != 64; ++i)
    EXPECT_EQ(codes[i], zeros[i / 32]);
  w[40] = std::numeric_limits<float>::quiet_NaN();
  auto bad =
      quantizeRowsByImportance(w.data(), 1, 64, Floats(64, 1.0f), options,
                               {codes.data(), scales.data(), zeros.data()});
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->column, 40);
}
} // namespace
