//===- Calibration.h - Inputs and second moments for tests ------*- C++ -*-===//
//
// Correlated inputs with channels of different size, their second moment in
// plain loops, and the error at the output by its definition.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TEST_UNIT_NUMERICS_CALIBRATION_H
#define LLQ_TEST_UNIT_NUMERICS_CALIBRATION_H

#include "QuantizeMatrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace llq::numerics {

/// x[tokens, channels]: normal deviates mixed by a random matrix, times
/// log-normal channel sizes.
inline std::vector<float> correlatedInputs(int64_t tokens, int64_t channels,
                                           uint64_t seed) {
  auto mix = normalMatrix(channels * channels, 3 * seed, 1.0f);
  auto base = normalMatrix(tokens * channels, 3 * seed + 1, 1.0f);
  auto sizes = normalMatrix(channels, 3 * seed + 2, 0.7f);
  std::vector<float> x(tokens * channels);
  for (int64_t t = 0; t != tokens; ++t)
    for (int64_t j = 0; j != channels; ++j) {
      double sum = 0;
      for (int64_t i = 0; i != channels; ++i)
        sum += base[t * channels + i] * mix[i * channels + j];
      x[t * channels + j] = static_cast<float>(std::exp(sizes[j]) * sum /
                                               std::sqrt(double(channels)));
    }
  return x;
}

/// Numbers in [-1, 1) that a worked example can name: x <- (1103515245 x +
/// 12345) mod 2^31 from x = seed, as 2 x / 2^31 - 1.
inline std::vector<float> congruentialMatrix(size_t count, uint64_t seed) {
  std::vector<float> values(count);
  for (float &value : values) {
    seed = (1103515245 * seed + 12345) % (uint64_t(1) << 31);
    value = static_cast<float>(double(seed) * 0x1p-30 - 1);
  }
  return values;
}

/// factor * X^T X.
inline std::vector<float> secondMoment(const std::vector<float> &x,
                                       int64_t channels, double factor) {
  std::vector<float> h(channels * channels);
  for (int64_t i = 0; i != channels; ++i)
    for (int64_t j = 0; j != channels; ++j) {
      double sum = 0;
      for (size_t t = 0; t != x.size(); t += channels)
        sum += double(x[t + i]) * x[t + j];
      h[i * channels + j] = static_cast<float>(factor * sum);
    }
  return h;
}

/// The second moment of independent inputs of size one.
inline std::vector<float> identity(int64_t channels) {
  std::vector<float> h(channels * channels);
  for (int64_t j = 0; j != channels; ++j)
    h[j * channels + j] = 1;
  return h;
}

inline void expectNear(const std::vector<float> &actual,
                       const std::vector<float> &expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i != actual.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], tolerance) << i;
}

inline double squaredDistance(const std::vector<float> &a,
                              const std::vector<float> &b) {
  double sum = 0;
  for (size_t i = 0; i != a.size(); ++i)
    sum += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
  return sum;
}

/// delta H delta^T, summed over the rows of weights - approximation.
inline double outputError(const std::vector<float> &weights,
                          const std::vector<float> &approximation,
                          const std::vector<float> &h, int64_t channels) {
  double sum = 0;
  for (size_t r = 0; r != weights.size(); r += channels)
    for (int64_t i = 0; i != channels; ++i)
      for (int64_t j = 0; j != channels; ++j)
        sum += (double(weights[r + i]) - approximation[r + i]) *
               h[i * channels + j] *
               (double(weights[r + j]) - approximation[r + j]);
  return sum;
}

} // namespace llq::numerics

#endif // LLQ_TEST_UNIT_NUMERICS_CALIBRATION_H
