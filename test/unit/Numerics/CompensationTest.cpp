//===- CompensationTest.cpp - Blocks of columns and the factor ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Compensation.h"
#include "Calibration.h"
#include "GPTQReference.h"
#include "llq/Support/ParallelFor.h"

#include <gtest/gtest.h>

using namespace llq;
using namespace llq::numerics;

namespace {
constexpr BlockCompensation kKinds[] = {BlockCompensation::Exact,
                                        BlockCompensation::Diagonal,
                                        BlockCompensation::None};

GPTQFactor makeFactor(const std::vector<float> &h, int64_t columns,
                      int64_t block, double damp = 0.01) {
  ThreadPool pool(2);
  GPTQOptions options;
  options.staticGroups = true;
  options.blockSize = block;
  options.damp = damp;
  auto factor = GPTQFactor::create(h, columns, options, pool);
  EXPECT_TRUE(factor);
  return *std::move(factor);
}

/// The values that columns begin with and what they become, by position.
struct Blocks {
  std::vector<float> started, rounded;
  CompensatedLoss loss;
};

/// `round(position, value)` says what becomes of one value.
template <typename Round>
Blocks compensate(const std::vector<float> &weights, int64_t rows,
                  const GPTQFactor &factor, BlockCompensation kind, Round round,
                  unsigned threads = 2) {
  ThreadPool pool(threads);
  const int64_t k = factor.columns();
  Blocks blocks{weights, weights, {}};
  auto roundBlock = [&](int64_t begin, int64_t end, float *values) {
    for (int64_t r = 0; r != rows; ++r)
      for (int64_t j = begin; j != end; ++j) {
        float &value = values[r * (end - begin) + j - begin];
        blocks.started[r * k + j] = value;
        blocks.rounded[r * k + j] = value = round(j, value);
      }
  };
  blocks.loss =
      compensateBlocks(weights.data(), rows, factor, roundBlock, pool, kind);
  return blocks;
}

float toInteger(int64_t, float value) { return std::round(value); }

/// Two columns of values +-0.7, and one between them of steps of 0.01.
struct MixedRounder : StripRounder {
  void roundColumn(int64_t position, const float *current,
                   float *rounded) override {
    for (int64_t r = 0; r != kStripRows; ++r)
      rounded[r] = position == 1 ? std::round(current[r] * 100) / 100
                                 : std::copysign(0.7f, current[r]);
  }
};

TEST(Compensation, ColumnsOfDifferentGrids) {
  const std::vector<float> h = {4, 2, 1, 2, 3, 1, 1, 1, 2};
  const std::vector<float> w = {1, -0.4f, 0.7f};
  const GPTQFactor factor = makeFactor(h, 3, 8, 0);
  const float pivots[] = {0.620174f, 0.632456f, 0.707107f};
  for (int j = 0; j != 3; ++j)
    EXPECT_NEAR(factor.pivot(j), 1 / pivots[j], 1e-5);
  ThreadPool pool(1);
  auto loss = compensateColumns(
      w.data(), 1, factor,
      [](int64_t, int64_t) { return std::make_unique<MixedRounder>(); }, pool);
  EXPECT_NEAR(loss.squaredErrors, 0.2412, 1e-5);
  EXPECT_NEAR(outputError(w, {0.7f, -0.22f, 0.7f}, h, 3), 0.2412, 1e-5);
  EXPECT_NEAR(outputError(w, {0.7f, -0.4f, 0.7f}, h, 3), 0.36, 1e-5);
}

TEST(Compensation, BlockOfTwoColumns) {
  const std::vector<float> h = {2,    1,    0.5f, 0.2f, 1,    2,    0.6f, 0.3f,
                                0.5f, 0.6f, 1.5f, 0.4f, 0.2f, 0.3f, 0.4f, 1};
  const std::vector<float> w = {1, -0.4f, 0.3f, 0.8f};
  const GPTQFactor factor = makeFactor(h, 4, 2, 0);
  const float rest[][2] = {
      {0.501493f, 0.869403f}, {0.452675f, 0.848045f}, {0.3f, 0.8f}};
  const double losses[] = {0.463097, 0.467962, 0.54};
  for (int kind = 0; kind != 3; ++kind) {
    auto blocks =
        compensate(w, 1, factor, kKinds[kind], [](int64_t j, float value) {
          return j == 0 ? 0.7f : j == 1 ? -0.7f : value;
        });
    EXPECT_NEAR(blocks.started[2], rest[kind][0], 1e-5);
    EXPECT_NEAR(blocks.started[3], rest[kind][1], 1e-5);
    EXPECT_NEAR(blocks.loss.squaredErrors, losses[kind], 1e-5);
    EXPECT_NEAR(outputError(w, blocks.rounded, h, 4), losses[kind], 1e-5);
  }
}

TEST(Compensation, LossIsTheErrorAtTheOutputWhateverIsTakenOver) {
  const int64_t rows = 9, columns = 60;
  const auto weights = normalMatrix(rows * columns, 1, 2.0f);
  const auto h = secondMoment(correlatedInputs(200, columns, 1), columns, 1.0);
  const GPTQFactor factor = makeFactor(h, columns, 16);
  double least = 0;
  for (BlockCompensation kind : kKinds) {
    auto blocks = compensate(weights, rows, factor, kind, toInteger);
    const double error = outputError(weights, blocks.rounded, h, columns);
    EXPECT_NEAR(blocks.loss.outputError, error, 1e-4 * error);
    if (kind == BlockCompensation::Exact)
      least = error;
    else
      EXPECT_GT(error, least);
  }
}

TEST(Compensation, ExactIsTheClosedForm) {
  // W_R + (W_B - Q_B) H_BR H_RR^-1, for a block B in front of columns R.
  const int64_t columns = 24, block = 8, rest = columns - block;
  const auto w = normalMatrix(columns, 2, 2.0f);
  const auto h = secondMoment(correlatedInputs(90, columns, 2), columns, 1.0);
  auto blocks =
      compensate(w, 1, makeFactor(h, columns, block, 0),
                 BlockCompensation::Exact, [&](int64_t j, float value) {
                   return j < block ? std::round(value) : value;
                 });
  std::vector<double> hrr(rest * rest);
  for (int64_t i = 0; i != rest; ++i)
    for (int64_t j = 0; j != rest; ++j)
      hrr[i * rest + j] = h[(block + i) * columns + block + j];
  const auto u = inverseFactor(hrr, rest);
  for (int64_t j = 0; j != rest; ++j) {
    double value = w[block + j];
    for (int64_t b = 0; b != block; ++b)
      for (int64_t i = 0; i != rest; ++i) {
        double inverse = 0; // of H_RR, at i and j
        for (int64_t l = 0; l != rest; ++l)
          inverse += u[l * rest + i] * u[l * rest + j];
        value += (double(w[b]) - blocks.rounded[b]) *
                 h[b * columns + block + i] * inverse;
      }
    EXPECT_NEAR(blocks.started[block + j], value, 1e-4);
  }
}

TEST(Compensation, IndependentInputsTakeNothingOver) {
  const int64_t rows = 5, columns = 40;
  const auto weights = normalMatrix(rows * columns, 3, 2.0f);
  std::vector<float> h(columns * columns);
  for (int64_t j = 0; j != columns; ++j)
    h[j * columns + j] = j == 7 ? 0.0f : float(1 + j % 5);
  const GPTQFactor factor = makeFactor(h, columns, 16);
  EXPECT_TRUE(factor.isDead(7));
  std::vector<double> losses;
  for (BlockCompensation kind : kKinds) {
    // What a dead column becomes does not count.
    auto blocks =
        compensate(weights, rows, factor, kind, [](int64_t j, float value) {
          return j == 7 ? 99.0f : std::round(value);
        });
    for (int64_t i = 0; i != rows * columns; ++i)
      EXPECT_EQ(blocks.started[i], i % columns == 7 ? 0 : weights[i]);
    EXPECT_NEAR(blocks.loss.outputError,
                outputError(weights, blocks.rounded, h, columns), 1e-3);
  }
}

TEST(Compensation, EqualBitsForAnyThreads) {
  const int64_t rows = 600, columns = 50;
  const auto weights = normalMatrix(rows * columns, 4, 2.0f);
  const auto h = secondMoment(correlatedInputs(90, columns, 4), columns, 1.0);
  const GPTQFactor factor = makeFactor(h, columns, 16);
  for (BlockCompensation kind : kKinds) {
    auto one = compensate(weights, rows, factor, kind, toInteger, 1);
    auto three = compensate(weights, rows, factor, kind, toInteger, 3);
    EXPECT_EQ(one.started, three.started);
    EXPECT_EQ(one.loss.squaredErrors, three.loss.squaredErrors);
  }
}

TEST(Compensation, DiagonalOfTheInverse) {
  const int64_t columns = 50;
  auto h = secondMoment(correlatedInputs(90, columns, 5), columns, 1.0);
  for (int64_t j = 0; j != columns; ++j)
    h[j * columns + j] += 10; // well conditioned
  const auto u = inverseFactor({h.begin(), h.end()}, columns);
  for (int64_t block : {7, 50}) {
    ThreadPool pool(2);
    const GPTQFactor factor = makeFactor(h, columns, block, 0);
    const auto diagonal = factor.inverseDiagonal(pool);
    for (int64_t j = 0; j != columns; ++j) {
      double sum = 0;
      for (int64_t i = 0; i != columns; ++i)
        sum += u[i * columns + j] * u[i * columns + j];
      EXPECT_NEAR(diagonal[j], sum, 1e-4 * sum);
      EXPECT_NEAR(factor.pivot(j), 1 / u[j * columns + j],
                  1e-4 * factor.pivot(j));
    }
  }
}
} // namespace
