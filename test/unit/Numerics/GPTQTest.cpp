//===- GPTQTest.cpp - Worked examples and the published algorithm ---------===//
//
// The examples of docs/methods/gptq.md, and the plain version of
// GPTQReference.h over orders, groups, grids and block sizes.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Calibration.h"
#include "GPTQReference.h"
#include "QuantizeLayer.h"

#include <gtest/gtest.h>
#include <limits>

using namespace llq;
using namespace llq::numerics;

namespace {
using Codes = std::vector<uint8_t>;

LayerOptions exampleOptions(unsigned bits) {
  LayerOptions options;
  options.grid.bits = bits;
  options.grid.groupSize = 0;
  options.grid.scaleType = ScaleType::F32;
  return options;
}

/// `weights` on the grid of the integers -8..7: two dead columns stretch the
/// range to it and count nothing else. Returns the rounded weights.
std::vector<float> onIntegers(std::vector<float> weights, std::vector<float> h,
                              CompensatedLoss &loss) {
  const size_t n = weights.size(), k = n + 2;
  weights.insert(weights.end(), {-8, 7});
  std::vector<float> larger(k * k);
  for (size_t i = 0; i != n; ++i)
    for (size_t j = 0; j != n; ++j)
      larger[i * k + j] = h[i * n + j];
  LayerOptions options = exampleOptions(4);
  options.damp = 0;
  auto layer = gptq(weights, 1, larger, options);
  EXPECT_EQ(layer.matrix.scales[0], 1);
  EXPECT_EQ(layer.factor->deadColumns(),
            (std::vector<int64_t>{int64_t(n), int64_t(n) + 1}));
  auto result = layer.dequantize();
  EXPECT_EQ(result[n], 0);
  EXPECT_EQ(result[n + 1], 0);
  result.resize(n);
  loss = layer.loss;
  return result;
}

TEST(GPTQ, ExampleOneTwoColumns) {
  CompensatedLoss loss;
  EXPECT_EQ(onIntegers({0.4f, 0.4f}, {2, 1, 1, 2}, loss),
            (std::vector<float>{0, 1}));
  EXPECT_NEAR(loss.squaredErrors, 0.56, 1e-6);
  EXPECT_NEAR(loss.outputError, 0.56, 1e-6);
  EXPECT_NEAR(outputError({0.4f, 0.4f}, {0, 0}, {2, 1, 1, 2}, 2), 0.96, 1e-6);
}

TEST(GPTQ, ExampleTwoNaturalAndActivationOrder) {
  const std::vector<float> x = {-2, 1, 1, 0, 0, 1, 2, 0, -2, 0, 1, -2};
  const auto h = secondMoment(x, 3, 2);
  EXPECT_EQ(h, (std::vector<float>{16, -4, -12, -4, 4, -2, -12, -2, 20}));
  const std::vector<float> w = {-0.3f, 0.3f, -1.2f};

  auto layer = gptq(w, 1, h, exampleOptions(2));
  EXPECT_EQ(layer.matrix.scales[0], 0.5f);
  EXPECT_EQ(layer.matrix.zeros[0], 2);
  EXPECT_EQ(layer.matrix.codes, (Codes{1, 2, 0}));
  EXPECT_NEAR(layer.loss.outputError, 2.52, 1e-5);
  EXPECT_NEAR(layer.loss.squaredErrors, 2.542667, 1e-5);
  auto rtn = quantizeMatrix(w, 1, exampleOptions(2).grid);
  EXPECT_EQ(rtn.codes, (Codes{1, 3, 0}));
  EXPECT_NEAR(outputError(w, rtn.dequantize(), h, 3), 2.72, 1e-5);

  LayerOptions options = exampleOptions(2);
  options.order = GPTQOrder::Activation;
  layer = gptq(w, 1, h, options);
  EXPECT_EQ(layer.factor->permutation(), (std::vector<int64_t>{2, 0, 1}));
  EXPECT_EQ(layer.matrix.codes, (Codes{2, 3, 0}));
  EXPECT_EQ(layer.dequantize(), (std::vector<float>{0, 0.5f, -1}));
  EXPECT_NEAR(layer.loss.outputError, 0.32, 1e-5);
  EXPECT_NEAR(layer.loss.squaredErrors, 0.342667, 1e-5);
}

TEST(GPTQ, ExampleThreeWorseThanRounding) {
  const std::vector<float> h = {4, 0, 2, 0, 3, -3, 2, -3, 5};
  const std::vector<float> w = {0.6f, -0.3f, 0};
  CompensatedLoss loss;
  EXPECT_EQ(onIntegers(w, h, loss), (std::vector<float>{1, -1, -1}));
  EXPECT_NEAR(loss.outputError, 1.31, 1e-5);
  EXPECT_NEAR(outputError(w, {1, 0, 0}, h, 3), 0.91, 1e-5);
}

TEST(GPTQ, ExampleGroupIndex) {
  // perm = [2, 0, 3, 1], groups of 2.
  using Index = std::vector<int64_t>;
  std::vector<float> h(16);
  h[0] = 3, h[5] = 1, h[10] = 4, h[15] = 2;
  LayerOptions options = exampleOptions(4);
  options.grid.groupSize = 2;
  options.order = GPTQOrder::Activation;
  const std::vector<float> w = {1, 8, 3, 6};
  auto layer = gptq(w, 1, h, options);
  EXPECT_EQ(layer.factor->permutation(), (Index{2, 0, 3, 1}));
  EXPECT_EQ(layer.groupIndex(), (Index{0, 1, 0, 1}));
  // Independent columns: groups are those of 3, 1 and 6, 8, from 0 in 15 steps.
  EXPECT_EQ(layer.matrix.scales, (std::vector<float>{3.0f / 15, 8.0f / 15}));
  EXPECT_EQ(layer.matrix.codes, (Codes{15, 5, 11, 15}));
  EXPECT_EQ(layer.codes(), (Codes{5, 15, 15, 11}));
  options.staticGroups = true;
  layer = gptq(w, 1, h, options);
  EXPECT_EQ(layer.groupIndex(), (Index{0, 0, 1, 1}));
  EXPECT_EQ(layer.matrix.scales, (std::vector<float>{8.0f / 15, 6.0f / 15}));
  options.staticGroups = false;
  options.order = GPTQOrder::GroupAware;
  layer = gptq(w, 1, h, options);
  EXPECT_EQ(layer.factor->permutation(), (Index{2, 3, 0, 1}));
  EXPECT_EQ(layer.groupIndex(), (Index{0, 0, 1, 1}));
  // One group per row has nothing to permute for.
  options.order = GPTQOrder::Activation;
  options.grid.groupSize = 0;
  layer = gptq(w, 1, h, options);
  EXPECT_FALSE(layer.factor->options().isStoredPermuted(4));
}

TEST(GPTQ, TiesInTheOrderStayInTheOrderOfTheMatrix) {
  std::vector<float> h(36);
  for (int j = 0; j != 6; ++j)
    h[j * 7] = j == 4 ? 2 : 1;
  LayerOptions options = exampleOptions(4);
  options.grid.groupSize = 2;
  options.order = GPTQOrder::Activation;
  const std::vector<float> w = {1, 2, 3, 4, 5, 6};
  EXPECT_EQ(gptq(w, 1, h, options).factor->permutation(),
            (std::vector<int64_t>{4, 0, 1, 2, 3, 5}));
  options.order = GPTQOrder::GroupAware;
  EXPECT_EQ(gptq(w, 1, h, options).factor->permutation(),
            (std::vector<int64_t>{4, 5, 0, 1, 2, 3}));
}

/// Group of each position for the reference.
std::vector<int64_t> groupsByPosition(const GPTQLayer &layer) {
  auto index = layer.groupIndex();
  std::vector<int64_t> groups;
  for (int64_t column : layer.factor->permutation())
    groups.push_back(index[column]);
  return groups;
}

TEST(GPTQ, EqualsThePublishedAlgorithm) {
  const int64_t rows = 9, columns = 83;
  const auto weights = normalMatrix(rows * columns, 11);
  auto x = correlatedInputs(200, columns, 3);
  for (int64_t t = 0; t != 200; ++t)
    x[t * columns + 17] = 0;
  const auto h = secondMoment(x, columns, 2.0 / 200);
  for (unsigned bits : {2, 3, 4, 8})
    for (int64_t groupSize : {0, 8, 32, 50})
      for (auto order : {GPTQOrder::Natural, GPTQOrder::Activation,
                         GPTQOrder::GroupAware, GPTQOrder::Reverse})
        for (bool staticGroups : {false, true})
          for (int64_t block : {1, 16, 256}) {
            LayerOptions options;
            options.grid.bits = bits;
            options.grid.groupSize = groupSize;
            options.grid.scheme = static_cast<GridScheme>(bits % 3);
            options.grid.clip = bits == 3 ? ClipSearch::MSE : ClipSearch::None;
            options.order = order;
            options.staticGroups = staticGroups;
            options.blockSize = block;
            auto layer = gptq(weights, rows, h, options);
            ASSERT_TRUE(layer.factor);
            auto expected =
                referenceGPTQ(weights, rows, h, layer.factor->permutation(),
                              groupsByPosition(layer), options);
            // An f32 value next to a tie may go the other way, and take the
            // rest of its row with it.
            EXPECT_NEAR(layer.loss.squaredErrors, expected.squaredErrors,
                        2e-3 * expected.squaredErrors)
                << bits << " " << groupSize << " " << int(order) << " "
                << staticGroups << " " << block;
            auto codes = layer.codes();
            size_t differ = 0;
            for (size_t i = 0; i != expected.codes.size(); ++i)
              differ += codes[i] != expected.codes[i];
            EXPECT_LE(differ, bits == 8 ? 40u : 0u)
                << bits << " " << groupSize << " " << int(order) << " "
                << staticGroups << " " << block;
          }
}

TEST(GPTQ, EqualBitsForAnyThreadsAndAnyRowsBeside) {
  const int64_t rows = 600, columns = 300;
  const auto weights = normalMatrix(rows * columns, 12);
  const auto h = secondMoment(correlatedInputs(400, columns, 4), columns, 1.0);
  LayerOptions options;
  options.grid.bits = 3;
  options.grid.groupSize = 32;
  options.order = GPTQOrder::GroupAware;
  options.blockSize = 64;
  auto one = gptq(weights, rows, h, options, 1);
  auto three = gptq(weights, rows, h, options, 3);
  EXPECT_EQ(one.matrix.codes, three.matrix.codes);
  EXPECT_EQ(one.matrix.scales, three.matrix.scales);
  EXPECT_EQ(one.loss.squaredErrors, three.loss.squaredErrors);
  EXPECT_EQ(one.loss.outputError, three.loss.outputError);

  const int64_t first = 37, count = 263;
  std::vector<float> part(weights.begin() + first * columns,
                          weights.begin() + (first + count) * columns);
  auto some = gptq(part, count, h, options);
  EXPECT_TRUE(std::equal(some.matrix.codes.begin(), some.matrix.codes.end(),
                         one.matrix.codes.begin() + first * columns));
  EXPECT_TRUE(std::equal(some.matrix.scales.begin(), some.matrix.scales.end(),
                         one.matrix.scales.begin() +
                             first * options.grid.groupsPerRow(columns)));
}

TEST(GPTQ, NonFiniteWeightsAreFound) {
  ThreadPool pool(1);
  auto weights = normalMatrix(12, 1);
  weights[7] = std::numeric_limits<float>::infinity();
  std::vector<float> h(16);
  for (int i = 0; i != 4; ++i)
    h[5 * i] = 1;
  auto factor = GPTQFactor::create(h, 4, GPTQOptions(), pool);
  ASSERT_TRUE(factor);
  Codes codes(12), zeros(3);
  std::vector<float> scales(3);
  CompensatedLoss loss;
  auto bad =
      quantizeGPTQ(weights.data(), 3, *factor, UniformGridOptions(),
                   {codes.data(), scales.data(), zeros.data()}, loss, pool);
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->row, 1);
  EXPECT_EQ(bad->column, 3);
}

TEST(GPTQ, SurvivesCompensationThatOverflows) {
  const int64_t columns = 64;
  std::vector<float> weights(columns), h(columns * columns, 0.999f);
  for (int64_t j = 0; j != columns; ++j) {
    weights[j] = j % 3 ? 3e38f : -3e38f;
    h[j * columns + j] = 1;
  }
  for (int64_t block : {8, 256})
    for (auto clip : {ClipSearch::None, ClipSearch::MSE}) {
      LayerOptions options = exampleOptions(2);
      options.grid.groupSize = 16;
      options.grid.clip = clip;
      options.damp = 0;
      options.blockSize = block;
      auto layer = gptq(weights, 1, h, options);
      ASSERT_EQ(layer.matrix.codes.size(), size_t(columns));
      EXPECT_LE(*std::max_element(layer.matrix.codes.begin(),
                                  layer.matrix.codes.end()),
                3);
      for (float scale : layer.matrix.scales)
        EXPECT_TRUE(std::isfinite(scale) && scale > 0);
      EXPECT_FALSE(std::isfinite(layer.loss.squaredErrors));
    }
}

TEST(GPTQ, WhatIsNoSecondMomentIsRefused) {
  ThreadPool pool(1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(GPTQFactor::create(std::vector<float>{1, nan, nan, 1}, 2,
                                  GPTQOptions(), pool));
  EXPECT_FALSE(GPTQFactor::create(std::vector<float>{1, 0, 0, -1}, 2,
                                  GPTQOptions(), pool));
}

TEST(GPTQ, DampingIsRaisedUntilItSuffices) {
  // One token: rank 1.
  const auto h = secondMoment({1, 2, 3, 4}, 4, 1.0);
  LayerOptions options = exampleOptions(4);
  options.damp = 0;
  auto layer = gptq({1, 2, 3, 4}, 1, h, options);
  ASSERT_TRUE(layer.factor);
  EXPECT_GE(layer.factor->dampingRetries(), 1);
  EXPECT_GT(layer.factor->damp(), 0);
  EXPECT_EQ(layer.matrix.codes.size(), 4u);
  options.damp = 0.01;
  layer = gptq({1, 2, 3, 4}, 1, h, options);
  EXPECT_EQ(layer.factor->dampingRetries(), 0);
  EXPECT_EQ(layer.factor->damp(), 0.01);
  // Correlated beyond single precision, and positive definite.
  const float c = 1 - 0x1p-23f;
  options.damp = 0;
  layer = gptq({1, 2}, 1, {1, c, c, 1}, options);
  EXPECT_EQ(layer.factor->dampingRetries(), 0);
  EXPECT_TRUE(layer.factor->usedDoublePrecision());
  // No calibration at all: every column is dead.
  layer = gptq({1, 2}, 1, {0, 0, 0, 0}, options);
  EXPECT_EQ(layer.dequantize(), (std::vector<float>{0, 0}));
}
} // namespace
