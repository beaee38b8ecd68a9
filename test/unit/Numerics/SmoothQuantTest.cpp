//===- SmoothQuantTest.cpp - Smoothing factors and integer activations ----===//
//
// The example of docs/methods/smoothquant.md and its properties.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/SmoothQuant.h"
#include "Calibration.h"
#include "llq/Numerics/ActivationGrid.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <limits>

using namespace llq;
using namespace llq::numerics;

namespace {
using Floats = std::vector<float>;
using Codes = std::vector<int8_t>;

UniformGridOptions signedGrid(unsigned bits) {
  UniformGridOptions options;
  options.bits = bits;
  options.groupSize = 0;
  options.scheme = GridScheme::Signed;
  options.scaleType = ScaleType::F32;
  return options;
}

/// max |x| per channel.
Floats maximaOf(const Floats &x, int64_t channels) {
  Floats maxima(channels);
  addColumnMaxima(x.data(), static_cast<int64_t>(x.size()) / channels, maxima);
  return maxima;
}

/// X and W after smoothing and quantization, as integers.
struct IntegerLayer {
  Codes x, w;
  Floats xScales, wScales;
  std::vector<int32_t> sums;
  Floats y;
};
IntegerLayer quantizeLayer(Floats x, Floats w, const Floats &s, unsigned bits) {
  const int64_t k = static_cast<int64_t>(s.size());
  const int64_t tokens = static_cast<int64_t>(x.size()) / k;
  const int64_t rows = static_cast<int64_t>(w.size()) / k;
  for (size_t i = 0; i != x.size(); ++i)
    x[i] /= s[i % k];
  for (size_t i = 0; i != w.size(); ++i)
    w[i] *= s[i % k];
  IntegerLayer layer{Codes(x.size()),
                     Codes(w.size()),
                     Floats(tokens),
                     Floats(rows),
                     std::vector<int32_t>(tokens * rows),
                     Floats(tokens * rows)};
  quantizeTokens(x.data(), tokens, k, bits, layer.x.data(),
                 layer.xScales.data());
  auto quantized = quantizeMatrix(w, rows, signedGrid(bits));
  layer.wScales = quantized.scales;
  for (size_t i = 0; i != w.size(); ++i)
    layer.w[i] = static_cast<int8_t>(quantized.codes[i] - (1 << (bits - 1)));
  multiplyCodes(layer.x.data(), layer.w.data(), tokens, rows, k,
                layer.sums.data());
  scaleSums(layer.sums.data(), layer.xScales.data(), layer.wScales.data(),
            tokens, rows, layer.y.data());
  return layer;
}

const Floats exampleX = {1, -16, 2, -2, 9, -1.2f};
const Floats exampleW = {0.6f, 0.25f, -1.0f, -1.0f, -0.10f, 0.45f};
const Floats exampleY = {-5.4f, 1.5f, 2.25f, 0.56f};

double exampleError(const Floats &y) {
  double sum = 0;
  for (size_t i = 0; i != 4; ++i)
    sum += (double(y[i]) - exampleY[i]) * (double(y[i]) - exampleY[i]) / 4;
  return sum;
}

TEST(SmoothQuant, Example) {
  const Floats a = maximaOf(exampleX, 3), w = maximaOf(exampleW, 3);
  EXPECT_EQ(a, (Floats{2, 16, 2}));
  EXPECT_EQ(w, (Floats{1, 0.25f, 1}));

  auto plain = quantizeLayer(exampleX, exampleW, {1, 1, 1}, 4);
  expectNear(plain.xScales, {2.285714f, 1.285714f}, 1e-6f);
  expectNear(plain.wScales, {0.142857f, 0.142857f}, 1e-6f);
  EXPECT_EQ(plain.x, (Codes{0, -7, 1, -2, 7, -1}));
  EXPECT_EQ(plain.w, (Codes{4, 2, -7, -7, -1, 3}));
  EXPECT_EQ(plain.sums, (std::vector<int32_t>{-21, 10, 13, 4}));
  expectNear(plain.y, {-6.857143f, 3.265306f, 2.387755f, 0.734694f}, 1e-5f);
  EXPECT_NEAR(exampleError(plain.y), 1.322266, 1e-5);

  const Floats half = smoothingFactors(a, w, 0.5);
  expectNear(half, {1.414214f, 8, 1.414214f}, 1e-5f);
  auto smooth = quantizeLayer(exampleX, exampleW, half, 4);
  expectNear(smooth.xScales, {.285714f, .202031f}, 1e-6f);
  expectNear(smooth.wScales, {.285714f, .202031f}, 1e-6f);
  EXPECT_EQ(smooth.x, (Codes{2, -7, 5, -7, 6, -4}));
  EXPECT_EQ(smooth.w, (Codes{3, 7, -5, -7, -4, 3}));
  EXPECT_EQ(smooth.sums, (std::vector<int32_t>{-68, 29, 41, 13}));
  expectNear(smooth.y, {-5.55102f, 1.67397f, 2.36664f, 0.53061f}, 1e-5f);
  EXPECT_NEAR(exampleError(smooth.y), 0.016885, 1e-6);

  const Floats most = smoothingFactors(a, w, 0.85);
  expectNear(most, {1.8025f, 12.99604f, 1.8025f}, 1e-5f);
  auto strong = quantizeLayer(exampleX, exampleW, most, 4);
  expectNear(strong.xScales, {.17588f, .15851f}, 1e-5f);
  expectNear(strong.wScales, {.46414f, .2575f}, 1e-5f);
  EXPECT_EQ(strong.x, (Codes{3, -7, 6, -7, 4, -4}));
  EXPECT_EQ(strong.w, (Codes{2, 7, -4, -7, -5, 3}));
  EXPECT_EQ(strong.sums, (std::vector<int32_t>{-67, 32, 30, 17}));
  EXPECT_NEAR(exampleError(strong.y), 0.006788, 1e-6);
}

TEST(SmoothQuant, SearchFindsTheLeastCost) {
  ThreadPool pool(2);
  const Floats a = maximaOf(exampleX, 3), w = maximaOf(exampleW, 3);
  const SiteLayer layer{exampleW.data(), 2};
  const double strengths[] = {0.5, 0.85, 0.5};
  auto best = searchSmoothing(a, w, strengths, [&](auto factors) {
    return smoothingCost({&layer, 1}, exampleX, a, factors, signedGrid(4),
                         {4, false}, pool);
  });
  EXPECT_EQ(best.alpha, 0.85);
  // A sum over two rows, a mean over two tokens: twice the mean of all four.
  EXPECT_NEAR(best.costs[0], 2 * 0.016885, 2e-6);
  EXPECT_NEAR(best.costs[1], 2 * 0.006788, 2e-6);
  EXPECT_EQ(best.costs[2], best.costs[0]);
  // A static scale is that of the largest token.
  const Floats ones(3, 1.0f);
  EXPECT_GT(smoothingCost({&layer, 1}, exampleX, a, ones, signedGrid(8),
                          {8, true}, pool),
            smoothingCost({&layer, 1}, exampleX, a, ones, signedGrid(8),
                          {8, false}, pool));
}

TEST(SmoothQuant, MaximaAtTheEndsAndTheMiddle) {
  const int64_t channels = 20;
  const Floats x = correlatedInputs(30, channels, 1);
  const Floats w = normalMatrix(15 * channels, 2);
  const Floats a = maximaOf(x, channels), m = maximaOf(w, channels);
  for (double alpha : {0.0, 0.5, 1.0}) {
    const Floats s = smoothingFactors(a, m, alpha);
    for (int64_t k = 0; k != channels; ++k) {
      const float input = a[k] / s[k], weight = m[k] * s[k];
      if (alpha == 0) {
        EXPECT_NEAR(weight, 1, 1e-6);
      } else if (alpha == 1) {
        EXPECT_NEAR(input, 1, 1e-6);
      } else {
        EXPECT_NEAR(input, std::sqrt(a[k] * m[k]), 1e-6);
        EXPECT_NEAR(weight, std::sqrt(a[k] * m[k]), 1e-6);
      }
    }
  }
  // Scaling X by 2 scales s by 2^alpha, scaling W by 3 by 3^-(1 - alpha).
  Floats twice = a, thrice = m;
  for (float &value : twice)
    value *= 2;
  for (float &value : thrice)
    value *= 3;
  const Floats s = smoothingFactors(a, m, 0.7);
  const Floats t = smoothingFactors(twice, thrice, 0.7);
  for (int64_t k = 0; k != channels; ++k)
    EXPECT_NEAR(t[k] / s[k], std::pow(2, 0.7) * std::pow(3, -0.3), 1e-5);
}

TEST(SmoothQuant, StrengthMovesTheSpread) {
  const int64_t channels = 24;
  const Floats a = maximaOf(correlatedInputs(40, channels, 5), channels);
  const Floats w = maximaOf(normalMatrix(16 * channels, 6), channels);
  auto spread = [](const Floats &values) {
    auto [least, most] = std::minmax_element(values.begin(), values.end());
    return *most / *least;
  };
  float inputs = std::numeric_limits<float>::infinity(), weights = 0;
  for (int step = 0; step <= 20; ++step) {
    const Floats s = smoothingFactors(a, w, step / 20.0);
    Floats input(channels), weight(channels);
    for (int64_t k = 0; k != channels; ++k) {
      input[k] = a[k] / s[k];
      weight[k] = w[k] * s[k];
    }
    EXPECT_LE(spread(input), inputs * 1.00001f);
    EXPECT_GE(spread(weight), weights * 0.99999f);
    inputs = spread(input);
    weights = spread(weight);
  }
  EXPECT_NEAR(inputs, 1, 1e-5);
}

TEST(SmoothQuant, FewerBitsCostMore) {
  ThreadPool pool(2);
  const int64_t channels = 64, rows = 48;
  const Floats x = correlatedInputs(50, channels, 7);
  const Floats w = normalMatrix(rows * channels, 8);
  const Floats a = maximaOf(x, channels);
  const SiteLayer layer{w.data(), rows};
  const Floats s = smoothingFactors(a, maximaOf(w, channels), 0.5);
  for (bool isStatic : {false, true}) {
    double before = 0;
    for (unsigned bits : {8, 6, 4}) {
      const double cost = smoothingCost({&layer, 1}, x, a, s, signedGrid(bits),
                                        {bits, isStatic}, pool);
      EXPECT_GT(cost, 4 * before);
      before = cost;
    }
  }
}

TEST(SmoothQuant, FloorsAndQuietChannels) {
  EXPECT_EQ(smoothingFactors(Floats{0, 0}, Floats{0, 3}, 0.5), (Floats{1, 1}));
  // The weight's floor: 4^0.5 / 1e-5^0.5.
  EXPECT_NEAR(smoothingFactors(Floats{4}, Floats{0}, 0.5)[0], 632.4555, 1e-2);
  EXPECT_EQ(smoothingFactors(Floats{1e-12f}, Floats{1}, 1.0)[0], 1e-5f);
  // Nothing is taken for less than a hundredth of the mean, here of 2, but what
  // is 0.
  expectNear(
      smoothingFactors(Floats{4, 1e-30f, 0.015f, 0, 6, 2}, Floats(6, 1), 1.0),
      {4, 0.02f, 0.02f, 1, 6, 2}, 1e-4f);
}

TEST(SmoothQuant, OverflowCostsMost) {
  ThreadPool pool(2);
  const Floats w = {1e30f, 1, 1, 1}, x = {1, 2}, a = {1, 2};
  const SiteLayer layer{w.data(), 2};
  auto cost = [&](const Floats &factors) {
    return smoothingCost({&layer, 1}, x, a, factors, signedGrid(8), {8, false},
                         pool);
  };
  EXPECT_TRUE(std::isinf(cost({1e10f, 1})));
}

TEST(ActivationGrid, SumsTimesScalesAreTheProductOfTheRounded) {
  const int64_t tokens = 7, rows = 9, channels = 100;
  const Floats x = correlatedInputs(tokens, channels, 2);
  const Floats w = normalMatrix(rows * channels, 3);
  for (unsigned bits : {4, 6, 8}) {
    auto layer = quantizeLayer(x, w, Floats(channels, 1.0f), bits);
    for (int64_t t = 0; t != tokens; ++t)
      for (int64_t r = 0; r != rows; ++r) {
        double sum = 0, size = 0;
        for (int64_t k = 0; k != channels; ++k) {
          const double product = double(layer.xScales[t]) *
                                 layer.x[t * channels + k] * layer.wScales[r] *
                                 layer.w[r * channels + k];
          sum += product;
          size += std::fabs(product);
        }
        EXPECT_NEAR(layer.y[t * rows + r], sum, 1e-6 * size);
      }
  }
}

TEST(ActivationGrid, TokensAreIndependent) {
  const int64_t channels = 33;
  Floats x = normalMatrix(4 * channels, 4, 1.0f);
  std::fill_n(x.begin() + channels, channels, 0.0f); // a token of zeros
  std::fill_n(x.begin() + 2 * channels, channels, 0.0f);
  x[2 * channels + 5] = -0.3f; // a token of one number
  for (unsigned bits : {2, 4, 6, 8}) {
    const int32_t largest = largestActivationCode(bits);
    Codes codes(x.size());
    Floats scales(4);
    quantizeTokens(x.data(), 4, channels, bits, codes.data(), scales.data());
    for (int64_t token : {0, 2, 3}) {
      int32_t seen = 0;
      for (int64_t k = 0; k != channels; ++k)
        seen = std::max(seen, std::abs(int32_t(codes[token * channels + k])));
      EXPECT_EQ(seen, largest);
    }
    for (int64_t k = 0; k != channels; ++k)
      EXPECT_EQ(codes[channels + k], 0);
    EXPECT_GT(scales[1], 0);
    EXPECT_FLOAT_EQ(scales[2] * codes[2 * channels + 5], -0.3f);

    Floats eight(x.begin(), x.begin() + channels);
    for (float &value : eight)
      value *= 8;
    Codes scaled(channels);
    float scale;
    quantizeTokens(eight.data(), 1, channels, bits, scaled.data(), &scale);
    EXPECT_TRUE(std::equal(scaled.begin(), scaled.end(), codes.begin()));
    EXPECT_EQ(scale, 8 * scales[0]);
  }
}

TEST(ActivationGrid, StaticScalesClamp) {
  const Floats x = {1, 0.5f, 0.004f, -3, 1e30f, -1e30f};
  Codes codes(x.size());
  quantizeActivations(x, activationScale(1, 8), 8, codes);
  EXPECT_EQ(codes, (Codes{127, 64, 1, -127, 127, -127})); // 63.5 goes to even
  EXPECT_EQ(activationScale(7, 4), 1);
  const Floats y = {7, 3.5f, 2.5f, -9};
  quantizeActivations(y, 1, 4, codes);
  codes.resize(4);
  EXPECT_EQ(codes, (Codes{7, 4, 2, -7}));
}
} // namespace
