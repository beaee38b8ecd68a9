//===- Adam.cpp - The optimizer -------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Training/Adam.h"

#include <cassert>
#include <cmath>
#include <numbers>

using namespace llq::training;

void Adam::step(float rate, std::span<const float> gradients,
                std::span<float> numbers) {
  assert(gradients.size() == units.size() && numbers.size() == units.size());
  ++steps;
  auto count = static_cast<double>(steps);
  auto mean = float(1.0 / (1.0 - std::pow(double(options.beta1), count)));
  auto square = float(1.0 / (1.0 - std::pow(double(options.beta2), count)));
  for (size_t i = 0; i != units.size(); ++i) {
    float g = gradients[i];
    means[i] += (1.0f - options.beta1) * (g - means[i]);
    squares[i] += (1.0f - options.beta2) * (g * g - squares[i]);
    // A number that nothing depends on stays.
    if (squares[i] > 0)
      numbers[i] -=
          rate * units[i] * (means[i] * mean) / std::sqrt(squares[i] * square);
  }
}

float llq::training::getCosineDecay(int64_t step, int64_t steps) {
  return float(0.5 +
               0.5 * std::cos(std::numbers::pi * double(step) / double(steps)));
}
