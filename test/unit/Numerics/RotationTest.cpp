//===- RotationTest.cpp - Tests of random changes of basis ---------------===//
//
// The rotation example of docs/methods/quip.md, explicit matrices, and known
// answers: the tables are part of what a seed means in stored models.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Rotation.h"
#include "Hash.h"
#include "QuantizeMatrix.h"
#include "llq/Numerics/Hadamard.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <numeric>

using namespace llq;
using namespace llq::numerics;

namespace {
/// V[n, n]: the rotated unit vectors as columns.
std::vector<float> matrixOf(const Rotation &rotation) {
  const int64_t n = rotation.size();
  std::vector<float> rows(n * n), matrix(n * n);
  for (int64_t i = 0; i != n; ++i)
    rows[i * n + i] = 1;
  ThreadPool pool(2);
  rotation.apply(rows.data(), n, pool);
  for (int64_t i = 0; i != n; ++i)
    for (int64_t j = 0; j != n; ++j)
      matrix[i * n + j] = rows[j * n + i];
  return matrix;
}

/// max |V V^T - I|
double orthogonalityError(const std::vector<double> &v, int64_t n) {
  double worst = 0;
  for (int64_t i = 0; i != n; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      double sum = i == j ? -1 : 0;
      for (int64_t k = 0; k != n; ++k)
        sum += v[i * n + k] * v[j * n + k];
      worst = std::max(worst, std::fabs(sum));
    }
  return worst;
}

double determinant(std::vector<double> a, int64_t n) {
  double result = 1;
  for (int64_t k = 0; k != n; ++k) {
    int64_t pivot = k;
    for (int64_t i = k; i != n; ++i)
      if (std::fabs(a[i * n + k]) > std::fabs(a[pivot * n + k]))
        pivot = i;
    if (pivot != k) {
      std::swap_ranges(&a[k * n], &a[k * n] + n, &a[pivot * n]);
      result = -result;
    }
    result *= a[k * n + k];
    for (int64_t i = k + 1; i != n; ++i)
      for (int64_t j = n - 1; j >= k; --j)
        a[i * n + j] -= a[i * n + k] / a[k * n + k] * a[k * n + j];
  }
  return result;
}

TEST(Rotation, SplitsTakeAlternatePrimes) {
  auto split = [](int64_t n) {
    const KroneckerSplit s = splitKronecker(n);
    return std::pair(s.p, s.q);
  };
  using Pair = std::pair<int64_t, int64_t>;
  EXPECT_EQ(split(4096), Pair(64, 64));
  EXPECT_EQ(split(1024), Pair(32, 32));
  EXPECT_EQ(split(14336), Pair(64, 224));
  EXPECT_EQ(split(12), Pair(6, 2));
  EXPECT_EQ(split(576), Pair(24, 24));
  EXPECT_EQ(split(1536), Pair(32, 48));
  EXPECT_EQ(split(11008), Pair(688, 16));
  EXPECT_EQ(split(7), Pair(7, 1));
  EXPECT_EQ(split(1), Pair(1, 1));
}

TEST(Rotation, OrthogonalMatricesAreSpecialAndHaarDistributed) {
  for (int64_t n : {1, 2, 3, 10, 64}) {
    const std::vector<double> q = randomOrthogonal(n, 1, 7);
    EXPECT_LT(orthogonalityError(q, n), 4e-15) << n;
    EXPECT_NEAR(determinant(q, n), 1, 1e-13) << n;
  }
  // Moments of the trace in SO(3), where it is 1 + 2 cos of an angle of density
  // (1 - cos) / pi: mean 0, square 1. And a rotation of the plane has an angle
  // of even density.
  double mean = 0, square = 0, cosine = 0, sine = 0;
  const int draws = 2000;
  for (int i = 0; i != draws; ++i) {
    const auto q = randomOrthogonal(3, 2, i), plane = randomOrthogonal(2, 3, i);
    const double trace = q[0] + q[4] + q[8];
    mean += trace / draws, square += trace * trace / draws;
    cosine += plane[0] / draws, sine += plane[1] / draws;
  }
  EXPECT_NEAR(mean, 0, 0.09); // four standard errors
  EXPECT_NEAR(square, 1, 0.13);
  EXPECT_NEAR(cosine, 0, 0.064);
  EXPECT_NEAR(sine, 0, 0.064);
}

TEST(Rotation, PermutationsHoldEveryIndexOnce) {
  for (int64_t n : {1, 2, 1000}) {
    auto order = randomPermutation(n, 1, 2);
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i != n; ++i)
      ASSERT_EQ(order[i], i);
  }
  // All six orders of three, about equally often.
  int counts[27] = {};
  for (int i = 0; i != 6000; ++i) {
    auto order = randomPermutation(3, 5, i);
    ++counts[order[0] * 9 + order[1] * 3 + order[2]];
  }
  for (int at : {5, 7, 11, 15, 19, 21})
    EXPECT_NEAR(counts[at], 1000, 120); // four standard deviations
}

TEST(Rotation, ExampleCTurnsWeightsAndInputs) {
  std::vector<int32_t> inputOrder = {0, 1, 2, 3};
  KroneckerRotation v(
      {2, 2, {0.6f, 0.8f, -0.8f, 0.6f}, {0, 1, -1, 0}, inputOrder, inputOrder});
  KroneckerRotation r({2, 1, {0.6f, 0.8f, -0.8f, 0.6f}, {1}, {0, 1}, {0, 1}});
  ThreadPool pool(1);
  std::vector<float> x = {1, 2, 3, 4}, w = {4, 0, 0, 0, 0, 1, 0, 0};
  v.apply(x.data(), 1, pool);
  const double turned[] = {4.4, -3, 0.8, -1};
  for (int i = 0; i != 4; ++i)
    EXPECT_NEAR(x[i], turned[i], 1e-6);
  v.apply(w.data(), 2, pool);
  r.applyToColumns(w.data(), 4, pool);
  const double expected[] = {0.48, -1.44, -0.64, 1.92,
                             0.36, 1.92,  -0.48, -2.56};
  for (int i = 0; i != 8; ++i)
    EXPECT_NEAR(w[i], expected[i], 1e-6) << i;
  std::vector<float> y(2);
  for (int i = 0; i != 8; ++i)
    y[i / 4] += w[i] * x[i % 4];
  r.applyTransposed(y.data(), 1, pool);
  EXPECT_NEAR(y[0], 4, 1e-5);
  EXPECT_NEAR(y[1], 2, 1e-5);
}

TEST(Rotation, KroneckerEqualsItsMatrix) {
  const KroneckerTables t = randomKroneckerTables(12, 3);
  ASSERT_EQ(t.p, 6);
  ASSERT_EQ(t.q, 2);
  const auto v = matrixOf(KroneckerRotation(t));
  for (int64_t i = 0; i != 12; ++i)
    for (int64_t j = 0; j != 12; ++j) {
      const int64_t from = t.outputOrder[i], to = t.inputOrder[j];
      EXPECT_NEAR(v[i * 12 + to],
                  t.left[from / 2 * 6 + j / 2] * t.right[from % 2 * 2 + j % 2],
                  1e-7);
    }
}

TEST(Rotation, HadamardEqualsItsMatrix) {
  const int64_t n = 24;
  const std::vector<float> signs = randomSigns(n, 3);
  const auto v = matrixOf(HadamardRotation(signs));
  const std::vector<int8_t> h = hadamardMatrix(n);
  for (int64_t i = 0; i != n * n; ++i)
    EXPECT_NEAR(v[i], h[i] * signs[i % n] / std::sqrt(double(n)), 1e-7);
}

struct Case {
  RotationKind kind;
  int64_t n;
};
const Case kCases[] = {
    {RotationKind::Hadamard, 64},  {RotationKind::Hadamard, 192},
    {RotationKind::Hadamard, 576}, {RotationKind::Kronecker, 1},
    {RotationKind::Kronecker, 7},  {RotationKind::Kronecker, 192},
    {RotationKind::Kronecker, 576}};

TEST(Rotation, OrthogonalAndUndoneByItsTranspose) {
  ThreadPool pool(2);
  for (auto [kind, n] : kCases) {
    const auto rotation = makeRotation(kind, n, 9);
    ASSERT_EQ(rotation->size(), n);
    const auto v = matrixOf(*rotation);
    EXPECT_LT(orthogonalityError({v.begin(), v.end()}, n), 1e-6) << n;
    const auto x = normalMatrix(37 * n, 8, 1.0f);
    auto y = x;
    rotation->apply(y.data(), 37, pool);
    double given = 0, turned = 0;
    for (size_t i = 0; i != x.size(); ++i)
      given += double(x[i]) * x[i], turned += double(y[i]) * y[i];
    EXPECT_NEAR(turned / given, 1, 1e-6);
    rotation->applyTransposed(y.data(), 37, pool);
    for (size_t i = 0; i != x.size(); ++i)
      ASSERT_NEAR(x[i], y[i], 3e-6) << n;
    // Columns are rows of the transpose.
    std::vector<float> columns(x.size()), rows = x;
    for (int64_t r = 0; r != 37; ++r)
      for (int64_t i = 0; i != n; ++i)
        columns[i * 37 + r] = x[r * n + i];
    for (bool transposed : {false, true}) {
      if (transposed) {
        rotation->applyTransposed(rows.data(), 37, pool);
        rotation->applyTransposedToColumns(columns.data(), 37, pool);
      } else {
        rotation->apply(rows.data(), 37, pool);
        rotation->applyToColumns(columns.data(), 37, pool);
      }
      for (int64_t r = 0; r != 37; ++r)
        for (int64_t i = 0; i != n; ++i)
          ASSERT_EQ(columns[i * 37 + r], rows[r * n + i]);
    }
  }
}

TEST(Rotation, EqualBitsForAnyThreadsAndAnyRowsBeside) {
  ThreadPool one(1), three(3);
  for (auto [kind, n] : kCases) {
    const auto rotation = makeRotation(kind, n, 9);
    const auto x = normalMatrix(70 * n, 8, 1.0f);
    auto y = x, z = x;
    rotation->apply(y.data(), 70, one);
    rotation->apply(z.data(), 70, three);
    EXPECT_EQ(y, z);
    std::vector<float> part(&x[21 * n], &x[21 * n] + 5 * n);
    rotation->apply(part.data(), 5, one);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), &y[21 * n]));
  }
}

TEST(Rotation, SeedsMeanTheSameTablesForEver) {
  EXPECT_EQ(hashOf(randomSigns(4096, 0)), 0xf40672d5da763aa5u);
  EXPECT_EQ(hashOf(randomSigns(576, 12345)), 0x3a39cf1d4f909d25u);
  KroneckerTables t = randomKroneckerTables(14336, 0);
  EXPECT_EQ(hashOf(t.left), 0x813c2d22aeb3ef02u);
  EXPECT_EQ(hashOf(t.right), 0x5718c253fea1f39bu);
  EXPECT_EQ(hashOf(t.inputOrder), 0x561bf6307b3468c9u);
  EXPECT_EQ(hashOf(t.outputOrder), 0xd4b74f0fdfe981u);
  t = randomKroneckerTables(576, 12345);
  EXPECT_EQ(hashOf(t.left), 0x5d1461d9a1310cbau);
  EXPECT_EQ(hashOf(t.right), 0xbd5409eff1883b7du);
}

TEST(Rotation, LengthsAndSeedsAreIndependent) {
  const auto a = randomSigns(512, 1);
  for (const auto &b : {randomSigns(512, 2), randomSigns(1024, 1)}) {
    const float sum = std::inner_product(a.begin(), a.end(), b.begin(), 0.0f);
    EXPECT_LT(std::fabs(sum), 100); // more than four standard deviations
  }
}
} // namespace
