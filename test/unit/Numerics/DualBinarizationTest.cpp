//===- DualBinarizationTest.cpp - Two planes, two scales ------------------===//
//
// The examples and the properties of docs/methods/dbllm.md.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/DualBinarization.h"
#include "Calibration.h"
#include "llq/Numerics/Float16.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace llq;
using namespace llq::numerics;

namespace {
using Floats = std::vector<float>;
using Codes = std::vector<uint8_t>;

DualBinaryOptions exact(DualStart start = DualStart::Search, int rounds = 20) {
  DualBinaryOptions options;
  options.groupSize = 0;
  options.scaleType = ScaleType::F32;
  options.start = start;
  options.rounds = rounds;
  return options;
}

Codes codesOf(const Floats &group, DualScales scales) {
  Codes codes(group.size());
  quantizeGroup(group, scales, codes);
  return codes;
}

Floats rounded(const Floats &group, DualScales scales) {
  Floats result(group.size());
  dequantizeGroup(codesOf(group, scales), scales, result);
  return result;
}

double squaredError(const Floats &a, const Floats &b) {
  double sum = 0;
  for (size_t i = 0; i != a.size(); ++i)
    sum += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
  return sum;
}

double fitError(const Floats &group, const DualBinaryOptions &options) {
  return squaredError(group, rounded(group, fitDualScales(group, options)));
}

Codes plane(const Codes &codes, int which) {
  Codes bits;
  for (uint8_t code : codes)
    bits.push_back(code >> which & 1);
  return bits;
}

/// A matrix as planes.
struct DualMatrix {
  DualBinaryOptions options;
  int64_t rows, columns;
  Codes codes;
  Floats scales;
  CompensatedLoss loss;

  DualMatrix(int64_t rows, int64_t columns, const DualBinaryOptions &options)
      : options(options), rows(rows), columns(columns), codes(rows * columns),
        scales(2 * rows * groups()) {}

  int64_t groupLength() const {
    return UniformGridOptions{.groupSize = options.groupSize}.groupLength(
        columns);
  }
  int64_t groups() const {
    return UniformGridOptions{.groupSize = options.groupSize}.groupsPerRow(
        columns);
  }
  DualScales scalesOf(int64_t row, int64_t column) const {
    const size_t at = 2 * (row * groups() + column / groupLength());
    return {scales[at], scales[at + 1]};
  }
  DualBinaryRows storage() { return {codes.data(), scales.data()}; }
  Floats dequantize() const {
    Floats weights(codes.size());
    for (int64_t i = 0; i != rows * columns; ++i)
      dequantizeGroup({&codes[i], 1}, scalesOf(i / columns, i % columns),
                      {&weights[i], 1});
    return weights;
  }
};

DualMatrix binarize(const Floats &weights, int64_t rows,
                    const DualBinaryOptions &options) {
  DualMatrix m(rows, static_cast<int64_t>(weights.size()) / rows, options);
  EXPECT_FALSE(quantizeDualBinary(weights.data(), rows, m.columns, options,
                                  m.storage()));
  return m;
}

DualMatrix compensate(const Floats &weights, int64_t rows, const Floats &h,
                      const DualBinaryOptions &options, GPTQOptions order = {},
                      unsigned threads = 2) {
  DualMatrix m(rows, static_cast<int64_t>(weights.size()) / rows, options);
  ThreadPool pool(threads);
  order.groupSize = options.groupSize;
  auto factor = GPTQFactor::create(h, m.columns, order, pool);
  EXPECT_TRUE(factor);
  EXPECT_FALSE(quantizeDualBinary(weights.data(), rows, *factor, options,
                                  m.storage(), m.loss, pool));
  return m;
}

double refit(const Floats &weights, const Floats &h, double lambda,
             DualMatrix &m, unsigned threads = 2) {
  ThreadPool pool(threads);
  return refitDualScales(weights.data(), m.rows, m.columns, h, lambda,
                         m.options, m.storage(), pool);
}

/// delta (H + lambda I) delta^T.
double loss(const Floats &weights, const DualMatrix &m, Floats h,
            double lambda) {
  for (int64_t j = 0; j != m.columns; ++j)
    h[j * m.columns + j] += static_cast<float>(lambda);
  return outputError(weights, m.dequantize(), h, m.columns);
}

TEST(DualBinarization, ExampleOfTheSplittingRule) {
  const Floats w = {-1.3f, -0.6f, -0.2f, 0.3f, 0.7f, 1.4f, 1.6f, 2.4f};
  const DualScales scales{2, -1};
  const Codes codes = codesOf(w, scales);
  EXPECT_EQ(plane(codes, 0), (Codes{0, 0, 0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(plane(codes, 1), (Codes{1, 1, 0, 0, 1, 1, 0, 0}));
  EXPECT_EQ(rounded(w, scales), (Floats{-1, -1, 0, 0, 1, 1, 2, 2}));
  EXPECT_NEAR(squaredError(w, rounded(w, scales)), 0.95, 1e-6);
  const Floats x = {1, -1, 2, 0.5f, -2, 1, 3, -0.5f};
  double first = 0, second = 0, dense = 0;
  for (int i = 0; i != 8; ++i) {
    first += codes[i] & 1 ? x[i] : 0;
    second += codes[i] & 2 ? x[i] : 0;
    dense += x[i] * rounded(w, scales)[i];
  }
  EXPECT_EQ(first, 1.5);
  EXPECT_EQ(second, -1);
  EXPECT_EQ(2 * first - second, 4);
  EXPECT_EQ(dense, 4);
}

TEST(DualBinarization, ExampleOfARefit) {
  const Floats w = {-0.9f, -0.7f, -0.2f, 0.1f, 0.5f, 0.6f, 0.8f, 1.6f};
  const DualScales start = fitDualScales(w, exact(DualStart::Largest, 0));
  EXPECT_EQ(start.first, 1.6f);
  EXPECT_EQ(start.second, -0.8f);
  const Codes codes = codesOf(w, start);
  EXPECT_EQ(plane(codes, 0), (Codes{0, 0, 0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(plane(codes, 1), (Codes{1, 1, 0, 0, 1, 1, 1, 0}));
  EXPECT_NEAR(squaredError(w, rounded(w, start)), 0.2, 1e-6);
  const DualScales once = fitDualScales(w, exact(DualStart::Largest, 1));
  EXPECT_NEAR(once.first, 1.509091, 1e-6);
  EXPECT_NEAR(once.second, -0.845455, 1e-6);
  EXPECT_NEAR(squaredError(w, rounded(w, once)), 0.131818, 1e-6);
  // A fixed point.
  EXPECT_EQ(codesOf(w, once), codes);
  const DualScales all = fitDualScales(w, exact(DualStart::Largest));
  EXPECT_NEAR(all.first, once.first, 1e-6);
  EXPECT_LE(fitError(w, exact()), 0.131819);
}

TEST(DualBinarization, ExampleOfARefitAtTheOutput) {
  const Floats h = {4, 1, 0, 0, 1, 2, 0.5f, 0, 0, 0.5f, 1, 0.2f, 0, 0, 0.2f, 3};
  const Floats w = {1, 0.45f, -0.4f, -0.9f};
  DualMatrix m(1, 4, exact());
  m.codes = {1, 3, 2, 2};
  m.scales = {1.04f, -0.63f}; // the best ones for H = I
  EXPECT_NEAR(loss(w, m, h, 0), 0.262360, 1e-6);
  const double gain = refit(w, h, 0, m);
  EXPECT_NEAR(m.scales[0], 1.076305, 1e-6);
  EXPECT_NEAR(m.scales[1], -0.702982, 1e-6);
  EXPECT_NEAR(loss(w, m, h, 0), 0.230948, 1e-6);
  EXPECT_NEAR(gain, 0.262360 - 0.230948, 1e-6);
  const Floats identity = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
  refit(w, identity, 0, m);
  EXPECT_NEAR(m.scales[0], 1.04, 1e-6);
  EXPECT_NEAR(m.scales[1], -0.63, 1e-6);
  m.scales = {1.076305f, -0.702982f};
  const Floats decoded = m.dequantize();
  EXPECT_NEAR(decoded[0] + 2 * decoded[1] - decoded[2] + 3 * decoded[3],
              0.416986, 1e-5);
}

TEST(DualBinarization, SplittingRuleIsTheNearestLevelOfAnyScales) {
  const Floats random = normalMatrix(3000, 5, 1.0f);
  for (size_t trial = 0; trial != 200; ++trial) {
    const DualScales scales{random[2 * trial], random[2 * trial + 1]};
    const Floats w(random.begin() + 400 + trial, random.begin() + 600 + trial);
    const float levels[4] = {0, scales.first, scales.second,
                             scales.first + scales.second};
    const Codes codes = codesOf(w, scales);
    const bool valid = scales.first > 0 && scales.second < 0 &&
                       scales.first + scales.second > 0;
    for (size_t i = 0; i != w.size(); ++i) {
      for (float level : levels)
        EXPECT_LE(std::fabs(w[i] - levels[codes[i]]),
                  std::fabs(w[i] - level) + 1e-6f);
      if (!valid)
        continue;
      const bool b1 = w[i] >= (scales.first + scales.second) / 2;
      const bool b2 = w[i] <= scales.first * b1 + scales.second / 2;
      EXPECT_EQ(codes[i], b1 + 2 * b2);
    }
  }
  // Ties, and the same mirrored.
  EXPECT_EQ(codesOf({-0.5f, 0.5f, 1.5f}, {2, -1}), (Codes{2, 3, 3}));
  EXPECT_EQ(codesOf({0.5f, -0.5f, -1.5f}, {-2, 1}), (Codes{2, 3, 3}));
}

TEST(DualBinarization, TiedScalesAreTheSignedGrid) {
  const Floats w = normalMatrix(500, 6, 1.0f);
  for (float s : {0.3f, 0.7f, 1.3f}) {
    const Floats result = rounded(w, {2 * s, -s});
    for (size_t i = 0; i != w.size(); ++i)
      EXPECT_NEAR(result[i],
                  s * std::clamp(std::nearbyint(w[i] / s), -1.0f, 2.0f), 1e-6f);
  }
}

TEST(DualBinarization, NegatedWeightsHaveTheSamePlanes) {
  for (uint64_t seed = 0; seed != 30; ++seed) {
    Floats w = normalMatrix(60, seed, 1.0f);
    Floats negated = w;
    for (float &value : negated)
      value = -value;
    const DualScales a = fitDualScales(w, exact());
    const DualScales b = fitDualScales(negated, exact());
    EXPECT_EQ(a.first, -b.first);
    EXPECT_EQ(a.second, -b.second);
    EXPECT_EQ(codesOf(w, a), codesOf(negated, b));
  }
}

TEST(DualBinarization, EveryStepOfTheSearchHelps) {
  // Mean square errors of normal weights in groups of 128.
  double largest = 0, grid = 0, search = 0;
  const int groups = 100;
  for (int seed = 0; seed != groups; ++seed) {
    const Floats w = normalMatrix(128, 1000 + seed, 1.0f);
    double before = fitError(w, exact(DualStart::Largest, 0));
    largest += before;
    for (int rounds = 1; rounds != 8; ++rounds) {
      const double error = fitError(w, exact(DualStart::Largest, rounds));
      EXPECT_LE(error, before * (1 + 1e-6));
      before = error;
    }
    const double start = fitError(w, exact(DualStart::Search, 0));
    const double end = fitError(w, exact());
    EXPECT_LE(end, start * (1 + 1e-6));
    grid += start;
    search += end;
  }
  EXPECT_NEAR(largest / 128 / groups, 0.187, 0.01);
  EXPECT_NEAR(grid / 128 / groups, 0.1325, 0.004);
  EXPECT_NEAR(search / 128 / groups, 0.1225, 0.004);
}

TEST(DualBinarization, MatricesHaveFourLevelsAndF16Scales) {
  DualBinaryOptions options;
  options.groupSize = 32;
  const Floats w = normalMatrix(5 * 83, 7);
  const DualMatrix m = binarize(w, 5, options);
  EXPECT_EQ(m.groups(), 3);
  const Floats decoded = m.dequantize();
  for (float scale : m.scales)
    EXPECT_EQ(decodeF16(encodeF16(scale)), scale);
  for (int64_t i = 0; i != 5 * 83; ++i) {
    const DualScales s = m.scalesOf(i / 83, i % 83);
    EXPECT_TRUE(decoded[i] == 0 || decoded[i] == s.first ||
                decoded[i] == s.second || decoded[i] == s.first + s.second);
    EXPECT_EQ(codesOf({w[i]}, s)[0], m.codes[i]);
  }
}

TEST(DualBinarization, OddGroups) {
  const DualBinaryOptions f16;
  for (const auto &options : {exact(), f16}) {
    EXPECT_EQ(rounded({0, 0, 0}, fitDualScales(Floats{0, 0, 0}, options)),
              (Floats{0, 0, 0}));
    for (const Floats &w : {Floats{0.5f, 0.5f, 0.5f}, Floats{-0.25f},
                            Floats{0.5f, -0.25f}, Floats{0, 0, -2, 0}})
      EXPECT_EQ(rounded(w, fitDualScales(w, options)), w);
    EXPECT_EQ(fitDualScales(Floats{}, options).first, 0);
  }
  // Beyond f16 at either end.
  for (float size : {1e-9f, 1e9f, 3e38f})
    for (float value :
         rounded({size, -size}, fitDualScales({{size, -size}}, f16)))
      EXPECT_LE(std::fabs(value), 2 * 65504);
  const float infinity = std::numeric_limits<float>::infinity();
  const Floats w = {1, 2, 3, -infinity};
  DualMatrix m(2, 2, exact());
  auto bad = quantizeDualBinary(w.data(), 2, 2, m.options, m.storage());
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->row, 1);
  EXPECT_EQ(bad->column, 1);
}

TEST(DualBinarization, CompensationAndRefitLowerTheLoss) {
  const int64_t rows = 20, columns = 83;
  const Floats w = normalMatrix(rows * columns, 8);
  Floats x = correlatedInputs(300, columns, 5);
  for (int64_t t = 0; t != 300; ++t)
    x[t * columns + 11] = 0; // a dead column
  const Floats h = secondMoment(x, columns, 1.0 / 300);
  ThreadPool pool(2);
  for (auto type : {ScaleType::F16, ScaleType::F32})
    for (int64_t groupSize : {0, 1, 2, 32, 50})
      for (auto order : {GPTQOrder::Natural, GPTQOrder::GroupAware}) {
        DualBinaryOptions options;
        options.groupSize = groupSize;
        options.scaleType = type;
        GPTQOptions choices;
        choices.order = order;
        choices.groupSize = groupSize;
        DualMatrix m = compensate(w, rows, h, options, choices);
        const double lambda =
            GPTQFactor::create(h, columns, choices, pool)->addedToDiagonal();
        Floats alive = w;
        for (int64_t r = 0; r != rows; ++r) {
          alive[r * columns + 11] = 0;
          EXPECT_EQ(m.dequantize()[r * columns + 11], 0);
        }
        const double before = loss(alive, m, h, lambda);
        EXPECT_NEAR(m.loss.squaredErrors, before, 1e-4 * before + 1e-9);
        EXPECT_LE(before,
                  loss(alive, binarize(alive, rows, options), h, lambda));
        const double gain = refit(w, h, lambda, m);
        const double after = loss(alive, m, h, lambda);
        EXPECT_LE(after, before * (1 + 1e-6));
        EXPECT_NEAR(before - after, gain, 1e-3 * gain + 1e-5 * before);
        if (groupSize >= 32) {
          EXPECT_GT(gain, 0.01 * before);
        }
        if (type == ScaleType::F32 && groupSize >= 32) {
          // Nothing is left to gain.
          EXPECT_LT(refit(w, h, lambda, m), 1e-5 * before);
        }
        for (float scale : m.scales)
          EXPECT_TRUE(std::isfinite(scale));
      }
}

TEST(DualBinarization, RefitOfMoreGroupsThanAreSolvedForTogether) {
  const int64_t rows = 3, columns = 601;
  const Floats w = normalMatrix(rows * columns, 9);
  Floats h(columns * columns);
  for (int64_t i = 0; i != columns; ++i)
    for (int64_t j = 0; j != columns; ++j)
      h[i * columns + j] = static_cast<float>(
          std::exp(-0.05 * std::abs(static_cast<double>(i - j))));
  DualBinaryOptions options = exact();
  options.groupSize = 4;
  DualMatrix m = binarize(w, rows, options);
  double before = loss(w, m, h, 0.01);
  for (int sweep = 0; sweep != 3; ++sweep) {
    const double gain = refit(w, h, 0.01, m);
    const double after = loss(w, m, h, 0.01);
    EXPECT_GT(gain, 0);
    EXPECT_NEAR(before - after, gain, 1e-3 * before);
    before = after;
  }
}

TEST(DualBinarization, PlanesWithoutBitsKeepTheirScales) {
  const Floats h = {2, 1, 0, 1, 2, 1, 0, 1, 2};
  const Floats w = {1, 0.5f, -0.5f};
  DualMatrix m(1, 3, exact());
  m.scales = {0.7f, -0.3f};
  m.codes = {0, 0, 0};
  EXPECT_EQ(refit(w, h, 0, m), 0);
  EXPECT_EQ(m.scales, (Floats{0.7f, -0.3f}));
  m.codes = {1, 1, 0};
  EXPECT_GT(refit(w, h, 0, m), 0);
  EXPECT_EQ(m.scales[1], -0.3f);
  m.scales[0] = 0.7f;
  m.codes = {0, 0, 2};
  EXPECT_GT(refit(w, h, 0, m), 0);
  EXPECT_EQ(m.scales[0], 0.7f);
  m.scales[1] = -0.3f;
  m.codes = {3, 3, 0}; // only the sum of both counts
  EXPECT_GT(refit(w, h, 0, m), 0);
  EXPECT_EQ(m.scales[1], -0.3f);
  // No inputs at all.
  EXPECT_EQ(refit(w, Floats(9), 0, m), 0);
}

TEST(DualBinarization, SurvivesCompensationThatOverflows) {
  const int64_t columns = 64;
  Floats w(columns), h(columns * columns, 0.999f);
  for (int64_t j = 0; j != columns; ++j) {
    w[j] = j % 3 ? 3e38f : -3e38f;
    h[j * columns + j] = 1;
  }
  DualBinaryOptions options = exact();
  options.groupSize = 16;
  DualMatrix m = compensate(w, 1, h, options, {.damp = 0});
  refit(w, h, 0, m);
  for (float scale : m.scales)
    EXPECT_TRUE(std::isfinite(scale));
  EXPECT_LE(*std::max_element(m.codes.begin(), m.codes.end()), 3);
}

TEST(DualBinarization, EqualBitsForAnyThreads) {
  const int64_t rows = 400, columns = 96;
  const Floats w = normalMatrix(rows * columns, 12);
  const Floats h = secondMoment(correlatedInputs(200, columns, 6), columns, 1);
  DualBinaryOptions options;
  options.groupSize = 32;
  DualMatrix one = compensate(w, rows, h, options, {}, 1);
  DualMatrix three = compensate(w, rows, h, options, {}, 3);
  EXPECT_EQ(one.codes, three.codes);
  EXPECT_EQ(one.scales, three.scales);
  EXPECT_EQ(one.loss.squaredErrors, three.loss.squaredErrors);
  const double gain = refit(w, h, 0.01, one, 1);
  EXPECT_EQ(gain, refit(w, h, 0.01, three, 3));
  EXPECT_GT(gain, 0);
  EXPECT_EQ(one.scales, three.scales);
}
} // namespace
