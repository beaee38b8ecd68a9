//===- BitAllocationTest.cpp - Bits of each layer for a total size --------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/BitAllocation.h"

#include <gtest/gtest.h>
#include <random>

using namespace llq::numerics;

namespace {
struct Total {
  int64_t bytes = 0;
  double cost = 0;
};

Total add(const std::vector<std::vector<WidthChoice>> &layers,
          const std::vector<size_t> &chosen) {
  Total total;
  for (size_t layer = 0; layer != layers.size(); ++layer) {
    total.bytes += layers[layer][chosen[layer]].bytes;
    total.cost += layers[layer][chosen[layer]].cost;
  }
  return total;
}

/// The least cost within `budget`, by trying all.
double search(const std::vector<std::vector<WidthChoice>> &layers, size_t layer,
              int64_t budget) {
  if (layer == layers.size())
    return 0;
  double best = 1e30;
  for (const WidthChoice &choice : layers[layer])
    if (choice.bytes <= budget)
      best = std::min(
          best, choice.cost + search(layers, layer + 1, budget - choice.bytes));
  return best;
}

TEST(BitAllocation, SpendsWhereAByteBuysMost) {
  std::vector<std::vector<WidthChoice>> layers = {
      {{10, 9}, {20, 3}, {30, 2}},
      {{10, 2}, {20, 1}, {30, 0.5}},
  };
  EXPECT_EQ(*allocateBits(layers, 20), (std::vector<size_t>{0, 0}));
  EXPECT_EQ(*allocateBits(layers, 30), (std::vector<size_t>{1, 0}));
  EXPECT_EQ(*allocateBits(layers, 60), (std::vector<size_t>{2, 2}));
}

TEST(BitAllocation, NothingFitsIntoTooLittle) {
  EXPECT_FALSE(allocateBits({{{10, 1}}, {{10, 1}}}, 19));
  EXPECT_TRUE(allocateBits({}, 0)->empty());
}

// A width that costs more than a smaller one is never chosen, nor one above the
// hull.
TEST(BitAllocation, LeavesOutWidthsThatDoNotPay) {
  std::vector<std::vector<WidthChoice>> layers = {
      {{10, 5}, {20, 6}, {30, 4.9}, {40, 0}}};
  EXPECT_EQ(allocateBits(layers, 39)->front(), 0u);
  EXPECT_EQ(allocateBits(layers, 40)->front(), 3u);
}

// Where the budget is what the steps have taken, nothing is better; elsewhere
// the budget holds and costs are near the best ones.
TEST(BitAllocation, IsOptimalWhereItSpendsAll) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> share(0.1, 0.6);
  for (int round = 0; round != 40; ++round) {
    std::vector<std::vector<WidthChoice>> layers(4);
    int64_t least = 0, most = 0;
    for (auto &layer : layers) {
      int64_t size = 8 * (1 + int64_t(random() % 9));
      double cost = 1000 * share(random);
      for (int64_t bits = 2; bits <= 6; ++bits, cost *= share(random))
        layer.push_back({size * bits, cost});
      least += layer.front().bytes;
      most += layer.back().bytes;
    }
    for (int64_t budget = least; budget <= most; budget += 8) {
      Total total = add(layers, *allocateBits(layers, budget));
      EXPECT_LE(total.bytes, budget);
      // All of what it took, it took in the best way.
      EXPECT_NEAR(total.cost, search(layers, 0, total.bytes),
                  total.cost * 0.5 + 1e-9);
    }
  }
}
} // namespace
