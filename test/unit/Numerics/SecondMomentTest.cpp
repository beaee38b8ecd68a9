//===- SecondMomentTest.cpp - Statistics of a layer's inputs --------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/SecondMoment.h"
#include "Calibration.h"
#include "llq/Support/ParallelFor.h"

#include <gtest/gtest.h>
#include <limits>

using namespace llq;
using namespace llq::numerics;

namespace {
TEST(SecondMoment, EqualsPlainLoops) {
  const int64_t tokens = 1100, channels = 530;
  auto x = normalMatrix(tokens * channels, 1, 2.0f);
  for (int64_t t = 0; t != tokens; ++t)
    x[t * channels + 3] = 0; // a dead channel
  ThreadPool pool(2);
  SecondMoment moment(channels);
  ASSERT_FALSE(moment.add(x.data(), 700, pool));
  ASSERT_FALSE(moment.add(x.data() + 700 * channels, tokens - 700, pool));
  EXPECT_EQ(moment.tokens(), tokens);
  auto h = moment.meanMatrix(pool);
  for (int64_t i = 0; i < channels; i += 13)
    for (int64_t j = 0; j != channels; ++j) {
      double sum = 0;
      for (int64_t t = 0; t != tokens; ++t)
        sum += double(x[t * channels + i]) * x[t * channels + j];
      EXPECT_NEAR(h[i * channels + j], sum / tokens, 2e-6);
      EXPECT_EQ(h[i * channels + j], h[j * channels + i]);
    }
  EXPECT_EQ(h[3 * channels + 3], 0);

  const ChannelStatistics &statistics = moment.channelStatistics();
  for (int64_t k = 0; k != channels; ++k) {
    double sum = 0, magnitude = 0, square = 0;
    float largest = 0;
    for (int64_t t = 0; t != tokens; ++t) {
      float value = x[t * channels + k];
      sum += value;
      magnitude += std::fabs(value);
      square += double(value) * value;
      largest = std::max(largest, std::fabs(value));
    }
    EXPECT_EQ(statistics.absMax()[k], largest);
    EXPECT_FLOAT_EQ(statistics.mean()[k], float(sum / tokens));
    EXPECT_FLOAT_EQ(statistics.meanAbs()[k], float(magnitude / tokens));
    EXPECT_FLOAT_EQ(statistics.meanSquare()[k], float(square / tokens));
  }
}

TEST(SecondMoment, EqualBitsForAnyNumberOfThreads) {
  const int64_t tokens = 600, channels = 1100;
  auto x = normalMatrix(tokens * channels, 2, 1.0f);
  std::vector<std::vector<float>> results;
  for (unsigned threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    SecondMoment moment(channels);
    ASSERT_FALSE(moment.add(x.data(), tokens, pool));
    ASSERT_FALSE(moment.add(x.data(), 3, pool));
    results.push_back(moment.meanMatrix(pool));
    auto mean = moment.channelStatistics().mean();
    results.back().insert(results.back().end(), mean.begin(), mean.end());
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(SecondMoment, AddsUpManyBatchesWithoutDrift) {
  // 2^24 + 1 terms of 1 are more than f32 can count.
  const int64_t tokens = 1 << 20;
  std::vector<float> x(tokens, 1.0f);
  ThreadPool pool(2);
  SecondMoment moment(1);
  for (int i = 0; i != 20; ++i)
    ASSERT_FALSE(moment.add(x.data(), tokens, pool));
  EXPECT_EQ(moment.meanMatrix(pool)[0], 1);
  EXPECT_EQ(moment.channelStatistics().mean()[0], 1);
}

TEST(SecondMoment, NonFiniteInputsAreReportedAndNotAdded) {
  const int64_t tokens = 5, channels = 700;
  for (float bad : {std::numeric_limits<float>::quiet_NaN(),
                    -std::numeric_limits<float>::infinity()}) {
    auto x = normalMatrix(tokens * channels, 3, 1.0f);
    x[2 * channels + 650] = bad;
    x[3 * channels + 1] = bad;
    ThreadPool pool(2);
    SecondMoment moment(channels);
    ASSERT_FALSE(moment.add(x.data(), 2, pool));
    auto before = moment.meanMatrix(pool);
    auto found = moment.add(x.data(), tokens, pool);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->token, 2);
    EXPECT_EQ(found->channel, 650);
    EXPECT_FALSE(std::isfinite(found->value));
    EXPECT_EQ(moment.tokens(), 2);
    EXPECT_EQ(moment.meanMatrix(pool), before);
  }
}

TEST(SecondMoment, RaisesTheShareOfSomeTokens) {
  const int64_t tokens = 400, channels = 20;
  auto x = normalMatrix(tokens * channels, 5, 1.0f);
  ThreadPool pool(2);
  SecondMoment moment(channels);
  ASSERT_FALSE(moment.add(x.data(), tokens, pool));
  auto before = moment.meanMatrix(pool);
  // Two of 400 have that much.
  moment.raiseShare(x.data(), 2, 0.005, pool);
  EXPECT_EQ(moment.meanMatrix(pool), before);
  moment.raiseShare(x.data(), 2, 0.25, pool);
  auto h = moment.meanMatrix(pool);
  for (int64_t i = 0; i != channels; ++i)
    for (int64_t j = 0; j != channels; ++j) {
      double firsts = 0, rest = 0;
      for (int64_t t = 0; t != tokens; ++t)
        (t < 2 ? firsts : rest) +=
            double(x[t * channels + i]) * x[t * channels + j];
      EXPECT_NEAR(h[i * channels + j],
                  0.25 * firsts / 2 + 0.75 * rest / (tokens - 2), 1e-5);
    }
  EXPECT_EQ(moment.tokens(), tokens);
}

TEST(SecondMoment, NothingOfNoTokens) {
  ThreadPool pool(1);
  SecondMoment moment(3);
  ASSERT_FALSE(moment.add(nullptr, 0, pool));
  EXPECT_EQ(moment.meanMatrix(pool), std::vector<float>(9));
  EXPECT_EQ(moment.channelStatistics().meanAbs(), std::vector<float>(3));
}
} // namespace
