//===- CholeskyTest.cpp - Factors of one tile and of several --------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Cholesky.h"
#include "QuantizeMatrix.h"
#include "llq/Support/ParallelFor.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace llq;
using namespace llq::numerics;

namespace {
/// Symmetric with eigenvalues above 1; below the diagonal is rubbish.
template <typename T> std::vector<T> positiveMatrix(int64_t n) {
  auto random = normalMatrix(n * 24, 5, 1.0f);
  std::vector<T> matrix(n * n, T(1e30));
  for (int64_t i = 0; i != n; ++i)
    for (int64_t j = i; j != n; ++j) {
      double sum = i == j ? 1.0 + double(i % 3) : 0.0;
      for (int64_t k = 0; k != 24; ++k)
        sum += random[i * 24 + k] * random[j * 24 + k];
      matrix[i * n + j] = static_cast<T>(sum);
    }
  return matrix;
}

template <typename T> void checkFactor(int64_t n, double tolerance) {
  const std::vector<T> matrix = positiveMatrix<T>(n);
  std::vector<T> v = matrix, again = matrix;
  ThreadPool one(1), three(3);
  ASSERT_TRUE(factorUpper(v.data(), n, one));
  ASSERT_TRUE(factorUpper(again.data(), n, three));
  EXPECT_EQ(v, again);
  double worst = 0;
  for (int64_t i = 0; i < n; i += n / 7 + 1)
    for (int64_t j = i; j != n; ++j) {
      double sum = 0;
      for (int64_t k = 0; k != n; ++k)
        sum += double(v[i * n + k]) * v[j * n + k];
      worst = std::max(worst, std::fabs(sum - matrix[i * n + j]));
      if (j != i) {
        EXPECT_EQ(v[j * n + i], 0);
      }
    }
  EXPECT_LE(worst, tolerance); // entries are up to about 60
}

TEST(Cholesky, ProductOfFactorIsTheMatrix) {
  for (int64_t n : {1, 2, 17, 255, 256, 257, 900}) {
    checkFactor<float>(n, 3e-5);
    checkFactor<double>(n, 1e-13);
  }
}

TEST(Cholesky, RejectsWhatIsNotPositiveDefinite) {
  ThreadPool pool(2);
  for (int64_t n : {2, 300})
    for (int64_t at : {int64_t(0), n - 1}) {
      auto matrix = positiveMatrix<float>(n);
      matrix[at * n + at] = -1;
      EXPECT_FALSE(factorUpper(matrix.data(), n, pool));
      matrix = positiveMatrix<float>(n);
      matrix[at * n + at] = std::numeric_limits<float>::quiet_NaN();
      EXPECT_FALSE(factorUpper(matrix.data(), n, pool));
    }
  // Rank one.
  std::vector<float> ones(9, 1.0f);
  EXPECT_FALSE(factorUpper(ones.data(), 3, pool));
}

TEST(Cholesky, InverseOfATriangle) {
  const int64_t n = 40, stride = 50;
  auto v = normalMatrix(n * stride, 8, 0.3f);
  for (int64_t i = 0; i != n; ++i)
    v[i * stride + i] = 2;
  std::vector<float> inverse(n * n);
  invertUpper(v.data(), n, stride, inverse.data());
  for (int64_t i = 0; i != n; ++i)
    for (int64_t j = 0; j != n; ++j) {
      double sum = 0;
      for (int64_t k = i; k <= j; ++k)
        sum += double(v[i * stride + k]) * inverse[k * n + j];
      EXPECT_NEAR(sum, i == j ? 1 : 0, 1e-6);
      if (j < i) {
        EXPECT_EQ(inverse[i * n + j], 0);
      }
    }
}
} // namespace
