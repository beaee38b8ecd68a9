//===- Cholesky.cpp - Triangular factors of large matrices ----------------===//
//
// Right-looking, from the last tile column to the first: factor the diagonal
// tile, solve for the tiles above it, subtract their products from what is
// left. The subtraction is nearly all of the work and runs on tile pairs in
// parallel.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Cholesky.h"
#include "BLAS.h"
#include "Dot.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

using namespace llq;
using namespace llq::numerics;

/// Columns factored at a time; the inner length of all products.
static constexpr int64_t kTile = 256;
/// Height of the panels that are solved, and size of the updated squares.
static constexpr int64_t kUpdate = 512;

/// V of the n x n tile at `a`, in place, with sums in double precision.
/// `diagonal` holds the entries that the whole matrix had there.
template <typename T>
static bool factorTile(T *a, int64_t n, int64_t stride, const T *diagonal) {
  constexpr double tolerance = 16 * std::numeric_limits<T>::epsilon();
  for (int64_t j = n - 1; j >= 0; --j) {
    const T *rowJ = a + j * stride;
    for (int64_t i = j; i >= 0; --i) {
      T *rowI = a + i * stride;
      const double sum = rowI[j] - dot(rowI + j + 1, rowJ + j + 1, n - j - 1);
      if (i == j) {
        if (!(sum > tolerance * diagonal[j]) || !std::isfinite(sum))
          return false;
        rowI[j] = static_cast<T>(std::sqrt(sum));
      } else {
        rowI[j] = static_cast<T>(sum / rowJ[j]);
      }
    }
  }
  return true;
}

template <typename T>
static bool factor(T *matrix, int64_t n, ThreadPool &pool) {
  std::vector<T> diagonal(n);
  for (int64_t i = 0; i != n; ++i)
    diagonal[i] = matrix[i * n + i];

  for (int64_t tile = (n - 1) / kTile; tile >= 0; --tile) {
    const int64_t begin = tile * kTile, width = std::min(kTile, n - begin);
    T *corner = matrix + begin * n + begin;
    if (!factorTile(corner, width, n, diagonal.data() + begin))
      return false;
    pool.parallelFor(0, begin, kUpdate, [&](int64_t first, int64_t last) {
      blas::solveTransposedUpper(last - first, width, corner, n,
                                 matrix + first * n + begin, n);
    });

    // Square (I, J), I <= J, of the leading matrix; a pair is a number.
    const int64_t squares = (begin + kUpdate - 1) / kUpdate;
    pool.parallelFor(
        0, squares * (squares + 1) / 2, 1, [&](int64_t first, int64_t) {
          int64_t column = 0;
          while ((column + 1) * (column + 2) / 2 <= first)
            ++column;
          const int64_t row = first - column * (column + 1) / 2;
          const int64_t i = row * kUpdate, j = column * kUpdate;
          const T *left = matrix + i * n + begin;
          const T *right = matrix + j * n + begin;
          if (i == j)
            blas::subtractSquare(std::min(kUpdate, begin - i), width, left, n,
                                 matrix + i * n + i, n);
          else
            blas::multiplyTransposed(kUpdate, std::min(kUpdate, begin - j),
                                     width, T(-1), left, n, right, n, T(1),
                                     matrix + i * n + j, n);
        });
  }
  pool.parallelFor(1, n, 64, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i != last; ++i)
      std::fill_n(matrix + i * n, i, T(0));
  });
  return true;
}

bool llq::numerics::factorUpper(float *matrix, int64_t n, ThreadPool &pool) {
  return factor(matrix, n, pool);
}

bool llq::numerics::factorUpper(double *matrix, int64_t n, ThreadPool &pool) {
  return factor(matrix, n, pool);
}

void llq::numerics::invertUpper(const float *v, int64_t n, int64_t stride,
                                float *inverse) {
  // Row i of the inverse is (e_i - v[i, i+1:] inverse[i+1:, :]) / v[i, i].
  std::vector<double> rows(n * n, 0.0);
  for (int64_t i = n - 1; i >= 0; --i) {
    double *row = rows.data() + i * n;
    row[i] = 1;
    for (int64_t k = i + 1; k != n; ++k) {
      const double factor = v[i * stride + k];
      const double *below = rows.data() + k * n;
      for (int64_t j = k; j != n; ++j)
        row[j] -= factor * below[j];
    }
    const double pivot = v[i * stride + i];
    for (int64_t j = i; j != n; ++j)
      row[j] /= pivot;
  }
  std::transform(rows.begin(), rows.end(), inverse,
                 [](double value) { return static_cast<float>(value); });
}
