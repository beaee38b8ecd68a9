//===- StatisticsTest.cpp - Tests of the error figures -------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Statistics.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <vector>

using namespace llq::numerics;

namespace {
TEST(ErrorStatistics, FiguresByHand) {
  const float reference[] = {3, 4, 0}, approximation[] = {3, 3.5, 0.5};
  ErrorStatistics statistics;
  statistics.add(reference, approximation);
  EXPECT_EQ(statistics.count, 3u);
  EXPECT_EQ(statistics.squaredError, 0.5);
  EXPECT_EQ(statistics.squaredReference, 25);
  EXPECT_EQ(statistics.maxAbsError, 0.5);
  EXPECT_DOUBLE_EQ(statistics.meanSquaredError(), 0.5 / 3);
  EXPECT_DOUBLE_EQ(statistics.relativeError(), std::sqrt(0.02));
  EXPECT_DOUBLE_EQ(statistics.sqnrDecibel(), 10 * std::log10(50.0));
}

TEST(ErrorStatistics, PartsMergeToTheWhole) {
  std::vector<float> reference(37), approximation(37);
  for (int i = 0; i != 37; ++i) {
    reference[i] = static_cast<float>(i - 18);
    approximation[i] = reference[i] + (i % 5 - 2) * 0.25f;
  }
  ErrorStatistics whole, parts;
  whole.add(reference, approximation);
  for (size_t at : {0, 20}) {
    ErrorStatistics part;
    size_t size = at == 0 ? 20 : 17;
    part.add(std::span(reference).subspan(at, size),
             std::span(approximation).subspan(at, size));
    parts.merge(part);
  }
  // Exact, as all terms are small multiples of 1/16.
  EXPECT_EQ(parts.count, whole.count);
  EXPECT_EQ(parts.squaredError, whole.squaredError);
  EXPECT_EQ(parts.squaredReference, whole.squaredReference);
  EXPECT_EQ(parts.maxAbsError, whole.maxAbsError);
}

TEST(ErrorStatistics, NothingAndNoError) {
  ErrorStatistics statistics;
  EXPECT_EQ(statistics.meanSquaredError(), 0);
  EXPECT_EQ(statistics.relativeError(), 0);
  EXPECT_EQ(statistics.sqnrDecibel(), std::numeric_limits<double>::infinity());
  const float zero[] = {0}, one[] = {1};
  statistics.add(zero, one);
  EXPECT_EQ(statistics.relativeError(),
            std::numeric_limits<double>::infinity());
}

TEST(ErrorStatistics, NaNIsNotHidden) {
  std::vector<float> reference(40, 1.0f), approximation(40, 1.0f);
  approximation[3] = std::numeric_limits<float>::quiet_NaN();
  approximation[11] = 2; // the same lane, later
  ErrorStatistics statistics, more;
  statistics.add(reference, approximation);
  EXPECT_TRUE(std::isnan(statistics.maxAbsError));
  EXPECT_TRUE(std::isnan(statistics.relativeError()));
  const float zero[] = {0}, one[] = {1};
  more.add(zero, one);
  statistics.merge(more);
  EXPECT_TRUE(std::isnan(statistics.maxAbsError));
}
} // namespace
