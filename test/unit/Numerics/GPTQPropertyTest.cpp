//===- GPTQPropertyTest.cpp - What holds for every layer ------------------===//
//
// The properties of docs/methods/gptq.md.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Calibration.h"
#include "QuantizeLayer.h"

#include <gtest/gtest.h>

using namespace llq;
using namespace llq::numerics;

namespace {
LayerOptions options(unsigned bits, int64_t groupSize) {
  LayerOptions result;
  result.grid.bits = bits;
  result.grid.groupSize = groupSize;
  return result;
}

/// Output errors of GPTQ and of RTN with the same grid options.
struct Comparison {
  double gptq, rtn;
};
Comparison compare(const std::vector<float> &weights, int64_t rows,
                   const std::vector<float> &h, const LayerOptions &options) {
  const int64_t columns = static_cast<int64_t>(weights.size()) / rows;
  auto layer = gptq(weights, rows, h, options);
  auto rtn = quantizeMatrix(weights, rows, options.grid);
  return {outputError(weights, layer.dequantize(), h, columns),
          outputError(weights, rtn.dequantize(), h, columns)};
}

TEST(GPTQProperty, LossIsTheErrorAtTheOutput) {
  const int64_t rows = 20, columns = 90;
  auto weights = normalMatrix(rows * columns, 1);
  const auto h = secondMoment(correlatedInputs(300, columns, 1), columns, 2.0);
  double mean = 0;
  for (int64_t j = 0; j != columns; ++j)
    mean += h[j * columns + j] / double(columns);
  for (auto order :
       {GPTQOrder::Natural, GPTQOrder::Activation, GPTQOrder::GroupAware})
    for (bool staticGroups : {false, true}) {
      LayerOptions choice = options(3, 32);
      choice.order = order;
      choice.staticGroups = staticGroups;
      choice.blockSize = 48;
      auto layer = gptq(weights, rows, h, choice);
      auto rounded = layer.dequantize();
      const double error = outputError(weights, rounded, h, columns);
      std::vector<float> delta(weights.size());
      double squares = 0;
      for (size_t i = 0; i != delta.size(); ++i) {
        delta[i] = weights[i] - rounded[i];
        squares += double(delta[i]) * delta[i];
      }
      EXPECT_NEAR(layer.loss.outputError, error, 1e-5 * error);
      EXPECT_NEAR(layer.loss.squaredErrors, error + 0.01 * mean * squares,
                  1e-5 * error);
      ThreadPool pool(2);
      EXPECT_NEAR(layer.factor->outputError(delta.data(), rows, pool), error,
                  1e-5 * error);
    }
}

TEST(GPTQProperty, IndependentInputsGiveRTN) {
  const int64_t rows = 30, columns = 100;
  const auto weights = normalMatrix(rows * columns, 2);
  std::vector<float> h(columns * columns);
  for (int64_t j = 0; j != columns; ++j)
    h[j * columns + j] = float(1 + (j * 37) % 11);
  for (auto scheme :
       {GridScheme::Asymmetric, GridScheme::Symmetric, GridScheme::Signed})
    for (auto order : {GPTQOrder::Natural, GPTQOrder::GroupAware})
      for (double damp : {0.0, 0.3}) {
        LayerOptions choice = options(4, 16);
        choice.grid.scheme = scheme;
        choice.order = order;
        choice.damp = damp;
        choice.blockSize = 32;
        auto layer = gptq(weights, rows, h, choice);
        auto rtn = quantizeMatrix(weights, rows, choice.grid);
        EXPECT_EQ(layer.matrix.codes, rtn.codes);
        EXPECT_EQ(layer.matrix.scales, rtn.scales);
      }
}

TEST(GPTQProperty, TwoColumnsAreNeverWorseThanRTN) {
  for (uint64_t seed = 0; seed != 200; ++seed) {
    auto weights = normalMatrix(2, seed);
    auto h = secondMoment(correlatedInputs(5, 2, seed), 2, 1.0);
    LayerOptions choice = options(8, 0);
    choice.damp = 0;
    // In the middle of the range no code is clamped.
    weights.insert(weights.end(), {-1, 1});
    std::vector<float> larger(16);
    larger[0] = h[0], larger[1] = larger[4] = h[1], larger[5] = h[3];
    auto layer = gptq(weights, 1, larger, choice);
    auto rtn = quantizeMatrix(weights, 1, choice.grid);
    const double error = outputError(weights, layer.dequantize(), larger, 4);
    EXPECT_LE(error,
              outputError(weights, rtn.dequantize(), larger, 4) * (1 + 1e-4) +
                  1e-12);
  }
}

TEST(GPTQProperty, DeadColumnsAreZeroAndMoveNothing) {
  const int64_t rows = 8, columns = 40, dead = 13;
  auto weights = normalMatrix(rows * columns, 3);
  auto x = correlatedInputs(100, columns, 2);
  for (size_t t = 0; t != x.size(); t += columns)
    x[t + dead] = 0;
  const auto h = secondMoment(x, columns, 1.0);
  // A grid per row that the dead column has no part in.
  LayerOptions choice = options(3, 0);
  for (auto order : {GPTQOrder::Natural, GPTQOrder::Activation}) {
    choice.order = order;
    std::vector<std::vector<uint8_t>> codes;
    for (float value : {0.0f, 0.01f, -0.02f}) {
      for (int64_t r = 0; r != rows; ++r)
        weights[r * columns + dead] = value;
      auto layer = gptq(weights, rows, h, choice);
      EXPECT_EQ(layer.factor->deadColumns(), (std::vector<int64_t>{dead}));
      auto rounded = layer.dequantize();
      for (int64_t r = 0; r != rows; ++r)
        EXPECT_EQ(rounded[r * columns + dead], 0);
      codes.push_back(layer.matrix.codes);
    }
    EXPECT_EQ(codes[0], codes[1]);
    EXPECT_EQ(codes[0], codes[2]);
  }
}

TEST(GPTQProperty, LayersOfDifferentBitsShareAFactor) {
  const int64_t rows = 4, columns = 60, groups = 4;
  const auto weights = normalMatrix(rows * columns, 9);
  const auto h = secondMoment(correlatedInputs(90, columns, 9), columns, 1.0);
  ThreadPool pool(1);
  GPTQOptions shared;
  shared.groupSize = 16;
  auto factor = GPTQFactor::create(h, columns, shared, pool);
  ASSERT_TRUE(factor);
  for (unsigned bits : {2, 5, 8}) {
    LayerOptions choice = options(bits, 16);
    std::vector<uint8_t> codes(weights.size()), zeros(rows * groups);
    std::vector<float> scales(rows * groups);
    GPTQLoss loss;
    ASSERT_FALSE(quantizeGPTQ(weights.data(), rows, *factor, choice.grid,
                              {codes.data(), scales.data(), zeros.data()}, loss,
                              pool));
    EXPECT_EQ(codes, gptq(weights, rows, h, choice).matrix.codes);
  }
}

TEST(GPTQProperty, ScaleOfTheSecondMomentDoesNotMatter) {
  const int64_t rows = 8, columns = 70;
  auto weights = normalMatrix(rows * columns, 4);
  auto h = secondMoment(correlatedInputs(100, columns, 5), columns, 1.0);
  auto layer = gptq(weights, rows, h, options(3, 16));
  for (float &value : h)
    value *= 0x1p-20f;
  auto scaled = gptq(weights, rows, h, options(3, 16));
  EXPECT_EQ(layer.matrix.codes, scaled.matrix.codes);
  EXPECT_EQ(layer.matrix.scales, scaled.matrix.scales);
}

TEST(GPTQProperty, BetterThanRTNFromThreeBits) {
  // Statistical, not an invariant: see the examples.
  const int64_t rows = 64, columns = 128;
  for (uint64_t seed : {1, 2, 3}) {
    auto weights = normalMatrix(rows * columns, 100 + seed);
    auto h = secondMoment(correlatedInputs(512, columns, seed), columns, 1.0);
    for (unsigned bits : {3, 4, 8})
      for (int64_t groupSize : {0, 32, 128}) {
        auto [gptq, rtn] = compare(weights, rows, h, options(bits, groupSize));
        EXPECT_LT(gptq, 0.9 * rtn) << bits << " " << groupSize;
      }
  }
}

TEST(GPTQProperty, TwoBitsNeedOrderAndStaticGroups) {
  const int64_t rows = 64, columns = 128;
  for (uint64_t seed : {1, 2, 3}) {
    auto weights = normalMatrix(rows * columns, 200 + seed);
    auto h = secondMoment(correlatedInputs(512, columns, seed), columns, 1.0);
    LayerOptions choice = options(2, 32);
    choice.order = GPTQOrder::Activation;
    choice.staticGroups = true;
    auto [gptq, rtn] = compare(weights, rows, h, choice);
    EXPECT_LT(gptq, 0.9 * rtn);
  }
}

TEST(GPTQProperty, EveryWeightIsOnTheGridOfItsGroup) {
  const int64_t rows = 6, columns = 50;
  auto weights = normalMatrix(rows * columns, 6);
  auto h = secondMoment(correlatedInputs(80, columns, 7), columns, 1.0);
  LayerOptions choice = options(4, 16);
  choice.order = GPTQOrder::Activation;
  auto layer = gptq(weights, rows, h, choice);
  auto index = layer.factor->groupIndex();
  ASSERT_EQ(index.size(), size_t(columns));
  // Every group has as many columns as it should, the last one fewer.
  std::vector<int> sizes(4);
  for (int32_t group : index)
    ++sizes[group];
  EXPECT_EQ(sizes, (std::vector<int>{16, 16, 16, 2}));
  const double error = outputError(weights, layer.dequantize(), h, columns);
  EXPECT_NEAR(layer.loss.outputError, error, 1e-5 * error);
}
} // namespace
