//===- Rotation.cpp - Random orthogonal changes of basis ------------------===//
//
// Rows are taken in tiles of one height, the last one filled up with zeros, so
// that every matrix product has the same shape.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Rotation.h"
#include "BLAS.h"
#include "llq/Numerics/Hadamard.h"
#include "llq/Numerics/Random.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

using namespace llq;
using namespace llq::numerics;

/// Rows that are rotated together, and columns that become rows together.
static constexpr int64_t kTile = 16, kColumns = 64;

namespace {
/// Which numbers of a length a table is made of.
enum Table : uint64_t { Signs, Left, Right, InputOrder, OutputOrder, Tables };
} // namespace

static uint64_t streamOf(int64_t n, Table table) {
  return static_cast<uint64_t>(n) * Tables + table;
}

//===----------------------------------------------------------------------===//
// Columns
//===----------------------------------------------------------------------===//

/// to[columns, rows] = from[rows, columns]^T, rows of each so far apart. In
/// small squares along the longer side: the rows of a large matrix lie on
/// different pages and in the same sets of the cache.
static void transpose(const float *from, int64_t fromStride, int64_t rows,
                      int64_t columns, float *to, int64_t toStride) {
  constexpr int64_t side = 16;
  auto transposeSquare = [&](int64_t i, int64_t j) {
    float square[side * side];
    const int64_t height = std::min(side, rows - i);
    const int64_t width = std::min(side, columns - j);
    for (int64_t r = 0; r != height; ++r)
      for (int64_t c = 0; c != width; ++c)
        square[c * side + r] = from[(i + r) * fromStride + j + c];
    for (int64_t c = 0; c != width; ++c)
      std::copy_n(square + c * side, height, to + (j + c) * toStride + i);
  };
  if (rows >= columns)
    for (int64_t i = 0; i < rows; i += side)
      for (int64_t j = 0; j < columns; j += side)
        transposeSquare(i, j);
  else
    for (int64_t j = 0; j < columns; j += side)
      for (int64_t i = 0; i < rows; i += side)
        transposeSquare(i, j);
}

/// Rotates the columns of matrix[n, columns] by way of rows.
template <typename Rotate>
static void rotateColumns(float *matrix, int64_t n, int64_t columns,
                          ThreadPool &pool, Rotate rotate) {
  pool.parallelFor(0, columns, kColumns, [&](int64_t first, int64_t last) {
    const int64_t count = last - first;
    std::vector<float> rows(count * n);
    transpose(matrix + first, columns, n, count, rows.data(), n);
    rotate(rows.data(), count);
    transpose(rows.data(), n, count, n, matrix + first, columns);
  });
}

void Rotation::applyToColumns(float *matrix, int64_t columns,
                              ThreadPool &pool) const {
  rotateColumns(matrix, length, columns, pool,
                [&](float *rows, int64_t count) { apply(rows, count, pool); });
}

void Rotation::applyTransposedToColumns(float *matrix, int64_t columns,
                                        ThreadPool &pool) const {
  rotateColumns(matrix, length, columns, pool, [&](float *rows, int64_t count) {
    applyTransposed(rows, count, pool);
  });
}

//===----------------------------------------------------------------------===//
// Hadamard
//===----------------------------------------------------------------------===//

HadamardRotation::HadamardRotation(std::vector<float> signs)
    : Rotation(std::ssize(signs)), table(std::move(signs)) {
  assert(supportsHadamard(size()));
}

void HadamardRotation::multiplySigns(float *rows, int64_t count,
                                     ThreadPool &pool) const {
  pool.parallelFor(0, count, kTile, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r != last; ++r)
      for (int64_t j = 0; j != size(); ++j)
        rows[r * size() + j] *= table[j];
  });
}

void HadamardRotation::apply(float *rows, int64_t count,
                             ThreadPool &pool) const {
  multiplySigns(rows, count, pool);
  hadamardTransform(rows, count, size(), pool);
}

void HadamardRotation::applyTransposed(float *rows, int64_t count,
                                       ThreadPool &pool) const {
  hadamardTransform(rows, count, size(), pool);
  multiplySigns(rows, count, pool);
}

//===----------------------------------------------------------------------===//
// Kronecker
//===----------------------------------------------------------------------===//

KroneckerRotation::KroneckerRotation(KroneckerTables tables)
    : Rotation(tables.p * tables.q), table(std::move(tables)) {
  assert(std::ssize(table.left) == table.p * table.p);
  assert(std::ssize(table.right) == table.q * table.q);
  assert(std::ssize(table.inputOrder) == size());
  assert(std::ssize(table.outputOrder) == size());
}

/// Replaces the rows of rows[count, n], a tile at a time, by what `body` makes
/// of them in place: body(tile[kTile, n], scratch[kTile, n]).
template <typename Body>
static void forTiles(float *rows, int64_t count, int64_t n, ThreadPool &pool,
                     Body body) {
  pool.parallelFor(0, count, kTile, [&](int64_t first, int64_t last) {
    std::vector<float> tile(kTile * n), scratch(kTile * n);
    std::copy(rows + first * n, rows + last * n, tile.begin());
    body(tile.data(), scratch.data());
    std::copy_n(tile.begin(), (last - first) * n, rows + first * n);
  });
}

/// to_i = from[order[i]] for each row of a tile.
static void gather(const float *from, const std::vector<int32_t> &order,
                   float *to) {
  const int64_t n = std::ssize(order);
  for (int64_t r = 0; r != kTile; ++r)
    for (int64_t i = 0; i != n; ++i)
      to[r * n + i] = from[r * n + order[i]];
}

/// to[order[i]] = from_i for each row of a tile.
static void scatter(const float *from, const std::vector<int32_t> &order,
                    float *to) {
  const int64_t n = std::ssize(order);
  for (int64_t r = 0; r != kTile; ++r)
    for (int64_t i = 0; i != n; ++i)
      to[r * n + order[i]] = from[r * n + i];
}

void KroneckerRotation::apply(float *rows, int64_t count,
                              ThreadPool &pool) const {
  const auto &[p, q, left, right, inputOrder, outputOrder] = table;
  forTiles(rows, count, size(), pool, [&](float *tile, float *scratch) {
    gather(tile, inputOrder, scratch);
    blas::multiplyTransposed(kTile * p, q, q, 1.0f, scratch, q, right.data(), q,
                             0.0f, tile, q);
    for (int64_t at = 0; at != kTile * p * q; at += p * q)
      blas::multiply(p, q, p, 1.0f, left.data(), p, tile + at, q, 0.0f,
                     scratch + at, q);
    gather(scratch, outputOrder, tile);
  });
}

void KroneckerRotation::applyTransposed(float *rows, int64_t count,
                                        ThreadPool &pool) const {
  const auto &[p, q, left, right, inputOrder, outputOrder] = table;
  forTiles(rows, count, size(), pool, [&](float *tile, float *scratch) {
    scatter(tile, outputOrder, scratch);
    blas::multiply(kTile * p, q, q, 1.0f, scratch, q, right.data(), q, 0.0f,
                   tile, q);
    for (int64_t at = 0; at != kTile * p * q; at += p * q)
      blas::transposedMultiply(p, q, p, left.data(), p, tile + at, q, 0.0f,
                               scratch + at, q);
    scatter(scratch, inputOrder, tile);
  });
}

KroneckerSplit llq::numerics::splitKronecker(int64_t n) {
  assert(n >= 1);
  KroneckerSplit split{1, 1};
  bool first = true;
  for (int64_t prime = 2; n != 1; ++prime) {
    if (prime * prime > n)
      prime = n;
    for (; n % prime == 0; n /= prime, first = !first)
      (first ? split.p : split.q) *= prime;
  }
  return split;
}

//===----------------------------------------------------------------------===//
// Random tables
//===----------------------------------------------------------------------===//

std::vector<double> llq::numerics::randomOrthogonal(int64_t n, uint64_t seed,
                                                    uint64_t stream) {
  // Q of the factors Q R of normal deviates, with the signs that make the
  // diagonal of R positive, is Haar distributed in O(n) (Stewart 1980).
  std::vector<float> normal(n * n);
  Random(seed, stream).fillNormal(0, normal);
  std::vector<double> r(normal.begin(), normal.end()), q(n * n), axis(n),
      products(n);
  for (int64_t i = 0; i != n; ++i)
    q[i * n + i] = 1;
  // Rows i.. of a matrix become those of (I - 2 v v^T / v^T v) times it.
  auto reflect = [&](std::vector<double> &matrix, int64_t i, double square) {
    std::fill(products.begin(), products.end(), 0.0);
    for (int64_t row = i; row != n; ++row)
      for (int64_t j = 0; j != n; ++j)
        products[j] += axis[row] * matrix[row * n + j];
    for (int64_t row = i; row != n; ++row) {
      const double factor = 2 * axis[row] / square;
      for (int64_t j = 0; j != n; ++j)
        matrix[row * n + j] -= factor * products[j];
    }
  };
  // q collects Q^T = reflections, the last one leftmost.
  bool negative = false;
  for (int64_t i = 0; i + 1 < n; ++i) {
    double square = 0;
    for (int64_t row = i; row != n; ++row) {
      axis[row] = r[row * n + i];
      square += axis[row] * axis[row];
    }
    const double norm = std::sqrt(square), head = axis[i];
    axis[i] = head < 0 ? head - norm : head + norm;
    square += axis[i] * axis[i] - head * head;
    if (square == 0)
      continue;
    reflect(r, i, square);
    reflect(q, i, square);
    negative = !negative;
  }
  for (int64_t i = 0; i != n; ++i)
    if (r[i * n + i] < 0) {
      negative = !negative;
      for (int64_t j = 0; j != n; ++j)
        q[i * n + j] = -q[i * n + j];
    }
  if (negative)
    for (int64_t j = 0; j != n; ++j)
      q[j] = -q[j];
  return q; // Q^T, which is Haar distributed as well as Q
}

std::vector<int32_t> llq::numerics::randomPermutation(int64_t n, uint64_t seed,
                                                      uint64_t stream) {
  std::vector<uint32_t> words(n);
  Random(seed, stream).fillWords(0, words);
  std::vector<int32_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = n - 1; i > 0; --i) {
    const uint64_t range = static_cast<uint64_t>(i) + 1;
    std::swap(order[i], order[(words[i] * range) >> 32]);
  }
  return order;
}

std::vector<float> llq::numerics::randomSigns(int64_t n, uint64_t seed) {
  std::vector<uint32_t> words(n);
  Random(seed, streamOf(n, Signs)).fillWords(0, words);
  std::vector<float> signs(n);
  std::transform(words.begin(), words.end(), signs.begin(),
                 [](uint32_t word) { return word >> 31 ? -1.0f : 1.0f; });
  return signs;
}

KroneckerTables llq::numerics::randomKroneckerTables(int64_t n, uint64_t seed) {
  const auto [p, q] = splitKronecker(n);
  auto factor = [&](int64_t size, Table table) {
    const std::vector<double> matrix =
        randomOrthogonal(size, seed, streamOf(n, table));
    return std::vector<float>(matrix.begin(), matrix.end());
  };
  return {p,
          q,
          factor(p, Left),
          factor(q, Right),
          randomPermutation(n, seed, streamOf(n, InputOrder)),
          randomPermutation(n, seed, streamOf(n, OutputOrder))};
}

std::unique_ptr<Rotation>
llq::numerics::makeRotation(RotationKind kind, int64_t n, uint64_t seed) {
  if (kind == RotationKind::Hadamard)
    return std::make_unique<HadamardRotation>(randomSigns(n, seed));
  return std::make_unique<KroneckerRotation>(randomKroneckerTables(n, seed));
}
