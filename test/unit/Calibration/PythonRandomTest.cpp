//===- PythonRandomTest.cpp - Numbers that Python draws -------------------===//
//
// The expected numbers are those of Python's random.Random(seed).
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "PythonRandom.h"

#include "gtest/gtest.h"

using namespace llq;

TEST(PythonRandomTest, FirstOutputs) {
  PythonRandom random(0);
  for (uint32_t expected : {3626764237u, 1654615998u, 3255389356u, 3823568514u})
    EXPECT_EQ(random.next(), expected);
}

TEST(PythonRandomTest, RandInt) {
  PythonRandom zero(0), two(2);
  for (uint32_t expected : {6311u, 6890u, 663u, 4242u, 8376u, 7961u})
    EXPECT_EQ(zero.drawUpTo(9999), expected);
  for (uint32_t expected : {926u, 1500u, 1390u, 5915u, 2770u, 5048u})
    EXPECT_EQ(two.drawUpTo(9999), expected);
}

TEST(PythonRandomTest, SeedOfTwoWords) {
  PythonRandom random((uint64_t(5) << 32) + 7);
  for (uint32_t expected : {334492092u, 130243341u, 731690660u})
    EXPECT_EQ(random.next(), expected);
}

TEST(PythonRandomTest, OneNumberToChooseFrom) {
  PythonRandom random(1);
  EXPECT_EQ(random.drawUpTo(0), 0u);
}
