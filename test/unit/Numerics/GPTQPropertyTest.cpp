//===- GPTQPropertyTest.cpp - What holds for every layer ------------------===//
//
// The properties of docs/methods/gptq.md.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Calibration.h"
#include "QuantizeLayer.h"
#include "llq/Numerics/SecondMoment.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <numeric>

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
    for (auto order :
         {GPTQOrder::Natural, GPTQOrder::Activation, GPTQOrder::GroupAware})
      for (double damp : {0.0, 0.3}) {
        LayerOptions choice = options(4, 16);
        choice.grid.scheme = scheme;
        choice.order = order;
        // Otherwise groups are runs of the order.
        choice.staticGroups = order == GPTQOrder::Activation;
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
    CompensatedLoss loss;
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
  const int64_t rows = 6, columns = 50, groups = 4;
  auto weights = normalMatrix(rows * columns, 6);
  auto h = secondMoment(correlatedInputs(80, columns, 7), columns, 1.0);
  LayerOptions choice = options(4, 16);
  choice.order = GPTQOrder::Activation;
  auto layer = gptq(weights, rows, h, choice);
  auto index = layer.groupIndex();
  // Every group has as many columns as it should, the last one fewer.
  std::vector<int> sizes(groups);
  for (int64_t group : index)
    ++sizes[group];
  EXPECT_EQ(sizes, (std::vector<int>{16, 16, 16, 2}));
  auto codes = layer.codes();
  auto rounded = layer.dequantize();
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = 0; j != columns; ++j) {
      const int64_t group = r * groups + index[j];
      EXPECT_EQ(rounded[r * columns + j],
                layer.matrix.scales[group] *
                    (codes[r * columns + j] - layer.matrix.zeros[group]));
    }
  const double error = outputError(weights, rounded, h, columns);
  EXPECT_NEAR(layer.loss.outputError, error, 1e-5 * error);
}

/// H of inputs whose channels are sorted by size, large ones first.
std::vector<float> sortedSecondMoment(int64_t columns, uint64_t seed) {
  auto h = secondMoment(correlatedInputs(300, columns, seed), columns, 1.0);
  std::vector<int64_t> order(columns);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return h[a * columns + a] > h[b * columns + b];
  });
  std::vector<float> sorted(h.size());
  for (int64_t i = 0; i != columns; ++i)
    for (int64_t j = 0; j != columns; ++j)
      sorted[i * columns + j] = h[order[i] * columns + order[j]];
  return sorted;
}

TEST(GPTQProperty, AnOrderThatIsThereAlreadyChangesNothing) {
  const int64_t rows = 12, columns = 70;
  const auto weights = normalMatrix(rows * columns, 8);
  const auto h = sortedSecondMoment(columns, 8);
  for (int64_t groupSize : {0, 16})
    for (bool staticGroups : {false, true}) {
      LayerOptions choice = options(3, groupSize);
      choice.staticGroups = staticGroups;
      auto natural = gptq(weights, rows, h, choice);
      for (auto order : {GPTQOrder::Activation, GPTQOrder::GroupAware}) {
        choice.order = order;
        auto layer = gptq(weights, rows, h, choice);
        EXPECT_EQ(layer.factor->permutation(), natural.factor->permutation());
        EXPECT_EQ(layer.matrix.codes, natural.matrix.codes);
        EXPECT_EQ(layer.matrix.scales, natural.matrix.scales);
        EXPECT_EQ(layer.loss.squaredErrors, natural.loss.squaredErrors);
      }
    }
}

TEST(GPTQProperty, BlockSizeDoesNotMatter) {
  const int64_t rows = 16, columns = 100;
  const auto weights = normalMatrix(rows * columns, 10);
  const auto h = secondMoment(correlatedInputs(300, columns, 10), columns, 1.0);
  for (int64_t groupSize : {0, 24})
    for (auto order :
         {GPTQOrder::Natural, GPTQOrder::Activation, GPTQOrder::GroupAware})
      for (bool staticGroups : {false, true}) {
        LayerOptions choice = options(3, groupSize);
        choice.order = order;
        choice.staticGroups = staticGroups;
        auto whole = gptq(weights, rows, h, choice);
        for (int64_t block : {1, 4, 24, 32}) {
          choice.blockSize = block;
          auto layer = gptq(weights, rows, h, choice);
          EXPECT_EQ(layer.matrix.codes, whole.matrix.codes) << block;
        }
        choice.blockSize = GPTQOptions().blockSize;
      }
}

TEST(GPTQProperty, TheLastColumnIsTheBestForAllOthers) {
  const int64_t rows = 20, columns = 40;
  const auto weights = normalMatrix(rows * columns, 12);
  auto h = secondMoment(correlatedInputs(100, columns, 12), columns, 1.0);
  for (auto order : {GPTQOrder::Natural, GPTQOrder::Activation}) {
    LayerOptions choice = options(3, 0);
    choice.order = order;
    auto layer = gptq(weights, rows, h, choice);
    auto damped = h;
    double mean = 0;
    for (int64_t j = 0; j != columns; ++j)
      mean += h[j * columns + j] / double(columns);
    for (int64_t j = 0; j != columns; ++j)
      damped[j * columns + j] += float(layer.factor->damp() * mean);
    const int64_t last = layer.factor->permutation().back();
    const auto rounded = layer.dequantize();
    for (int64_t r = 0; r != rows; ++r) {
      const auto *begin = weights.data() + r * columns;
      const std::vector<float> row(begin, begin + columns);
      std::vector<float> other(rounded.begin() + r * columns,
                               rounded.begin() + (r + 1) * columns);
      const double cost = outputError(row, other, damped, columns);
      for (int code = 0; code != 8; ++code) {
        other[last] = layer.matrix.scales[r] * (code - layer.matrix.zeros[r]);
        EXPECT_LE(cost, outputError(row, other, damped, columns) * (1 + 1e-5));
      }
    }
  }
}

TEST(GPTQProperty, CalibrationTwiceIsCalibrationOnce) {
  const int64_t rows = 8, columns = 60, tokens = 90;
  const auto weights = normalMatrix(rows * columns, 13);
  const auto x = correlatedInputs(tokens, columns, 13);
  ThreadPool pool(2);
  SecondMoment once(columns), twice(columns);
  ASSERT_FALSE(once.add(x.data(), tokens, pool));
  for (int i = 0; i != 2; ++i)
    ASSERT_FALSE(twice.add(x.data(), tokens, pool));
  const auto h = once.meanMatrix(pool);
  EXPECT_EQ(twice.meanMatrix(pool), h);
  EXPECT_EQ(
      gptq(weights, rows, twice.meanMatrix(pool), options(3, 16)).matrix.codes,
      gptq(weights, rows, h, options(3, 16)).matrix.codes);
}

// The stored matrix is what natural order makes of permuted columns: formats
// and kernels need not know.
TEST(GPTQProperty, StoredColumnsAreThoseOfAPermutedLayer) {
  const int64_t rows = 5, columns = 70;
  const auto weights = normalMatrix(rows * columns, 10);
  const auto h = secondMoment(correlatedInputs(90, columns, 10), columns, 1.0);
  LayerOptions choice = options(3, 16);
  choice.order = GPTQOrder::Activation;
  auto ordered = gptq(weights, rows, h, choice);
  const auto &order = ordered.factor->permutation();
  std::vector<float> permuted(weights.size()), permutedH(h.size());
  for (int64_t j = 0; j != columns; ++j) {
    for (int64_t r = 0; r != rows; ++r)
      permuted[r * columns + j] = weights[r * columns + order[j]];
    for (int64_t i = 0; i != columns; ++i)
      permutedH[i * columns + j] = h[order[i] * columns + order[j]];
  }
  choice.order = GPTQOrder::Natural;
  auto natural = gptq(permuted, rows, permutedH, choice);
  EXPECT_EQ(ordered.matrix.codes, natural.matrix.codes);
  EXPECT_EQ(ordered.matrix.scales, natural.matrix.scales);
  EXPECT_EQ(ordered.matrix.zeros, natural.matrix.zeros);
}
} // namespace
