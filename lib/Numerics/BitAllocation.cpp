//===- BitAllocation.cpp - Bits of each layer for a total size ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/BitAllocation.h"

#include <algorithm>
#include <tuple>

using namespace llq::numerics;

namespace {
/// A step up of one layer.
struct Step {
  size_t layer, to;
  int64_t bytes;
  double gain; ///< cost saved per byte
};
} // namespace

/// The steps along the lower convex hull of `choices`: their gains fall.
static std::vector<Step> getSteps(size_t layer,
                                  const std::vector<WidthChoice> &choices) {
  std::vector<size_t> hull;
  auto gain = [&](size_t from, size_t to) {
    return (choices[from].cost - choices[to].cost) /
           static_cast<double>(
               std::max<int64_t>(1, choices[to].bytes - choices[from].bytes));
  };
  for (size_t i = 0; i != choices.size(); ++i) {
    if (!hull.empty() && choices[i].cost >= choices[hull.back()].cost)
      continue;
    while (hull.size() > 1 &&
           gain(hull[hull.size() - 2], hull.back()) <= gain(hull.back(), i))
      hull.pop_back();
    hull.push_back(i);
  }
  std::vector<Step> steps;
  for (size_t i = 1; i < hull.size(); ++i)
    steps.push_back({layer, hull[i],
                     choices[hull[i]].bytes - choices[hull[i - 1]].bytes,
                     gain(hull[i - 1], hull[i])});
  return steps;
}

std::optional<std::vector<size_t>>
llq::numerics::allocateBits(const std::vector<std::vector<WidthChoice>> &layers,
                            int64_t budget) {
  std::vector<Step> steps;
  for (size_t layer = 0; layer != layers.size(); ++layer) {
    budget -= layers[layer].front().bytes;
    std::vector<Step> own = getSteps(layer, layers[layer]);
    steps.insert(steps.end(), own.begin(), own.end());
  }
  if (budget < 0)
    return std::nullopt;
  // Steps of one layer stay in order: their gains fall.
  std::sort(steps.begin(), steps.end(), [](const Step &a, const Step &b) {
    return std::tuple(-a.gain, a.layer, a.to) <
           std::tuple(-b.gain, b.layer, b.to);
  });
  std::vector<size_t> chosen(layers.size(), 0);
  std::vector<bool> closed(layers.size(), false);
  for (const Step &step : steps) {
    // A layer whose next step does not fit waits for no later one.
    if (closed[step.layer] || step.bytes > budget) {
      closed[step.layer] = true;
      continue;
    }
    budget -= step.bytes;
    chosen[step.layer] = step.to;
  }
  return chosen;
}
