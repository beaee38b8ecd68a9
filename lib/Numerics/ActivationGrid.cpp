//===- ActivationGrid.cpp - Symmetric integers for activations ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/ActivationGrid.h"
#include "GroupRange.h"

#include <algorithm>
#include <cassert>
#include <cmath>

using namespace llq::numerics;

/// Below this magnitude a token is as good as zero.
static constexpr float kFloor = 1e-5f;

float llq::numerics::activationScale(float absMax, unsigned bits) {
  assert(bits >= 2 && bits <= 8 && absMax >= 0);
  return std::max(kFloor, absMax) /
         static_cast<float>(largestActivationCode(bits));
}

void llq::numerics::quantizeActivations(std::span<const float> x, float scale,
                                        unsigned bits,
                                        std::span<int8_t> codes) {
  assert(codes.size() >= x.size());
  const float largest = static_cast<float>(largestActivationCode(bits));
  for (size_t i = 0, e = x.size(); i != e; ++i)
    codes[i] = static_cast<int8_t>(
        roundToInteger(std::clamp(x[i] / scale, -largest, largest)));
}

void llq::numerics::quantizeTokens(const float *x, int64_t tokens,
                                   int64_t channels, unsigned bits,
                                   int8_t *codes, float *scales) {
  const size_t width = channels;
  for (int64_t token = 0; token != tokens; ++token) {
    std::span<const float> row(x + token * channels, width);
    float absMax = 0;
    for (float value : row)
      absMax = std::max(absMax, std::fabs(value));
    scales[token] = activationScale(absMax, bits);
    quantizeActivations(row, scales[token], bits,
                        {codes + token * channels, width});
  }
}

void llq::numerics::multiplyCodes(const int8_t *codes,
                                  const int8_t *weightCodes, int64_t tokens,
                                  int64_t rows, int64_t channels,
                                  int32_t *sums) {
  for (int64_t token = 0; token != tokens; ++token)
    for (int64_t row = 0; row != rows; ++row) {
      int32_t sum = 0;
      for (int64_t k = 0; k != channels; ++k)
        sum += int32_t(codes[token * channels + k]) *
               int32_t(weightCodes[row * channels + k]);
      sums[token * rows + row] = sum;
    }
}

void llq::numerics::scaleSums(const int32_t *sums, const float *scales,
                              const float *weightScales, int64_t tokens,
                              int64_t rows, float *y) {
  for (int64_t token = 0; token != tokens; ++token)
    for (int64_t row = 0; row != rows; ++row) {
      const float scale = scales[token] * weightScales[row];
      y[token * rows + row] =
          scale * static_cast<float>(sums[token * rows + row]);
    }
}
