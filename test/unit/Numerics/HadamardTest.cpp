//===- HadamardTest.cpp - Tests of the fast Hadamard transforms ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Hadamard.h"
#include "QuantizeMatrix.h"
#include "llq/Support/ParallelFor.h"

#include <cmath>
#include <cstdlib>
#include <gtest/gtest.h>

using namespace llq;
using namespace llq::numerics;

namespace {
TEST(Hadamard, OrdersOfWidths) {
  for (int64_t n : {1, 2, 64, 1024, 4096})
    EXPECT_EQ(hadamardOrder(n), 1) << n;
  for (int64_t n : {12, 192, 1536, 3072, 49152})
    EXPECT_EQ(hadamardOrder(n), 12) << n;
  EXPECT_EQ(hadamardOrder(5120), 20);
  for (int64_t n : {28, 14336, 28672})
    EXPECT_EQ(hadamardOrder(n), 28) << n;
  EXPECT_EQ(hadamardOrder(576), 36);
  for (int64_t n : {-4, 0, 3, 6, 10, 44, 11008, 128256})
    EXPECT_FALSE(supportsHadamard(n)) << n;
}

TEST(Hadamard, MatricesAreSymmetricAndOrthogonal) {
  for (int64_t n : {1, 2, 8, 12, 20, 24, 28, 36, 56, 144}) {
    const std::vector<int8_t> h = hadamardMatrix(n);
    for (int64_t i = 0; i != n; ++i)
      for (int64_t j = 0; j <= i; ++j) {
        ASSERT_EQ(std::abs(h[i * n + j]), 1);
        ASSERT_EQ(h[i * n + j], h[j * n + i]);
        int64_t product = 0;
        for (int64_t k = 0; k != n; ++k)
          product += h[i * n + k] * h[j * n + k];
        ASSERT_EQ(product, i == j ? n : 0) << n;
      }
  }
}

TEST(Hadamard, OrderOf28IsThePublishedOne) {
  // Rows 0 and 2 of S (x) [[1, 1], [1, -1]] + I (x) [[1, -1], [-1, -1]] with
  // the squares 1, 3, 4, 9, 10 and 12 modulo 13.
  const std::vector<int8_t> h = hadamardMatrix(28);
  for (int64_t j = 0; j != 28; ++j)
    EXPECT_EQ(h[j], j == 1 ? -1 : 1);
  const int squares[13] = {0, 1, -1, 1, 1, -1, -1, -1, -1, 1, 1, -1, 1};
  for (int64_t j = 2; j != 14; ++j) // j = 1 is the diagonal
    for (int64_t k = 0; k != 2; ++k)
      EXPECT_EQ(h[2 * 28 + 2 * j + k], squares[(14 - j) % 13]) << j;
}

TEST(Hadamard, TransformEqualsTheMatrix) {
  ThreadPool pool(1);
  for (int64_t n : {1, 2, 4, 8, 16, 64, 128, 12, 48, 192, 20, 160, 28, 448, 36,
                    576, 1536}) {
    const auto x = normalMatrix(2 * n, 5, 1.0f);
    const std::vector<int8_t> h = hadamardMatrix(n);
    auto y = x;
    hadamardTransform(y.data(), 2, n, pool);
    for (int64_t r = 0; r != 2; ++r)
      for (int64_t i = 0; i != n; ++i) {
        double sum = 0;
        for (int64_t j = 0; j != n; ++j)
          sum += h[i * n + j] * double(x[r * n + j]);
        ASSERT_NEAR(y[r * n + i], sum / std::sqrt(double(n)), 2e-6) << n;
      }
  }
}

TEST(Hadamard, InvolutionOfFeedForwardWidthsForAnyThreads) {
  for (int64_t n : {4096, 14336}) {
    const int64_t rows = 40;
    const auto x = normalMatrix(rows * n, 6, 1.0f);
    auto y = x, z = x;
    ThreadPool one(1), three(3);
    hadamardTransform(y.data(), rows, n, one);
    hadamardTransform(z.data(), rows, n, three);
    EXPECT_EQ(y, z);
    double before = 0, after = 0;
    for (int64_t i = 0; i != n; ++i)
      before += double(x[i]) * x[i], after += double(y[i]) * y[i];
    EXPECT_NEAR(after / before, 1, 1e-6);
    hadamardTransform(y.data(), rows, n, three);
    for (size_t i = 0; i != x.size(); ++i)
      ASSERT_NEAR(x[i], y[i], 4e-6);
  }
}
} // namespace
