//===- SamplerTest.cpp - Tests of the sampler -----------------------------===//
//
// Greedy choices by hand, distributions against exact probabilities, and a
// fixed sequence of tokens that every machine must draw.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llqrt/Sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

using namespace llqrt;

static constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
static constexpr float kInfinity = std::numeric_limits<float>::infinity();

static int32_t greedy(std::vector<float> logits) {
  return Sampler({}).sample(logits);
}

TEST(SamplerTest, GreedyTakesTheFirstOfTheLargest) {
  EXPECT_EQ(greedy({1, 3, 2}), 1);
  EXPECT_EQ(greedy({1, 3, 3}), 1);
  EXPECT_EQ(greedy({-0.0f, 0.0f}), 0);
  EXPECT_EQ(greedy({kNaN, -5, kNaN, -4, kNaN}), 3);
  EXPECT_EQ(greedy({-kInfinity, -kInfinity}), 0);
  EXPECT_EQ(greedy({1, kInfinity, kInfinity}), 1);
  EXPECT_EQ(greedy({kNaN, kNaN}), -1);
  EXPECT_EQ(greedy({}), -1);
}

/// How often each token is drawn in `count` draws.
static std::vector<double> shares(const SamplerOptions &options,
                                  const std::vector<float> &logits,
                                  int count = 40000) {
  std::string error;
  EXPECT_TRUE(options.check(error)) << error;
  Sampler sampler(options);
  std::vector<double> result(logits.size());
  for (int i = 0; i < count; ++i)
    result[static_cast<size_t>(sampler.sample(logits))] += 1.0 / count;
  return result;
}

TEST(SamplerTest, DrawsFollowTheProbabilities) {
  std::vector<float> logits = {0, 1, -2, 3, 0.5f};
  for (float temperature : {0.5f, 1.0f, 3.0f}) {
    SamplerOptions options;
    options.temperature = temperature;
    std::vector<double> drawn = shares(options, logits);
    double sum = 0;
    for (float logit : logits)
      sum += std::exp(logit / temperature);
    // Five standard deviations of 40000 draws are below 0.0125.
    for (size_t i = 0; i < logits.size(); ++i)
      EXPECT_NEAR(drawn[i], std::exp(logits[i] / temperature) / sum, 0.0125);
  }
}

static std::set<int32_t> drawnTokens(const SamplerOptions &options,
                                     const std::vector<float> &logits) {
  std::vector<double> drawn = shares(options, logits, 4000);
  std::set<int32_t> tokens;
  for (size_t i = 0; i < drawn.size(); ++i)
    if (drawn[i] > 0)
      tokens.insert(static_cast<int32_t>(i));
  return tokens;
}

TEST(SamplerTest, CutsKeepTheMostLikely) {
  // Probabilities 0.1, 0.4, 0.2, 0.3.
  std::vector<float> logits = {std::log(0.1f), std::log(0.4f), std::log(0.2f),
                               std::log(0.3f)};
  auto tokens = [&](uint32_t topK, float topP, float minP) {
    SamplerOptions options;
    options.temperature = 1;
    options.topK = topK;
    options.topP = topP;
    options.minP = minP;
    return drawnTokens(options, logits);
  };
  using Set = std::set<int32_t>;
  EXPECT_EQ(tokens(0, 1, 0), Set({0, 1, 2, 3}));
  EXPECT_EQ(tokens(1, 1, 0), Set({1}));
  EXPECT_EQ(tokens(3, 1, 0), Set({1, 2, 3}));
  EXPECT_EQ(tokens(9, 1, 0), Set({0, 1, 2, 3}));
  EXPECT_EQ(tokens(0, 0.3f, 0), Set({1}));
  EXPECT_EQ(tokens(0, 0.65f, 0), Set({1, 3}));
  EXPECT_EQ(tokens(0, 0.75f, 0), Set({1, 2, 3}));
  EXPECT_EQ(tokens(0, 1, 0.3f), Set({1, 2, 3}));
  EXPECT_EQ(tokens(0, 1, 0.6f), Set({1, 3}));
  EXPECT_EQ(tokens(0, 1, 1), Set({1}));
  // top-p counts the share of what top-k left: 0.4 / 0.7 is enough.
  EXPECT_EQ(tokens(2, 0.55f, 0), Set({1}));
}

TEST(SamplerTest, TiesAreCutByTheLowestId) {
  SamplerOptions options;
  options.temperature = 1;
  options.topK = 2;
  EXPECT_EQ(drawnTokens(options, {1, 1, 1, 1}), std::set<int32_t>({0, 1}));
  options.topK = 0;
  options.topP = 0.7f;
  EXPECT_EQ(drawnTokens(options, {1, 1, 1, 1}), std::set<int32_t>({0, 1, 2}));
}

TEST(SamplerTest, ExtremeLogits) {
  SamplerOptions options;
  options.temperature = 1;
  using Set = std::set<int32_t>;
  EXPECT_EQ(drawnTokens(options, {kNaN, 2, kNaN, 2}), Set({1, 3}));
  EXPECT_EQ(drawnTokens(options, {kInfinity, 2, kInfinity}), Set({0, 2}));
  EXPECT_EQ(drawnTokens(options, {-kInfinity, 2}), Set({1}));
  EXPECT_EQ(drawnTokens(options, {-kInfinity, -kInfinity}), Set({0, 1}));
  EXPECT_EQ(drawnTokens(options, {3e38f, -3e38f}), Set({0}));
  options.temperature = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(drawnTokens(options, {1, 1.001f}), Set({1}));
  options.temperature = std::numeric_limits<float>::max();
  EXPECT_EQ(drawnTokens(options, {1, 900}), Set({0, 1}));
  std::vector<float> none = {kNaN};
  EXPECT_EQ(Sampler(options).sample(none), -1);
}

TEST(SamplerTest, RepeatPenaltyCountsATokenOnce) {
  SamplerOptions options;
  options.repeatPenalty = 2;
  Sampler sampler(options);
  std::vector<float> logits = {4, 3, -1};
  std::vector<int32_t> history = {0, 0, 0, -1, 99};
  EXPECT_EQ(sampler.sample(logits, history), 1);
  // 4 / 2 is still more than 1.5; twice the penalty would be less.
  logits = {4, 1.5f, -1};
  EXPECT_EQ(sampler.sample(logits, history), 0);
  logits = {-3, -5, -5.9f};
  EXPECT_EQ(sampler.sample(logits, history), 1);
  EXPECT_EQ(sampler.sample(logits), 0);
}

TEST(SamplerTest, SameSeedSameTokens) {
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(i * 7919 % 1000) / 100;
  auto draw = [&](uint64_t seed, float topP) {
    SamplerOptions options;
    options.temperature = 0.8f;
    options.topP = topP;
    options.seed = seed;
    Sampler sampler(options);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 8; ++i)
      tokens.push_back(sampler.sample(logits));
    return tokens;
  };
  EXPECT_EQ(draw(1, 1), draw(1, 1));
  EXPECT_NE(draw(1, 1), draw(2, 1));
  // What every machine must draw.
  EXPECT_EQ(draw(42, 1),
            std::vector<int32_t>({742, 173, 284, 338, 39, 877, 225, 805}));
  EXPECT_EQ(draw(42, 0.5f),
            std::vector<int32_t>({852, 124, 877, 593, 13, 926, 840, 889}));
}

TEST(SamplerTest, OptionsOutOfRangeAreNamed) {
  auto messageOf = [](auto change) {
    SamplerOptions options;
    change(options);
    std::string error;
    EXPECT_FALSE(options.check(error));
    return error;
  };
  using Options = SamplerOptions;
  EXPECT_EQ(messageOf([](Options &o) { o.temperature = -1; }),
            "the temperature must be 0 or more");
  EXPECT_EQ(messageOf([](Options &o) { o.temperature = kNaN; }),
            "the temperature must be 0 or more");
  EXPECT_EQ(messageOf([](Options &o) { o.topP = 0; }),
            "top-p must be above 0 and at most 1");
  EXPECT_EQ(messageOf([](Options &o) { o.minP = 1.5f; }),
            "min-p must be between 0 and 1");
  EXPECT_EQ(messageOf([](Options &o) { o.repeatPenalty = 0; }),
            "the repeat penalty must be above 0");
}
