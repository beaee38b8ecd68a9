//===- PartialBinarizationTest.cpp - PB-LLM -------------------------------===//
//
// The examples and properties of docs/methods/pb-llm.md.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/PartialBinarization.h"
#include "Calibration.h"
#include "llq/Numerics/Float16.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>
#include <set>

using namespace llq;
using namespace llq::numerics;

namespace {
struct Options : PartialBinaryOptions {
  Options() { rounds = 0; }

  GPTQOrder order = GPTQOrder::Natural;
  int64_t blockSize = 256;
  double damp = 0.01;
  unsigned threads = 2;
};

/// A layer after PB-LLM.
struct Layer {
  int64_t rows, columns, groupSize;
  std::vector<uint8_t> codes, salient, salientZeros;
  std::vector<float> scales, offsets, salientScales;
  CompensatedLoss loss;
  std::optional<NonFiniteWeight> bad;

  PartialBinaryRows storage() {
    return {codes.data(),   salient.data(),       scales.data(),
            offsets.data(), salientScales.data(), salientZeros.data()};
  }
  std::vector<float> dequantize() {
    std::vector<float> weights(codes.size());
    dequantizePartialBinary(storage(), rows, columns, groupSize,
                            weights.data());
    return weights;
  }
  int64_t countSalient() const {
    return std::accumulate(salient.begin(), salient.end(), int64_t(0));
  }
};

Layer quantize(const std::vector<float> &weights, int64_t rows,
               const std::vector<float> &h, const Options &options) {
  ThreadPool pool(options.threads);
  const int64_t columns = static_cast<int64_t>(weights.size()) / rows;
  const size_t groups =
      rows *
      UniformGridOptions{.groupSize = options.groupSize}.groupsPerRow(columns);
  GPTQOptions choice;
  choice.order = options.order;
  choice.staticGroups = true;
  choice.blockSize = options.blockSize;
  choice.damp = options.damp;
  auto factor = GPTQFactor::create(h, columns, choice, pool);
  EXPECT_TRUE(factor);
  Layer layer{rows,
              columns,
              options.groupSize,
              std::vector<uint8_t>(weights.size()),
              std::vector<uint8_t>(weights.size()),
              std::vector<uint8_t>(rows),
              std::vector<float>(groups),
              std::vector<float>(groups),
              std::vector<float>(rows),
              {},
              {}};
  layer.bad = quantizePartialBinary(weights.data(), rows, *factor, options,
                                    layer.storage(), layer.loss, pool);
  return layer;
}

/// A layer with correlated inputs, one of which is dead.
struct Problem {
  int64_t rows, columns;
  std::vector<float> weights, h;

  Problem(int64_t rows, int64_t columns, uint64_t seed)
      : rows(rows), columns(columns),
        weights(normalMatrix(rows * columns, seed)) {
    auto x = correlatedInputs(3 * columns, columns, seed);
    for (size_t t = 0; t != x.size(); t += columns)
      x[t + 5] = 0;
    h = secondMoment(x, columns, 1.0);
  }
  Layer quantize(const Options &options) const {
    return ::quantize(weights, rows, h, options);
  }
  double error(Layer &layer) const {
    return outputError(weights, layer.dequantize(), h, columns);
  }
};

TEST(PartialBinarization, ExampleOneGroup) {
  const std::vector<float> w = {0.9f,  -0.2f,  0.1f,  -0.3f,
                                0.25f, -0.15f, 0.05f, -1.1f};
  Options options;
  options.salient = 0.26; // ranks up to floor(8 * 0.74) are not salient
  options.criterion = SalienceCriterion::Magnitude;
  options.scaleType = ScaleType::F32;
  for (int64_t groupSize : {0, 8, 128}) {
    options.groupSize = groupSize;
    options.binaryScale = BinaryScale::Masked;
    auto layer = quantize(w, 1, identity(8), options);
    EXPECT_EQ(layer.salient, (std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 0, 1}));
    EXPECT_EQ(layer.codes, (std::vector<uint8_t>{255, 0, 1, 0, 1, 0, 1, 0}));
    EXPECT_NEAR(layer.salientScales[0], 2.0 / 255, 1e-8);
    EXPECT_EQ(layer.salientZeros[0], 140);
    EXPECT_NEAR(layer.scales[0], 2 * 0.175, 1e-6);
    EXPECT_NEAR(layer.offsets[0], -0.2166667, 1e-6);
    const float low = -0.2166667f, high = 0.1333333f;
    expectNear(layer.dequantize(),
               {0.9019608f, low, high, low, high, low, high, -1.0980392f},
               1e-6);

    options.binaryScale = BinaryScale::Reference;
    layer = quantize(w, 1, identity(8), options);
    EXPECT_NEAR(layer.scales[0], 2 * 0.1390625, 1e-6);
    EXPECT_NEAR(layer.offsets[0], -0.1703125, 1e-6);
  }
}

TEST(PartialBinarization, ExampleWholeLayer) {
  const auto w = congruentialMatrix(16, 1);
  EXPECT_NEAR(w[1], -0.648517, 1e-6);
  const auto given = congruentialMatrix(128, 2);
  std::vector<float> x(128);
  for (int t = 0; t != 16; ++t)
    for (int j = 0; j != 8; ++j)
      x[t * 8 + j] = given[j * 16 + t];
  const auto h = secondMoment(x, 8, 2.0 / 16);
  Options options;
  options.salient = 0.25;
  options.groupSize = 4;
  options.scaleType = ScaleType::F32;
  auto layer = quantize(w, 2, h, options);
  EXPECT_EQ(layer.salient, (std::vector<uint8_t>{0, 0, 0, 0, 0, 0, 0, 0, //
                                                 0, 0, 1, 0, 0, 0, 1, 0}));
  expectNear(layer.scales,
             {2 * 0.282006f, 2 * 0.625846f, 2 * 0.282213f, 2 * 0.189111f},
             2e-6);
  expectNear(layer.dequantize(),
             {0.048404f, -0.515607f, -0.515607f, 0.048404f, 0.649859f,
              -0.601833f, 0.649859f, -0.601833f, //
              -0.045026f, -0.609453f, -0.811348f, -0.045026f, -0.401981f,
              -0.023760f, 0.966563f, -0.023760f},
             2e-6);
  EXPECT_NEAR(layer.loss.squaredErrors, 0.159027, 1e-5);
  options.binaryScale = BinaryScale::Reference;
  EXPECT_NEAR(quantize(w, 2, h, options).loss.squaredErrors, 0.205056, 1e-5);
}

TEST(PartialBinarization, LossIsTheErrorAtTheOutput) {
  const Problem problem(20, 90, 1);
  double mean = 0;
  for (int64_t j = 0; j != 90; ++j)
    mean += (j == 5 ? 1.0 : problem.h[j * 91]) / 90;
  for (auto order : {GPTQOrder::Natural, GPTQOrder::Activation})
    for (int64_t groupSize : {0, 32, 90}) {
      Options options;
      options.order = order;
      options.groupSize = groupSize;
      auto layer = problem.quantize(options);
      const double error = problem.error(layer);
      EXPECT_NEAR(layer.loss.outputError, error, 1e-5 * error);
      auto rounded = layer.dequantize();
      auto live = problem.weights;
      for (int64_t r = 0; r != 20; ++r)
        live[r * 90 + 5] = rounded[r * 90 + 5];
      EXPECT_NEAR(layer.loss.squaredErrors,
                  error + 0.01 * mean * squaredDistance(live, rounded),
                  1e-5 * error);
    }
}

TEST(PartialBinarization, IndependentInputsGiveNearestValues) {
  const int64_t rows = 30, columns = 100, groups = 7;
  const auto w = normalMatrix(rows * columns, 2);
  Options options;
  options.groupSize = 16;
  auto layer = quantize(w, rows, identity(columns), options);
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = 0; j != columns; ++j) {
      const int64_t at = r * columns + j, group = r * groups + j / 16;
      const float low = layer.offsets[group],
                  high = layer.scales[group] + layer.offsets[group];
      if (layer.salient[at])
        EXPECT_NEAR(layer.dequantize()[at], w[at],
                    0.5001f * layer.salientScales[r]);
      else
        EXPECT_EQ(layer.codes[at],
                  std::fabs(w[at] - high) <= std::fabs(w[at] - low));
    }
}

TEST(PartialBinarization, NumberOfSalientWeights) {
  const Problem problem(50, 100, 3);
  const int64_t live = 50 * 99;
  for (auto criterion :
       {SalienceCriterion::Magnitude, SalienceCriterion::Hessian,
        SalienceCriterion::InverseDiagonal})
    for (double salient : {0.0, 1e-9, 0.1, 1.0 / 7, 0.5, 0.9999999, 1.0}) {
      Options options;
      options.criterion = criterion;
      options.salient = salient;
      options.groupSize = 0;
      options.rounds = criterion == SalienceCriterion::Hessian ? 1 : 0;
      const double rank = std::floor(live * (1 - salient));
      const auto expected =
          int64_t(salient == 1 ? live : std::max(0.0, live - 1 - rank));
      auto layer = problem.quantize(options);
      EXPECT_EQ(layer.countSalient(), expected) << salient;
      for (float value : layer.dequantize())
        EXPECT_TRUE(std::isfinite(value));
      for (int64_t r = 0; r != 50; ++r)
        EXPECT_EQ(layer.salient[r * 100 + 5], 0); // a dead column
    }
}

TEST(PartialBinarization, SalienceIsThatOfTheCriterion) {
  // Independent columns: V_jj^2 = H_jj and [H^-1]_jj = 1 / H_jj.
  std::vector<float> h = identity(4);
  for (int j = 0; j != 4; ++j)
    h[5 * j] = float(j + 1);
  const std::vector<float> w = {4, 2.4f, 2.2f, 1.8f};
  auto salientColumn = [&](SalienceCriterion criterion) {
    Options options;
    options.criterion = criterion;
    options.salient = 0.5;
    options.damp = 0;
    auto layer = quantize(w, 1, h, options);
    EXPECT_EQ(layer.countSalient(), 1);
    return std::find(layer.salient.begin(), layer.salient.end(), 1) -
           layer.salient.begin();
  };
  EXPECT_EQ(salientColumn(SalienceCriterion::Magnitude), 0);
  EXPECT_EQ(salientColumn(SalienceCriterion::Hessian), 0);
  EXPECT_EQ(salientColumn(SalienceCriterion::InverseDiagonal), 3);
}

TEST(PartialBinarization, TwoValuesAreExact) {
  const int64_t rows = 6, columns = 40, groups = 3;
  std::vector<float> w(rows * columns);
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = 0; j != columns; ++j) {
      const float mean = 0.25f * float(r) - 0.5f, scale = float(1 + j / 16);
      w[r * columns + j] = mean + (j % 2 ? scale : -scale);
    }
  Options options;
  options.salient = 0;
  options.groupSize = 16;
  const auto h = secondMoment(correlatedInputs(90, columns, 4), columns, 1.0);
  auto layer = quantize(w, rows, h, options);
  EXPECT_EQ(layer.dequantize(), w);
  EXPECT_EQ(layer.scales.size(), size_t(rows * groups));
  EXPECT_NEAR(layer.loss.squaredErrors, 0, 1e-6);
}

TEST(PartialBinarization, EqualWeightsNeedNoScale) {
  const std::vector<float> w(64, 0.375f);
  Options options;
  options.groupSize = 16;
  auto layer = quantize(w, 2, identity(32), options);
  EXPECT_EQ(layer.countSalient(), 0); // ties at the threshold
  EXPECT_EQ(layer.scales, std::vector<float>(4, 0.0f));
  EXPECT_EQ(layer.dequantize(), w);
  layer = quantize(std::vector<float>(64), 2, identity(32), options);
  EXPECT_EQ(layer.dequantize(), std::vector<float>(64));
}

TEST(PartialBinarization, EverythingStoredIsExactInItsType) {
  const Problem problem(20, 90, 5);
  auto layer = problem.quantize({});
  for (const auto *values :
       {&layer.scales, &layer.offsets, &layer.salientScales})
    for (float value : *values)
      EXPECT_EQ(decodeF16(encodeF16(value)), value);
  // Beyond f16 values are the largest there is.
  std::vector<float> large = problem.weights;
  for (float &value : large)
    value *= 1e8f;
  layer = quantize(large, 20, problem.h, {});
  for (float value : layer.dequantize())
    EXPECT_TRUE(std::isfinite(value));
}

TEST(PartialBinarization, BlockSizeDoesNotMatter) {
  const Problem problem(16, 100, 6);
  Options options;
  options.groupSize = 24;
  auto whole = problem.quantize(options);
  for (int64_t block : {1, 16, 24}) {
    options.blockSize = block;
    auto layer = problem.quantize(options);
    EXPECT_EQ(layer.salient, whole.salient);
    EXPECT_EQ(layer.codes, whole.codes) << block;
  }
}

TEST(PartialBinarization, EqualBitsForAnyThreads) {
  const Problem problem(600, 70, 7);
  Options options;
  options.groupSize = 32;
  options.rounds = 1;
  options.threads = 1;
  auto one = problem.quantize(options);
  options.threads = 3;
  auto three = problem.quantize(options);
  EXPECT_EQ(one.codes, three.codes);
  EXPECT_EQ(one.salient, three.salient);
  EXPECT_EQ(one.scales, three.scales);
  EXPECT_EQ(one.offsets, three.offsets);
  EXPECT_EQ(one.salientScales, three.salientScales);
  EXPECT_EQ(one.salientZeros, three.salientZeros);
  EXPECT_EQ(one.loss.squaredErrors, three.loss.squaredErrors);
}

TEST(PartialBinarization, MoreSalientWeightsCostLess) {
  // Statistical, not an invariant.
  for (uint64_t seed : {1, 2, 3}) {
    const Problem problem(64, 128, 100 + seed);
    double last = std::numeric_limits<double>::infinity();
    for (double salient : {0.0, 0.05, 0.1, 1.0 / 7, 0.5, 1.0}) {
      Options options;
      options.salient = salient;
      auto layer = problem.quantize(options);
      EXPECT_LT(layer.loss.outputError, last);
      last = layer.loss.outputError;
      if (salient != 0.1)
        continue;
      options.rounds = 1;
      EXPECT_LT(problem.quantize(options).loss.outputError, 0.95 * last);
    }
  }
}

TEST(PartialBinarization, NonFiniteWeightsAreFound) {
  auto weights = normalMatrix(12, 1);
  weights[7] = std::numeric_limits<float>::quiet_NaN();
  auto layer = quantize(weights, 3, identity(4), {});
  ASSERT_TRUE(layer.bad);
  EXPECT_EQ(layer.bad->row, 1);
  EXPECT_EQ(layer.bad->column, 3);
}
} // namespace
