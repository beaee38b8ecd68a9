//===- AdamTest.cpp - The optimizer ---------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Training/Adam.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace llq::training;

TEST(AdamTest, FirstStepIsTheRateOfEachUnit) {
  Adam adam({1.0f, 2.0f, 1.0f, 0.0f});
  std::vector<float> numbers = {1, 1, 1, 1};
  std::vector<float> gradients = {1e-8f, -300, 0, 1};
  adam.step(0.5f, gradients, numbers);
  EXPECT_FLOAT_EQ(numbers[0], 0.5f);
  EXPECT_FLOAT_EQ(numbers[1], 2.0f);
  EXPECT_EQ(numbers[2], 1.0f);
  EXPECT_EQ(numbers[3], 1.0f);
}

TEST(AdamTest, TwoStepsByHand) {
  Adam adam({1.0f}, {0.9f, 0.99f});
  std::vector<float> x = {0.0f};
  adam.step(1.0f, std::vector<float>{1.0f}, x);
  adam.step(1.0f, std::vector<float>{3.0f}, x);
  // m = 0.09 + 0.3 = 0.39 of 0.19, v = 0.0099 + 0.09 = 0.0999 of 0.0199.
  EXPECT_NEAR(x[0], -1 - (0.39 / 0.19) / std::sqrt(0.0999 / 0.0199), 1e-5);
}

TEST(AdamTest, FindsTheLeastSquare) {
  Adam adam({1.0f, 100.0f});
  std::vector<float> x = {0, 0}, g(2);
  constexpr int steps = 400;
  for (int step = 0; step < steps; ++step) {
    g = {x[0] - 0.3f, 1e-3f * (x[1] + 40)};
    adam.step(0.02f * getCosineDecay(step, steps), g, x);
  }
  EXPECT_NEAR(x[0], 0.3f, 1e-3);
  EXPECT_NEAR(x[1], -40.0f, 1e-1);
}

TEST(AdamTest, RateFallsLikeACosine) {
  EXPECT_FLOAT_EQ(getCosineDecay(0, 8), 1.0f);
  EXPECT_FLOAT_EQ(getCosineDecay(4, 8), 0.5f);
  EXPECT_GT(getCosineDecay(7, 8), 0.0f);
}
