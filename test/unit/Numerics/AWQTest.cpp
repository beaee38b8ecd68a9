//===- AWQTest.cpp - Scale and clip search --------------------------------===//
//
// The examples of docs/methods/awq.md and its properties.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/AWQ.h"
#include "Calibration.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace llq;
using namespace llq::numerics;

namespace {
using Floats = std::vector<float>;

UniformGridOptions grid(unsigned bits, int64_t groupSize) {
  UniformGridOptions options;
  options.bits = bits;
  options.groupSize = groupSize;
  options.scaleType = ScaleType::F32;
  return options;
}

Floats meanAbsOf(const Floats &x, int64_t channels) {
  Floats means(channels);
  for (size_t i = 0; i != x.size(); ++i)
    means[i % channels] += std::fabs(x[i]) * float(channels) / float(x.size());
  return means;
}

TEST(AWQ, ExampleOneScales) {
  const Floats w = {0.30f, -0.50f, 1.00f, 0.10f};
  const Floats x = {4, 1, 0.5f, 0.25f, -4, 1, -0.5f, 0.25f};
  const Floats m = meanAbsOf(x, 4);
  EXPECT_EQ(m, (Floats{4, 1, 0.5f, 0.25f}));
  EXPECT_EQ(awqScales(m, 0), Floats(4, 1.0f));
  expectNear(awqScales(m, 0.3), {1.515717f, 1, 0.812252f, 0.659754f}, 1e-6f);
  expectNear(awqScales(m, 0.5), {2, 1, 0.707107f, 0.5f}, 1e-6f);

  ThreadPool pool(2);
  const SiteLayer layer{w.data(), 1};
  const auto h = secondMoment(x, 4, 0.5);
  for (auto metric :
       {OutputMetric::ofSecondMoment(h, 4), OutputMetric::ofInputs(x, 4)}) {
    auto best = searchAWQScales({&layer, 1}, m, metric, grid(2, 4), pool);
    EXPECT_EQ(best.alpha, 0.3);
    ASSERT_EQ(best.costs.size(), 20u);
    EXPECT_NEAR(best.costs[0], 0.640625, 1e-5);
    EXPECT_NEAR(best.costs[6], 0.001463, 1e-5);
    EXPECT_NEAR(best.costs[10], 0.111699, 1e-5);
    EXPECT_NEAR(best.costs[11], 0.128, 1e-3);
    EXPECT_NEAR(best.costs[17], 0.002445, 1e-5);
    EXPECT_NEAR(best.costs[19], 0.0047, 1e-4);
    expectNear(best.scales, awqScales(m, 0.3), 0);
  }
}

TEST(AWQ, ExampleTwoClip) {
  const Floats w = {1.0f, 0.22f, -0.31f, 0.12f};
  const Floats x = {.05f, 1, 1,  1, .05f, -1, 1, -1,
                    .02f, 1, -1, 1, .02f, 1,  1, -1};
  ThreadPool pool(1);
  const auto h = secondMoment(x, 4, 0.25);
  for (auto metric :
       {OutputMetric::ofSecondMoment(h, 4), OutputMetric::ofInputs(x, 4)}) {
    float bound = 0;
    searchAWQClip(w.data(), 1, {}, metric, grid(2, 4), &bound, pool);
    EXPECT_FLOAT_EQ(bound, 0.65f);
    for (auto [share, expected] : {std::pair{1.0f, 0.036465},
                                   {0.8f, 0.015398},
                                   {0.7f, 0.011350},
                                   {0.65f, 0.010948},
                                   {0.6f, 0.011627},
                                   {0.55f, 0.013386}}) {
      Floats clamped = w;
      clampGroups(clamped.data(), 1, 4, grid(2, 4), &share);
      auto rounded = quantizeMatrix(clamped, 1, grid(2, 4)).dequantize();
      for (size_t i = 0; i != 4; ++i)
        rounded[i] -= w[i];
      EXPECT_NEAR(metric.cost(rounded.data(), 1, pool), expected, 2e-6);
    }
  }
}

/// A site of two layers with log-normal channel sizes.
struct Site {
  int64_t rows = 40, channels = 64;
  Floats first = normalMatrix(rows * channels, 1);
  Floats second = normalMatrix(rows * channels, 2);
  Floats x = correlatedInputs(200, channels, 9);
  Floats h = secondMoment(x, channels, 1.0 / 200);
  Floats m = meanAbsOf(x, channels);
  OutputMetric metric = OutputMetric::ofSecondMoment(h, channels);
  std::vector<SiteLayer> layers = {{first.data(), rows}, {second.data(), rows}};
};

TEST(AWQ, MetricEqualsItsDefinition) {
  Site site;
  ThreadPool pool(2);
  auto rounded = quantizeMatrix(site.first, site.rows, grid(3, 16));
  Floats delta = rounded.dequantize();
  for (size_t i = 0; i != delta.size(); ++i)
    delta[i] -= site.first[i];
  const double expected =
      outputError(site.first, rounded.dequantize(), site.h, site.channels);
  EXPECT_NEAR(site.metric.cost(delta.data(), site.rows, pool), expected,
              1e-5 * expected);
  auto byInputs = OutputMetric::ofInputs(site.x, site.channels);
  EXPECT_NEAR(byInputs.cost(delta.data(), site.rows, pool), expected,
              1e-5 * expected);
}

TEST(AWQ, MetricOverSeveralTiles) {
  const int64_t channels = 1100, rows = 3;
  const Floats x = normalMatrix(600 * channels, 5, 1.0f);
  Floats h(channels * channels);
  for (int64_t t = 0; t != 600; ++t)
    for (int64_t i = 0; i != channels; ++i)
      for (int64_t j = 0; j != channels; ++j)
        h[i * channels + j] += x[t * channels + i] * x[t * channels + j] / 600;
  const Floats delta = normalMatrix(rows * channels, 6, 1.0f);
  ThreadPool pool(2);
  const double a =
      OutputMetric::ofSecondMoment(h, channels).cost(delta.data(), rows, pool);
  const double b =
      OutputMetric::ofInputs(x, channels).cost(delta.data(), rows, pool);
  EXPECT_NEAR(a, b, 1e-4 * b);
}

TEST(AWQ, NeverWorseThanRTN) {
  Site site;
  ThreadPool pool(2);
  for (unsigned bits : {2, 3, 4}) {
    auto best =
        searchAWQScales(site.layers, site.m, site.metric, grid(bits, 16), pool);
    double rtn = 0;
    for (const Floats *w : {&site.first, &site.second})
      rtn += outputError(
          *w, quantizeMatrix(*w, site.rows, grid(bits, 16)).dequantize(),
          site.h, site.channels);
    EXPECT_NEAR(best.costs[0], rtn, 1e-5 * rtn);
    EXPECT_LE(*std::min_element(best.costs.begin(), best.costs.end()),
              best.costs[0]);
  }
}

TEST(AWQ, EqualMagnitudesChangeNothing) {
  for (double alpha : {0.0, 0.35, 0.95})
    EXPECT_EQ(awqScales(Floats(5, 0.37f), alpha), Floats(5, 1.0f));
}

TEST(AWQ, DeadChannelsHaveFiniteScales) {
  for (double alpha : {0.0, 0.5, 0.95})
    for (float scale : awqScales(Floats{0, 2, 1}, alpha)) {
      EXPECT_TRUE(std::isfinite(scale));
      EXPECT_GT(scale, 0);
    }
  for (float scale : awqScales(Floats{0, 0}, 0.5))
    EXPECT_EQ(scale, 1);
}

TEST(AWQ, CommonFactorOfScalesDoesNotMatter) {
  Site site;
  ThreadPool pool(1);
  Floats scales = awqScales(site.m, 0.5);
  const double once =
      awqCost(site.layers, scales, site.metric, grid(4, 16), pool);
  for (float &scale : scales)
    scale *= 4;
  EXPECT_NEAR(awqCost(site.layers, scales, site.metric, grid(4, 16), pool),
              once, 1e-6 * once);
}

TEST(AWQ, PermutedChannelsPermuteTheScales) {
  Site site;
  ThreadPool pool(1);
  auto best =
      searchAWQScales(site.layers, site.m, site.metric, grid(3, 0), pool);
  auto permute = [&](const Floats &values) {
    Floats result(values.size());
    for (size_t i = 0; i != values.size(); ++i)
      result[i] = values[i / site.channels * site.channels +
                         (i % site.channels) * 5 % site.channels];
    return result;
  };
  Site other;
  other.first = permute(site.first);
  other.second = permute(site.second);
  other.x = permute(site.x);
  other.h = secondMoment(other.x, site.channels, 1.0 / 200);
  const SiteLayer layers[] = {{other.first.data(), other.rows},
                              {other.second.data(), other.rows}};
  auto metric = OutputMetric::ofSecondMoment(other.h, site.channels);
  auto permuted =
      searchAWQScales(layers, permute(site.m), metric, grid(3, 0), pool);
  EXPECT_EQ(permuted.alpha, best.alpha);
  EXPECT_EQ(permuted.scales, permute(best.scales));
}

TEST(AWQ, ScalesGainOnChannelsOfDifferentSize) {
  // Independent log-normal channels, as in the card: mean of best / identity.
  ThreadPool pool(2);
  double sum = 0;
  const int trials = 20;
  for (int trial = 0; trial != trials; ++trial) {
    const int64_t channels = 64, rows = 16;
    Floats w = normalMatrix(rows * channels, 50 + trial);
    Floats sizes = normalMatrix(channels, 90 + trial, 1.0f);
    Floats h(channels * channels), m(channels);
    for (int64_t k = 0; k != channels; ++k) {
      m[k] = std::exp(sizes[k]);
      h[k * channels + k] = m[k] * m[k] * 1.57f;
    }
    const SiteLayer layer{w.data(), rows};
    auto best = searchAWQScales(
        {&layer, 1}, m, OutputMetric::ofSecondMoment(h, 64), grid(4, 16), pool);
    sum +=
        *std::min_element(best.costs.begin(), best.costs.end()) / best.costs[0];
    EXPECT_GT(best.alpha, 0);
  }
  EXPECT_LT(sum / trials, 0.75);
}

TEST(AWQ, ClipNeverCostsAndIsIdempotent) {
  Site site;
  ThreadPool pool(2);
  const UniformGridOptions options = grid(3, 24); // a tail group of 16
  const int64_t groups = options.groupsPerRow(site.channels);
  const Floats scales = awqScales(site.m, 0.4);
  Floats scaled = site.first;
  for (size_t i = 0; i != scaled.size(); ++i)
    scaled[i] *= scales[i % site.channels];
  Floats bounds(site.rows * groups);
  searchAWQClip(scaled.data(), site.rows, scales, site.metric, options,
                bounds.data(), pool);
  Floats clamped = scaled;
  clampGroups(clamped.data(), site.rows, site.channels, options, bounds.data());
  Floats twice = clamped;
  clampGroups(twice.data(), site.rows, site.channels, options, bounds.data());
  EXPECT_EQ(clamped, twice);

  auto plain = quantizeMatrix(scaled, site.rows, options).dequantize();
  auto clipped = quantizeMatrix(clamped, site.rows, options).dequantize();
  int improved = 0;
  for (int64_t r = 0; r != site.rows; ++r)
    for (int64_t g = 0; g != groups; ++g) {
      // The cost of one group alone, by definition.
      double before = 0, after = 0;
      float largest = 0;
      const int64_t end = std::min((g + 1) * 24, site.channels);
      for (int64_t i = g * 24; i != end; ++i) {
        const int64_t a = r * site.channels + i;
        largest = std::max(largest, std::fabs(scaled[a]));
        for (int64_t j = g * 24; j != end; ++j) {
          const int64_t b = r * site.channels + j;
          const double h =
              site.h[i * site.channels + j] / (double(scales[i]) * scales[j]);
          before += (double(plain[a]) - scaled[a]) * h * (plain[b] - scaled[b]);
          after +=
              (double(clipped[a]) - scaled[a]) * h * (clipped[b] - scaled[b]);
        }
      }
      EXPECT_LE(after, before * (1 + 1e-4) + 1e-12);
      improved += after < before;
      const float share = bounds[r * groups + g] / largest;
      EXPECT_NEAR(share * 20, std::round(share * 20), 1e-4);
      EXPECT_GE(share, 0.549f);
      EXPECT_LE(share, 1.0f);
    }
  EXPECT_GT(improved, site.rows);
}

TEST(AWQ, EqualBitsForAnyNumberOfThreads) {
  const int64_t rows = 700, channels = 64;
  Site site;
  const Floats w = normalMatrix(rows * channels, 77);
  const SiteLayer layer{w.data(), rows};
  ThreadPool one(1), three(3);
  auto a = searchAWQScales({&layer, 1}, site.m, site.metric, grid(4, 16), one);
  auto b =
      searchAWQScales({&layer, 1}, site.m, site.metric, grid(4, 16), three);
  EXPECT_EQ(a.costs, b.costs);
  Floats first(rows * 4), second(rows * 4);
  searchAWQClip(w.data(), rows, {}, site.metric, grid(4, 16), first.data(),
                one);
  searchAWQClip(w.data(), rows, {}, site.metric, grid(4, 16), second.data(),
                three);
  EXPECT_EQ(first, second);
}

TEST(AWQ, SharedHeads) {
  // Two heads of v_proj, each read by two query heads of size 3.
  const Floats m = {1, 2, 3, 3, 4, 5, 10, 20, 30, 30, 40, 50};
  EXPECT_EQ(meanOverSharedHeads(m, 3, 2), (Floats{2, 3, 4, 20, 30, 40}));
  EXPECT_EQ(repeatHeads(Floats{2, 3, 4, 20, 30, 40}, 3, 2),
            (Floats{2, 3, 4, 2, 3, 4, 20, 30, 40, 20, 30, 40}));
}
} // namespace
