//===- BlockLDLQTest.cpp - Tests of rounding to E8P with feedback --------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/BlockLDLQ.h"
#include "Calibration.h"
#include "GPTQReference.h"
#include "llq/Numerics/E8P.h"
#include "llq/Numerics/LDLQ.h"
#include "llq/Support/ParallelFor.h"

#include <gtest/gtest.h>
#include <limits>

using namespace llq;
using namespace llq::numerics;

namespace {
struct Problem {
  int64_t rows, columns;
  std::vector<float> w = normalMatrix(rows * columns, 31, 0.02f);
  std::vector<float> h =
      secondMoment(correlatedInputs(2 * columns, columns, 32), columns,
                   0.5 / double(columns));

  Problem(int64_t rows, int64_t columns) : rows(rows), columns(columns) {}
};

struct E8PLayer {
  BlockLDLQResult result;
  std::vector<uint32_t> codes;

  std::vector<float> dequantize() const {
    std::vector<float> weights(codes.size() * 8);
    for (size_t t = 0; t != codes.size(); ++t)
      result.grid.decode(codes[t], &weights[8 * t]);
    return weights;
  }
};

E8PLayer quantize(const Problem &problem, const BlockLDLQOptions &options,
                  double damp = 0.01, unsigned threads = 2) {
  ThreadPool pool(threads);
  GPTQOptions factorOptions = blockLDLQFactorOptions();
  factorOptions.damp = damp;
  const auto factor =
      GPTQFactor::create(problem.h, problem.columns, factorOptions, pool);
  E8PLayer layer{{}, std::vector<uint32_t>(problem.w.size() / 8)};
  if (!factor ||
      quantizeBlockLDLQ(problem.w.data(), problem.rows, *factor, problem.h,
                        options, layer.codes.data(), layer.result, pool))
    layer.codes.clear(); // no test expects an empty result
  return layer;
}

TEST(BlockLDLQ, EqualsThePaperInPlainLoops) {
  // H = L D L^T by blocks of 8, L with identities on its diagonal: with the
  // Cholesky factor C of H, L = C diag(C_bb)^-1.
  const Problem problem(6, 40);
  const int64_t n = 40;
  BlockLDLQOptions options;
  options.relativeScale = 1;
  const E8PLayer layer = quantize(problem, options, 0);
  const auto c = lowerCholesky({problem.h.begin(), problem.h.end()}, n);
  for (int64_t r = 0; r != problem.rows; ++r) {
    std::vector<double> left(n); // W - Ŵ of the columns done
    for (int64_t block = n - 8; block >= 0; block -= 8) {
      // x C_bb = sum_i left_i C_ib, from the last column on.
      std::vector<double> x(8);
      for (int64_t j = 7; j >= 0; --j) {
        double sum = 0;
        for (int64_t i = block + 8; i != n; ++i)
          sum += left[i] * c[i * n + block + j];
        for (int64_t i = j + 1; i != 8; ++i)
          sum -= x[i] * c[(block + i) * n + block + j];
        x[j] = sum / c[(block + j) * n + block + j];
      }
      float values[8];
      for (int64_t j = 0; j != 8; ++j)
        values[j] = static_cast<float>(problem.w[r * n + block + j] + x[j]);
      uint32_t code;
      layer.result.grid.round(values, 1, &code);
      EXPECT_EQ(code, layer.codes[(r * n + block) / 8]);
      for (int64_t j = 0; j != 8; ++j)
        left[block + j] = problem.w[r * n + block + j] - double(values[j]);
    }
  }
  EXPECT_NEAR(outputError(problem.w, layer.dequantize(), problem.h, n) /
                  layer.result.outputError,
              1, 1e-4);
}

TEST(BlockLDLQ, BetterThanUniformGridsOfAsManyBits) {
  const Problem problem(48, 96);
  ThreadPool pool(2);
  GPTQOptions factorOptions;
  factorOptions.groupSize = 0;
  factorOptions.order = GPTQOrder::Reverse;
  const auto factor =
      GPTQFactor::create(problem.h, problem.columns, factorOptions, pool);
  ASSERT_TRUE(factor);
  double before = std::numeric_limits<double>::infinity();
  for (unsigned bits : {2, 3, 4}) {
    BlockLDLQOptions options;
    options.bits = bits;
    const E8PLayer layer = quantize(problem, options);
    LDLQOptions uniform;
    uniform.bits = bits;
    std::vector<uint8_t> codes(problem.w.size());
    LDLQGrid grid;
    ASSERT_FALSE(quantizeLDLQ(problem.w.data(), problem.rows, *factor,
                              problem.h, uniform, codes.data(), grid, pool));
    EXPECT_LT(layer.result.outputError, 0.92 * grid.outputError) << bits;
    EXPECT_LT(layer.result.outputError, 0.4 * before) << bits;
    before = layer.result.outputError;
    EXPECT_NEAR(
        outputError(problem.w, layer.dequantize(), problem.h, problem.columns) /
            before,
        1, 1e-3);
    EXPECT_EQ(layer.result.grid.residualScale != 0, bits != 2);
  }
}

TEST(BlockLDLQ, SearchFindsAboutTheBestScale) {
  const Problem problem(48, 96);
  BlockLDLQOptions options;
  const E8PLayer layer = quantize(problem, options);
  for (double scale = 0.7; scale < 1.5; scale += 0.05) {
    options.relativeScale = scale;
    EXPECT_GT(quantize(problem, options).result.outputError,
              0.97 * layer.result.outputError)
        << scale;
  }
}

TEST(BlockLDLQ, SweepsOnlyImprove) {
  const Problem problem(20, 152); // more than a panel
  for (unsigned bits : {2, 3, 4}) {
    BlockLDLQOptions options;
    options.bits = bits;
    options.relativeScale = 1;
    double before = std::numeric_limits<double>::infinity();
    for (int sweeps : {0, 1, 4}) {
      options.sweeps = sweeps;
      const E8PLayer layer = quantize(problem, options);
      EXPECT_LT(layer.result.outputError, before);
      before = layer.result.outputError;
      EXPECT_NEAR(outputError(problem.w, layer.dequantize(), problem.h,
                              problem.columns) /
                      before,
                  1, 1e-3);
    }
  }
}

TEST(BlockLDLQ, EqualBitsForAnyThreads) {
  Problem problem(600, 72);
  BlockLDLQOptions options;
  options.bits = 3;
  options.sweeps = 1;
  const E8PLayer one = quantize(problem, options, 0.01, 1);
  const E8PLayer three = quantize(problem, options, 0.01, 3);
  EXPECT_EQ(one.codes, three.codes);
  EXPECT_EQ(one.result.grid.scale, three.result.grid.scale);
  EXPECT_EQ(one.result.outputError, three.result.outputError);
}

TEST(BlockLDLQ, NonFiniteWeightsAreFound) {
  Problem problem(3, 16);
  problem.w[20] = std::numeric_limits<float>::infinity();
  ThreadPool pool(1);
  const auto factor =
      GPTQFactor::create(problem.h, 16, blockLDLQFactorOptions(), pool);
  std::vector<uint32_t> codes(6);
  BlockLDLQResult result;
  const auto bad = quantizeBlockLDLQ(problem.w.data(), 3, *factor, problem.h,
                                     {}, codes.data(), result, pool);
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->row, 1);
  EXPECT_EQ(bad->column, 4);
}
} // namespace
