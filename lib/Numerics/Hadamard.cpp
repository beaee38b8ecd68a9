//===- Hadamard.cpp - Fast Hadamard transforms ----------------------------===//
//
// A row is m runs of 2^a elements. Every run is transformed in butterflies, the
// first four levels on sixteen neighbours at a time, then H_m combines the
// runs, element by element.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Hadamard.h"
#include "VectorClones.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

using namespace llq;
using namespace llq::numerics;

/// Elements that the first butterflies and the product with H_m take together.
static constexpr int64_t kNear = 16, kChunk = 64;
static constexpr int64_t kLargestOrder = 36;

int64_t llq::numerics::hadamardOrder(int64_t n) {
  if (n < 1)
    return 0;
  const int64_t odd = n >> std::countr_zero(static_cast<uint64_t>(n));
  if (odd == 1)
    return 1;
  return odd <= 9 && n % 4 == 0 ? 4 * odd : 0;
}

/// The quadratic character of i - j in the field of q elements, those of q = 9
/// being a + b i with i^2 = -1, numbered 3 b + a.
static int character(int64_t i, int64_t j, int64_t q) {
  if (i == j)
    return 0;
  if (q == 9) // the squares are 1, -1, i and -i
    return i % 3 == j % 3 || i / 3 == j / 3 ? 1 : -1;
  const int64_t difference = (i - j + q) % q;
  for (int64_t root = 1; root != q; ++root)
    if (root * root % q == difference)
      return 1;
  return -1;
}

/// H_m[m, m].
static std::vector<float> paleyMatrix(int64_t m) {
  if (m == 1)
    return {1};
  const int64_t q = m / 2 - 1;
  std::vector<float> matrix(m * m);
  for (int64_t i = 0; i != q + 1; ++i)
    for (int64_t j = 0; j != q + 1; ++j) {
      const int s = i == j             ? 0
                    : i == 0 || j == 0 ? 1
                                       : character(i - 1, j - 1, q);
      const int one = i == j ? 1 : 0;
      float *corner = &matrix[2 * i * m + 2 * j];
      corner[0] = static_cast<float>(s + one);
      corner[1] = corner[m] = static_cast<float>(s - one);
      corner[m + 1] = static_cast<float>(-s - one);
    }
  return matrix;
}

std::vector<int8_t> llq::numerics::hadamardMatrix(int64_t n) {
  assert(supportsHadamard(n));
  const int64_t m = hadamardOrder(n), run = n / m;
  const std::vector<float> left = paleyMatrix(m);
  std::vector<int8_t> matrix(n * n);
  for (int64_t i = 0; i != n; ++i)
    for (int64_t j = 0; j != n; ++j) {
      const auto common = static_cast<uint64_t>((i % run) & (j % run));
      const int sign = std::popcount(common) % 2 == 0 ? 1 : -1;
      matrix[i * n + j] = static_cast<int8_t>(
          sign * static_cast<int>(left[i / run * m + j / run]));
    }
  return matrix;
}

/// One level of butterflies within kNear elements.
template <int64_t distance> static inline void nearLevel(float *values) {
  float sums[kNear];
  for (int64_t i = 0; i != kNear; ++i)
    sums[i] = values[i ^ distance] + (i & distance ? -values[i] : values[i]);
  std::copy_n(sums, kNear, values);
}

/// x = H x for the Sylvester matrix of order `length`, a power of two.
LLQ_VECTOR_CLONES static void transformRun(float *x, int64_t length) {
  int64_t distance = 1;
  if (length >= kNear) {
    for (float *at = x; at != x + length; at += kNear) {
      nearLevel<1>(at);
      nearLevel<2>(at);
      nearLevel<4>(at);
      nearLevel<8>(at);
    }
    distance = kNear;
  }
  for (; distance < length; distance *= 2)
    for (int64_t first = 0; first != length; first += 2 * distance) {
      float *__restrict low = x + first, *__restrict high = low + distance;
      for (int64_t i = 0; i != distance; ++i) {
        const float sum = low[i] + high[i];
        high[i] = low[i] - high[i];
        low[i] = sum;
      }
    }
}

/// Combines `width` elements of the m runs of `x` by `left`, scaled.
LLQ_VECTOR_CLONES static void combineRuns(float *__restrict x, int64_t run,
                                          int64_t width,
                                          const float *__restrict left,
                                          int64_t m, float scale) {
  float given[kLargestOrder * kChunk], sums[kChunk];
  for (int64_t j = 0; j != m; ++j)
    std::copy_n(x + j * run, width, given + j * kChunk);
  for (int64_t i = 0; i != m; ++i) {
    std::fill_n(sums, kChunk, 0.0f);
    for (int64_t j = 0; j != m; ++j) {
      const float sign = left[i * m + j];
      const float *values = given + j * kChunk;
      for (int64_t t = 0; t != width; ++t)
        sums[t] += sign * values[t];
    }
    for (int64_t t = 0; t != width; ++t)
      x[i * run + t] = sums[t] * scale;
  }
}

void llq::numerics::hadamardTransform(float *rows, int64_t count, int64_t n,
                                      ThreadPool &pool) {
  assert(supportsHadamard(n));
  const int64_t m = hadamardOrder(n), run = n / m;
  const std::vector<float> left = paleyMatrix(m);
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(n)));
  pool.parallelFor(0, count, 16, [&](int64_t first, int64_t last) {
    for (float *x = rows + first * n; x != rows + last * n; x += n) {
      for (int64_t j = 0; j != m; ++j)
        transformRun(x + j * run, run);
      for (int64_t t = 0; t < run; t += kChunk)
        combineRuns(x + t, run, std::min(kChunk, run - t), left.data(), m,
                    scale);
    }
  });
}
