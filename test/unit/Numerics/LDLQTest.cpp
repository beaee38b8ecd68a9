//===- LDLQTest.cpp - Worked examples and properties of LDLQ -------------===//
//
// The examples of docs/methods/quip.md, and the recursion of the paper in plain
// loops of f64.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/LDLQ.h"
#include "Calibration.h"
#include "GPTQReference.h"
#include "llq/Numerics/Incoherence.h"
#include "llq/Numerics/Rotation.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <limits>

using namespace llq;
using namespace llq::numerics;

namespace {
using Codes = std::vector<uint8_t>;

struct LDLQLayer {
  LDLQGrid grid;
  Codes codes;

  std::vector<float> dequantize() const {
    std::vector<float> weights;
    for (uint8_t code : codes)
      weights.push_back(grid.scale * (static_cast<float>(code) - grid.zero));
    return weights;
  }
};

struct Settings : LDLQOptions {
  double damp = 0;
  GPTQOrder order = GPTQOrder::Reverse;
  int64_t blockSize = 128;

  Settings() { scaleType = ScaleType::F32; }
};

LDLQLayer ldlq(const std::vector<float> &weights, int64_t rows,
               const std::vector<float> &h, const Settings &options,
               unsigned threads = 2) {
  ThreadPool pool(threads);
  GPTQOptions factorOptions;
  factorOptions.groupSize = 0;
  factorOptions.order = options.order;
  factorOptions.damp = options.damp;
  factorOptions.blockSize = options.blockSize;
  const auto columns = static_cast<int64_t>(weights.size()) / rows;
  const auto factor = GPTQFactor::create(h, columns, factorOptions, pool);
  LDLQLayer layer{{}, Codes(weights.size())};
  if (!factor || quantizeLDLQ(weights.data(), rows, *factor, h, options,
                              layer.codes.data(), layer.grid, pool))
    layer.codes.clear(); // no test expects an empty result
  return layer;
}

double rms(const std::vector<float> &values) {
  double sum = 0;
  for (float value : values)
    sum += double(value) * value;
  return std::sqrt(sum / double(values.size()));
}

/// One row at the positions t of the codes of a grid in steps of 1.
LDLQLayer atPositions(std::vector<float> t, const std::vector<float> &h) {
  Settings options;
  for (float &value : t)
    value -= options.zero();
  options.range = options.zero() / rms(t);
  LDLQLayer layer = ldlq(t, 1, h, options);
  EXPECT_NEAR(layer.grid.scale, 1, 1e-6);
  return layer;
}

/// The levels of a row, one step apart, that LDLQ as the paper has it rounds
/// the positions t to: H = L D L^T, in f64.
std::vector<double> referenceLDLQ(const std::vector<double> &t,
                                  const std::vector<double> &h, int64_t n,
                                  int maxCode, double &loss) {
  const std::vector<double> c = lowerCholesky(h, n);
  std::vector<double> codes(n);
  loss = 0;
  for (int64_t j = n - 1; j >= 0; --j) {
    double a = t[j];
    for (int64_t i = j + 1; i != n; ++i)
      a += (t[i] - codes[i]) * c[i * n + j] / c[j * n + j];
    codes[j] = std::clamp<double>(std::floor(a + 0.5), 0, maxCode);
    loss += c[j * n + j] * c[j * n + j] * (codes[j] - a) * (codes[j] - a);
  }
  return codes;
}

/// GPTQ as published, from the first column on, by the inverse of H.
std::vector<double> referenceGPTQ(std::vector<double> t,
                                  const std::vector<double> &h, int64_t n,
                                  int maxCode) {
  const std::vector<double> u = inverseFactor(h, n);
  std::vector<double> codes(n);
  for (int64_t j = 0; j != n; ++j) {
    codes[j] = std::clamp<double>(std::floor(t[j] + 0.5), 0, maxCode);
    const double error = (t[j] - codes[j]) / u[j * n + j];
    for (int64_t i = j; i != n; ++i)
      t[i] -= error * u[j * n + i];
  }
  return codes;
}

TEST(LDLQ, ExampleATwoColumns) {
  const auto layer = atPositions({0.6f, 0.7f}, {2, 1, 1, 2});
  EXPECT_EQ(layer.codes, (Codes{0, 1}));
  EXPECT_NEAR(layer.grid.outputError, 0.54, 1e-6);
}

TEST(LDLQ, ExampleBThreeColumns) {
  const std::vector<float> h = {4, 2, 1, 2, 3, 1, 1, 1, 2};
  const auto layer = atPositions({0.6f, 0.7f, 0.7f}, h);
  EXPECT_EQ(layer.codes, (Codes{0, 1, 1}));
  EXPECT_NEAR(layer.grid.outputError, 0.99, 1e-6);
  EXPECT_NEAR(outputError({0.6f, 0.7f, 0.7f}, {1, 1, 1}, h, 3), 1.99, 1e-6);
}

TEST(LDLQ, ExampleCNearestOnRotatedWeightsAndItsOutput) {
  const std::vector<float> w = {0.48f, -1.44f, -0.64f, 1.92f,
                                0.36f, 1.92f,  -0.48f, -2.56f};
  std::vector<float> identity(16);
  for (int i = 0; i != 4; ++i)
    identity[5 * i] = 1;
  Settings options;
  options.range = 2.4;
  const auto layer = ldlq(w, 2, identity, options);
  EXPECT_NEAR(layer.grid.scale * layer.grid.zero, 3.498571, 1e-6);
  EXPECT_EQ(layer.grid.zero, 1.5f);
  EXPECT_EQ(layer.codes, (Codes{2, 1, 1, 2, 2, 2, 1, 0}));
  // y = R^T (scale (k . v) - scale zero sum v), as a kernel computes it.
  const float v[] = {4.4f, -3, 0.8f, -1};
  float y[2] = {};
  for (int i = 0; i != 8; ++i)
    y[i / 4] += v[i % 4] * (float(layer.codes[i]) - layer.grid.zero);
  ThreadPool pool(1);
  KroneckerRotation r({2, 1, {0.6f, 0.8f, -0.8f, 0.6f}, {1}, {0, 1}, {0, 1}});
  r.applyTransposed(y, 1, pool);
  EXPECT_NEAR(layer.grid.scale * y[0], 0.559771, 1e-5);
  EXPECT_NEAR(layer.grid.scale * y[1], 7.743504, 1e-5);
}

/// 2 x / 2^31 - 1 of the example's generator.
std::vector<float> lcg(size_t count, uint32_t x) {
  std::vector<float> values;
  for (size_t i = 0; i != count; ++i) {
    x = (1103515245u * x + 12345u) & 0x7fffffffu;
    values.push_back(static_cast<float>(2.0 * x / 2147483648.0 - 1));
  }
  return values;
}

TEST(LDLQ, ExampleEOfTwoRanges) {
  const auto w = lcg(16, 1), channels = lcg(128, 2);
  std::vector<float> x(128); // the example has tokens as columns
  for (int j = 0; j != 8; ++j)
    for (int t = 0; t != 16; ++t)
      x[t * 8 + j] = channels[j * 16 + t];
  auto h = secondMoment(x, 8, 2.0 / 16);
  double mean = 0;
  for (int j = 0; j != 8; ++j)
    mean += h[9 * j] / 8;
  for (int j = 0; j != 8; ++j)
    h[9 * j] += float(0.01 * mean);
  for (bool clampFirst : {false, true}) {
    Settings options;
    options.clampFirst = clampFirst;
    options.range = 2.4;
    auto layer = ldlq(w, 2, h, options);
    EXPECT_NEAR(layer.grid.scale * layer.grid.zero, 1.311895, 1e-6);
    EXPECT_EQ(layer.codes,
              (Codes{1, 1, 1, 2, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 3, 2}));
    EXPECT_NEAR(layer.grid.outputError, 0.603162, 1e-6);
    options.range = 1.6;
    layer = ldlq(w, 2, h, options);
    EXPECT_NEAR(layer.grid.scale * layer.grid.zero, 0.874597, 1e-6);
    EXPECT_EQ(layer.codes,
              (Codes{1, 0, 1, 2, 3, 0, 2, 1, 1, 0, 0, 1, 1, 1, 3, 2}));
    EXPECT_NEAR(layer.grid.outputError, 0.266453, 1e-6);
  }
}

/// Rows of normal deviates and the second moment of correlated inputs.
struct Problem {
  int64_t rows, columns;
  std::vector<float> w = normalMatrix(rows * columns, 21, 1.0f);
  std::vector<float> h =
      secondMoment(correlatedInputs(2 * columns, columns, 22), columns,
                   0.5 / double(columns));

  Problem(int64_t rows, int64_t columns) : rows(rows), columns(columns) {}
};

TEST(LDLQ, EqualsThePaperAndGPTQOfReversedColumns) {
  const Problem problem(8, 70);
  const auto [rows, n] = std::pair(problem.rows, problem.columns);
  const std::vector<double> h(problem.h.begin(), problem.h.end());
  const std::vector<double> reversedH(h.rbegin(), h.rend());
  for (unsigned bits : {2, 3, 4})
    for (int64_t blockSize : {1, 32, 128}) {
      Settings options;
      options.bits = bits;
      options.range = 2;
      options.blockSize = blockSize;
      const LDLQLayer layer = ldlq(problem.w, rows, problem.h, options);
      double total = 0;
      for (int64_t r = 0; r != rows; ++r) {
        std::vector<double> t;
        for (int64_t j = 0; j != n; ++j)
          t.push_back(problem.w[r * n + j] / double(layer.grid.scale) +
                      layer.grid.zero);
        double loss;
        const auto codes = referenceLDLQ(t, h, n, options.maxCode(), loss);
        total += loss * layer.grid.scale * layer.grid.scale;
        EXPECT_TRUE(std::equal(codes.begin(), codes.end(),
                               layer.codes.begin() + r * n));
        std::reverse(t.begin(), t.end());
        auto gptq = referenceGPTQ(t, reversedH, n, options.maxCode());
        std::reverse(gptq.begin(), gptq.end());
        EXPECT_EQ(codes, gptq);
      }
      // The loss is sum_j D_jj |eta_j|^2.
      EXPECT_NEAR(layer.grid.outputError / total, 1, 1e-4);
      EXPECT_NEAR(outputError(problem.w, layer.dequantize(), problem.h, n) /
                      total,
                  1, 1e-4);
    }
}

TEST(LDLQ, IndependentColumnsAreRoundedToTheNearest) {
  const Problem problem(5, 40);
  std::vector<float> h(1600);
  for (int j = 0; j != 40; ++j)
    h[41 * j] = float(j + 1);
  Settings options;
  options.range = 1.5;
  const LDLQLayer layer = ldlq(problem.w, 5, h, options);
  for (size_t i = 0; i != problem.w.size(); ++i) {
    const double t = problem.w[i] / layer.grid.scale + layer.grid.zero;
    EXPECT_EQ(layer.codes[i], std::clamp(std::floor(t + 0.5), 0.0, 3.0));
  }
}

TEST(LDLQ, SearchFindsAboutTheBestRange) {
  const Problem problem(40, 96);
  // From docs/methods/quip.md: about 1.6, 2.1 and 2.6 for normal deviates, and
  // errors that fall from those of 2.4 by a third at 2 bits.
  const double expected[] = {0, 0, 1.6, 2.1, 2.6};
  for (unsigned bits : {2, 3, 4}) {
    Settings options;
    options.bits = bits;
    options.damp = 0.01;
    const LDLQLayer layer = ldlq(problem.w, problem.rows, problem.h, options);
    EXPECT_NEAR(layer.grid.range, expected[bits], 0.35) << bits;
    for (double range = 1.2; range < 3.2; range += 0.1) {
      options.range = range;
      EXPECT_GT(
          ldlq(problem.w, problem.rows, problem.h, options).grid.outputError,
          0.97 * layer.grid.outputError)
          << bits << " " << range;
    }
    options.range = 2.4;
    options.clampFirst = true;
    const auto authors = ldlq(problem.w, problem.rows, problem.h, options);
    EXPECT_LT(layer.grid.outputError,
              (bits == 2 ? 0.7 : 1.0) * authors.grid.outputError);
    EXPECT_NEAR(outputError(problem.w, authors.dequantize(), problem.h,
                            problem.columns) /
                    authors.grid.outputError,
                1, 1e-3);
  }
}

TEST(LDLQ, LosesLessInAnIncoherentBasis) {
  // A column of large weights, and a channel of large inputs.
  Problem problem(64, 96);
  const int64_t n = problem.columns;
  ThreadPool pool(2);
  for (int64_t r = 0; r != problem.rows; ++r)
    problem.w[r * n + 17] *= 30;
  for (int64_t j = 0; j != n; ++j)
    problem.h[40 * n + j] *= 20, problem.h[j * n + 40] *= 20;
  Settings options;
  options.damp = 0.01;
  const std::vector<float> none(problem.w.size());
  const double all = outputError(problem.w, none, problem.h, n);
  const double alone =
      ldlq(problem.w, problem.rows, problem.h, options).grid.outputError / all;
  for (auto kind : {RotationKind::Hadamard, RotationKind::Kronecker}) {
    const auto v = makeRotation(kind, n, 1);
    const auto r = makeRotation(kind, problem.rows, 1);
    std::vector<double> squares(n);
    addColumnSquares(problem.w.data(), problem.rows, squares, pool);
    const auto scales = chooseInputScales(problem.h, squares);
    const IncoherentBasis basis{scales, v.get(), r.get()};
    auto w = problem.w, h = problem.h;
    basis.enterWeights(w.data(), problem.rows, n, pool);
    basis.enterSecondMoment(h.data(), n, pool);
    const double mean = normalizeSecondMoment(h.data(), n, 0.01, pool);
    const LDLQLayer layer = ldlq(w, problem.rows, h, options);
    auto back = layer.dequantize();
    basis.leaveWeights(back.data(), problem.rows, n, pool);
    const double error = outputError(problem.w, back, problem.h, n) / all;
    EXPECT_LT(error, 0.3 * alone);
    // What the loop reports has the ridge in it.
    EXPECT_LT(error, layer.grid.outputError * mean / all);
  }
}

TEST(LDLQ, GreedyPassesOnlyImprove) {
  const Problem problem(30, 150); // more than a panel
  for (auto order : {GPTQOrder::Reverse, GPTQOrder::Activation}) {
    Settings options;
    options.order = order;
    options.range = 1.6;
    double before = std::numeric_limits<double>::infinity();
    for (int passes : {0, 1, 2, 8}) {
      options.greedyPasses = passes;
      const auto layer = ldlq(problem.w, problem.rows, problem.h, options);
      EXPECT_LT(layer.grid.outputError, before) << passes;
      before = layer.grid.outputError;
      EXPECT_NEAR(outputError(problem.w, layer.dequantize(), problem.h,
                              problem.columns) /
                      before,
                  1, 1e-3);
    }
    // No code can move any more: each is the best for what the others are.
    options.greedyPasses = 50;
    const auto layer = ldlq(problem.w, problem.rows, problem.h, options);
    const auto rounded = layer.dequantize();
    const int64_t n = problem.columns;
    for (int64_t j = 0; j != n; ++j) {
      double slope = 0;
      for (int64_t i = 0; i != n; ++i)
        slope += (double(problem.w[i]) - rounded[i]) * problem.h[i * n + j];
      const double steps = slope / problem.h[j * (n + 1)] / layer.grid.scale;
      if (layer.codes[j] != 3) {
        EXPECT_LT(steps, 0.5 + 1e-4);
      }
      if (layer.codes[j] != 0) {
        EXPECT_GT(steps, -0.5 - 1e-4);
      }
    }
  }
}

TEST(LDLQ, EqualBitsForAnyThreads) {
  const Problem problem(600, 136);
  Settings options;
  options.bits = 3;
  options.damp = 0.01;
  options.greedyPasses = 1;
  for (bool clampFirst : {false, true}) {
    options.clampFirst = clampFirst;
    const auto one = ldlq(problem.w, problem.rows, problem.h, options, 1);
    const auto three = ldlq(problem.w, problem.rows, problem.h, options, 3);
    EXPECT_EQ(one.codes, three.codes);
    EXPECT_EQ(one.grid.range, three.grid.range);
    EXPECT_EQ(one.grid.outputError, three.grid.outputError);
  }
}

TEST(LDLQ, WeightsOfOneSizeOrNoneAreNoTrouble) {
  const std::vector<float> h = {1, 0, 0, 1};
  Settings options;
  options.scaleType = ScaleType::F16;
  const auto zeros = ldlq({0, 0}, 1, h, options);
  EXPECT_GT(zeros.grid.scale, 0);
  const auto tiny = ldlq({1e-30f, -1e-30f}, 1, h, options);
  EXPECT_EQ(tiny.grid.scale, 0x1p-24f);
  const auto same = ldlq({3, -3}, 1, h, options);
  EXPECT_LT(same.grid.outputError, 0.05);
}

TEST(LDLQ, NonFiniteWeightsAreFound) {
  ThreadPool pool(1);
  const std::vector<float> h = {1, 0, 0, 1};
  const std::vector<float> w = {1, 2, 3,
                                std::numeric_limits<float>::quiet_NaN()};
  GPTQOptions options;
  options.groupSize = 0;
  const auto factor = GPTQFactor::create(h, 2, options, pool);
  Codes codes(4);
  LDLQGrid grid;
  const auto bad = quantizeLDLQ(w.data(), 2, *factor, h, LDLQOptions(),
                                codes.data(), grid, pool);
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->row, 1);
  EXPECT_EQ(bad->column, 1);
}
} // namespace
