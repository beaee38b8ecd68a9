//===- CoordinateDescent.cpp - Rounding again with all else fixed ---------===//
//
// A thread takes a strip of rows through all passes. D H is computed for a
// panel of columns at a time and kept up to date inside it.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/CoordinateDescent.h"
#include "BLAS.h"
#include "VectorClones.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <vector>

using namespace llq;
using namespace llq::numerics;

static constexpr int64_t kStrip = 256;
/// Least columns of a panel.
static constexpr int64_t kPanel = 128;

/// inverse[n, n] of a symmetric positive definite matrix of rows `stride`
/// apart; zeros if it is not definite, which leaves tuples where they are.
static void invert(const float *matrix, int64_t stride, int64_t n,
                   float *inverse) {
  // Gauss-Jordan on [matrix, I].
  std::vector<double> rows(2 * n * n);
  for (int64_t i = 0; i != n; ++i) {
    std::copy_n(matrix + i * stride, n, &rows[i * 2 * n]);
    rows[i * 2 * n + n + i] = 1;
  }
  std::fill_n(inverse, n * n, 0.0f);
  for (int64_t k = 0; k != n; ++k) {
    double *pivotRow = &rows[k * 2 * n];
    const double pivot = pivotRow[k];
    if (!(pivot > 0))
      return;
    for (int64_t j = 0; j != 2 * n; ++j)
      pivotRow[j] /= pivot;
    for (int64_t i = 0; i != n; ++i) {
      const double factor = rows[i * 2 * n + k];
      if (i != k)
        for (int64_t j = 0; j != 2 * n; ++j)
          rows[i * 2 * n + j] -= factor * pivotRow[j];
    }
  }
  for (int64_t i = 0; i != n; ++i)
    for (int64_t j = 0; j != n; ++j)
      inverse[i * n + j] = static_cast<float>(rows[i * 2 * n + n + j]);
}

/// products[c, :] -= weights[c] * moves for the first `count` columns.
LLQ_VECTOR_CLONES static void subtractMoves(float *__restrict products,
                                            const float *__restrict weights,
                                            const float *__restrict moves,
                                            int64_t count) {
  for (int64_t c = 0; c != count; ++c)
    for (int64_t r = 0; r != kStrip; ++r)
      products[c * kStrip + r] -= weights[c] * moves[r];
}

namespace {
/// A strip of rows on its way through the tuples.
class DescendingStrip {
public:
  DescendingStrip(std::span<const float> secondMoment,
                  const std::vector<float> &inverses, int64_t columns,
                  int64_t width, const RoundTuplesFn &round,
                  const float *weights, float *rounded, uint32_t *codes,
                  int64_t rows)
      : moment(secondMoment), inverses(inverses), columns(columns),
        width(width), panelWidth((kPanel + width - 1) / width * width),
        round(round), rounded(rounded), codes(codes), rows(rows),
        deltas(kStrip * columns), products(kStrip * panelWidth),
        targets(kStrip * width), moves(kStrip * width), targetCodes(kStrip) {
    for (int64_t i = 0; i != rows * columns; ++i)
      deltas[i] = weights[i] - rounded[i];
  }

  void pass();

private:
  const float *row(int64_t i) const { return &moment[i * columns]; }
  /// D H of the column at `column`, [kStrip].
  const float *slopes(int64_t column) const {
    return &products[(column - panel) * kStrip];
  }

  void moveTuple(int64_t tuple);
  bool pays(int64_t tuple, int64_t r, const float *now,
            const float *next) const;

  const std::span<const float> moment;
  const std::vector<float> &inverses; ///< of H_tt, [K / width, width, width]
  const int64_t columns, width, panelWidth;
  const RoundTuplesFn &round;
  float *const rounded;
  uint32_t *const codes; ///< or null
  const int64_t rows;

  int64_t panel = 0;           ///< first column of the present one
  std::vector<float> deltas;   ///< D, [kStrip, K]
  std::vector<float> products; ///< of the panel, by columns
  std::vector<float> targets;  ///< [kStrip, width]
  std::vector<float> moves;    ///< by columns
  std::vector<uint32_t> targetCodes;
};
} // namespace

void DescendingStrip::pass() {
  for (int64_t end = columns; end != 0; end = panel) {
    panel = std::max<int64_t>(end - panelWidth, 0);
    blas::multiplyTransposed(end - panel, kStrip, columns, 1.0f, row(panel),
                             columns, deltas.data(), columns, 0.0f,
                             products.data(), kStrip);
    for (int64_t tuple = end - width; tuple >= panel; tuple -= width)
      moveTuple(tuple);
  }
}

void DescendingStrip::moveTuple(int64_t tuple) {
  const float *inverse = &inverses[tuple * width];
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = 0; j != width; ++j) {
      float sum = 0;
      for (int64_t i = 0; i != width; ++i)
        sum += slopes(tuple + i)[r] * inverse[i * width + j];
      targets[r * width + j] = rounded[r * columns + tuple + j] + sum;
    }
  round(targets.data(), rows, targetCodes.data());

  std::fill(moves.begin(), moves.end(), 0.0f);
  for (int64_t r = 0; r != rows; ++r) {
    float *now = rounded + r * columns + tuple;
    const float *next = &targets[r * width];
    if (!pays(tuple, r, now, next))
      continue;
    if (codes)
      codes[(r * columns + tuple) / width] = targetCodes[r];
    for (int64_t j = 0; j != width; ++j) {
      const float move = next[j] - now[j];
      moves[j * kStrip + r] = move;
      deltas[r * columns + tuple + j] -= move;
      now[j] = next[j];
    }
  }
  for (int64_t j = 0; j != width; ++j)
    subtractMoves(products.data(), row(tuple + j) + panel, &moves[j * kStrip],
                  tuple - panel);
}

/// Whether a move m lowers D H D^T, by 2 m (D H)_t - m H_tt m^T.
bool DescendingStrip::pays(int64_t tuple, int64_t r, const float *now,
                           const float *next) const {
  double gain = 0;
  for (int64_t i = 0; i != width; ++i) {
    double slope = 2.0 * slopes(tuple + i)[r];
    for (int64_t j = 0; j != width; ++j)
      slope -= static_cast<double>(row(tuple + i)[tuple + j]) *
               (static_cast<double>(next[j]) - now[j]);
    gain += slope * (static_cast<double>(next[i]) - now[i]);
  }
  return gain > 0;
}

void llq::numerics::descendByTuples(const float *weights, int64_t rows,
                                    int64_t columns,
                                    std::span<const float> secondMoment,
                                    int64_t width, int passes,
                                    const RoundTuplesFn &round, float *rounded,
                                    uint32_t *codes, ThreadPool &pool) {
  assert(std::ssize(secondMoment) == columns * columns);
  assert(columns % width == 0);
  if (passes == 0)
    return;
  std::vector<float> inverses(columns * width);
  for (int64_t tuple = 0; tuple != columns; tuple += width)
    invert(&secondMoment[tuple * columns + tuple], columns, width,
           &inverses[tuple * width]);
  pool.parallelFor(0, rows, kStrip, [&](int64_t first, int64_t last) {
    DescendingStrip strip(secondMoment, inverses, columns, width, round,
                          weights + first * columns, rounded + first * columns,
                          codes ? codes + first * columns / width : nullptr,
                          last - first);
    for (int pass = 0; pass != passes; ++pass)
      strip.pass();
  });
}
