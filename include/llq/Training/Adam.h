//===- Adam.h - The optimizer -----------------------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRAINING_ADAM_H
#define LLQ_TRAINING_ADAM_H

#include <cstdint>
#include <span>
#include <vector>

namespace llq::training {

struct AdamOptions {
  float beta1 = 0.9f, beta2 = 0.99f;
};

/// Kingma and Ba, arXiv 1412.6980, for numbers that have units: number i moves
/// by about `rate * units[i]` at most, whatever the scale of the gradients.
class Adam {
public:
  explicit Adam(std::vector<float> units, const AdamOptions &options = {})
      : options(options), units(std::move(units)), means(this->units.size()),
        squares(this->units.size()) {}

  /// One step against `gradients`.
  void step(float rate, std::span<const float> gradients,
            std::span<float> numbers);

private:
  AdamOptions options;
  std::vector<float> units, means, squares;
  int64_t steps = 0;
};

/// The rate of step `step` of `steps`: half a cosine from 1 to 0.
float getCosineDecay(int64_t step, int64_t steps);

} // namespace llq::training

#endif // LLQ_TRAINING_ADAM_H
