//===- RotaryTest.cpp - Cosines and sines of positions --------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"

#include <cmath>
#include <numbers>

using namespace mlir;
using namespace llq;
using namespace llq::test;

namespace {

/// Frequencies of LLAMA3: base 500000, with the scaling of LLAMA3.1 if wanted.
std::vector<float> makeFrequencies(int64_t half, bool scaled) {
  std::vector<float> result;
  for (int64_t i = 0; i < half; ++i) {
    double frequency = std::pow(500000.0, -double(i) / half);
    double length = 2 * std::numbers::pi / frequency;
    if (scaled && length > 8192) {
      frequency /= 8;
    } else if (scaled && length > 2048) {
      double smooth = (8192 / length - 1) / 3;
      frequency *= (1 - smooth) / 8 + smooth;
    }
    result.push_back(float(frequency));
  }
  return result;
}

class Rotary : public LevelTest {
protected:
  /// Compares the tables of `positions` tokens from `past` on with long double
  /// and returns the largest error.
  double check(const KernelModule &module, const RotaryKernel &kernel,
               const std::vector<float> &frequencies, int64_t past,
               int64_t positions) {
    int64_t padded = (kernel.half + 15) / 16 * 16;
    std::vector<float> stored = frequencies;
    stored.resize(getPaddedColumns(kernel.half));
    Guarded input(stored), y(8 * padded * positions);
    Call call = {
        module.find(kernel.getName()), {&input, &y}, {0, 1}, positions, past};
    if (positions < 100)
      runAndCheckSplits(call);
    else
      call.run();
    double worst = 0;
    for (int64_t t = 0; t < positions; ++t) {
      const float *row = y.as<float>() + 2 * padded * t;
      for (int64_t i = 0; i < kernel.half; ++i) {
        // The models round the angle to f32; what follows is exact here.
        volatile float angle = float(past + t) * frequencies[i];
        long double exact = angle;
        double cosine = row[i] - kernel.scale * cosl(exact);
        double sine = row[padded + i] - kernel.scale * sinl(exact);
        worst = std::max({worst, std::fabs(cosine), std::fabs(sine)});
      }
    }
    return worst;
  }
};

TEST_P(Rotary, IsExactToHalfAnUlpUpToTheLongestContext) {
  KernelModule module(level());
  std::vector<RotaryKernel> kernels;
  for (int64_t half : {4, 8, 12, 16, 32, 40, 48, 64})
    kernels.push_back({half, 1});
  kernels.push_back({32, 1.25f});
  for (const RotaryKernel &kernel : kernels)
    module.add(kernel);
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  for (const RotaryKernel &kernel : kernels)
    for (bool scaled : {false, true}) {
      std::vector<float> frequencies = makeFrequencies(kernel.half, scaled);
      // Half an ulp below 1 for the rounding to f32, and that of the product
      // with the scale.
      double bound =
          kernel.scale == 1 ? 0x1.01p-25 : kernel.scale * 0x1.01p-25 + 0x1p-24;
      for (int64_t past : {0, 1000, 8191, 131071 - 50, 1000000})
        EXPECT_LE(check(module, kernel, frequencies, past, 51), bound)
            << kernel.half << " past " << past;
    }
}

TEST_P(Rotary, LookupGivesTheRowsOfTheTablesAndNoOthers) {
  KernelModule module(level());
  std::vector<RotaryLookupKernel> kernels;
  for (int64_t half : {1, 4, 12, 16, 40, 64})
    for (int64_t rows : {1, 37})
      kernels.push_back({half, rows});
  for (const RotaryLookupKernel &kernel : kernels)
    module.add(kernel);
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  for (const RotaryLookupKernel &kernel : kernels) {
    int64_t half = kernel.half, padded = (half + 15) / 16 * 16;
    // Numbers that say where they are from. The memory behind the last one
    // cannot be read.
    std::vector<float> cosines, sines;
    for (int64_t i = 0; i < kernel.rows * half; ++i) {
      cosines.push_back(float(i) + 0.25f);
      sines.push_back(-float(i));
    }
    int64_t past = kernel.rows / 2, tokens = kernel.rows - past + 2;
    Guarded c(cosines), s(sines), y(8 * padded * tokens);
    runAndCheckSplits(
        {module.find(kernel.getName()), {&c, &s, &y}, {0, 1}, tokens, past});
    for (int64_t t = 0; t < tokens; ++t) {
      // Behind the table its last row stands in.
      int64_t row = std::min(past + t, kernel.rows - 1);
      const float *out = y.as<float>() + 2 * padded * t;
      for (int64_t i = 0; i < padded; ++i) {
        bool inside = i < half;
        EXPECT_EQ(out[i], inside ? cosines[row * half + i] : 0)
            << half << " columns, token " << t << ", column " << i;
        EXPECT_EQ(out[padded + i], inside ? sines[row * half + i] : 0)
            << half << " columns, token " << t << ", column " << i;
      }
    }
  }
}

/// Every position of the longest context.
TEST_P(Rotary, ThoroughPositions) {
  KernelModule module(level());
  RotaryKernel kernel{64, 1};
  module.add(kernel);
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  for (bool scaled : {false, true}) {
    double error =
        check(module, kernel, makeFrequencies(64, scaled), 0, 131072);
    std::printf("%s: largest error %.10g = %.6f * 2^-25\n", level().name.data(),
                error, error * 0x1p25);
    EXPECT_LE(error, 0x1.01p-25);
  }
}

} // namespace

LLQ_TEST_ALL_LEVELS(Rotary);
