//===- Gemm.h - A matrix product in double precision -----------*- C++ -*-===//
//
// The one matrix product of the interpreter. Operands are read through
// loaders a block at a time, so that half-precision, transposed and quantized
// matrices need no widened copy. Every result is a sum in double in ascending
// order of k, whatever the blocking.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_INTERPRETER_GEMM_H
#define LLQ_LIB_INTERPRETER_GEMM_H

#include "Convert.h"

#include <algorithm>
#include <vector>

namespace llq::interp {

/// Block sizes: a panel of B and a block of A stay in the second-level cache,
/// a tile of results in registers.
inline constexpr int64_t gemmRows = 32;
inline constexpr int64_t gemmColumns = 64;
inline constexpr int64_t gemmDepth = 256;

/// C[m, n] = sum over k of A[m, k] * B[k, n].
/// loadA(row, k0, count, double *out) reads A[row, k0...];
/// loadB(k0, kCount, n0, nCount, double *panel) fills
/// panel[k * gemmColumns + n]; store(row, n0, nCount, const double *sums)
/// takes finished results.
template <typename LoadA, typename LoadB, typename Store>
void gemm(int64_t m, int64_t n, int64_t k, LoadA &&loadA, LoadB &&loadB,
          Store &&store) {
  constexpr int64_t tile = 4; // rows and columns of a register tile
  std::vector<double> a(gemmRows * gemmDepth);
  std::vector<double> panel(gemmDepth * gemmColumns);
  std::vector<double> sums(gemmRows * gemmColumns);
  for (int64_t m0 = 0; m0 < m; m0 += gemmRows) {
    int64_t rows = std::min(gemmRows, m - m0);
    for (int64_t n0 = 0; n0 < n; n0 += gemmColumns) {
      int64_t columns = std::min(gemmColumns, n - n0);
      std::fill(sums.begin(), sums.end(), 0.0);
      for (int64_t k0 = 0; k0 < k; k0 += gemmDepth) {
        int64_t depth = std::min(gemmDepth, k - k0);
        for (int64_t row = 0; row < rows; ++row)
          loadA(m0 + row, k0, depth, &a[size_t(row * gemmDepth)]);
        loadB(k0, depth, n0, columns, panel.data());
        // Rows and columns beyond the edge compute sums that nobody reads.
        for (int64_t row = 0; row < rows; row += tile)
          for (int64_t column = 0; column < columns; column += tile) {
            double *out = &sums[size_t(row * gemmColumns + column)];
            double local[tile][tile];
            for (int64_t i = 0; i < tile; ++i)
              for (int64_t j = 0; j < tile; ++j)
                local[i][j] = out[i * gemmColumns + j];
            for (int64_t d = 0; d < depth; ++d) {
              const double *b = &panel[size_t(d * gemmColumns + column)];
              for (int64_t i = 0; i < tile; ++i) {
                double left = a[size_t((row + i) * gemmDepth + d)];
                for (int64_t j = 0; j < tile; ++j)
                  local[i][j] += left * b[j];
              }
            }
            for (int64_t i = 0; i < tile; ++i)
              for (int64_t j = 0; j < tile; ++j)
                out[i * gemmColumns + j] = local[i][j];
          }
      }
      for (int64_t row = 0; row < rows; ++row)
        store(m0 + row, n0, columns, &sums[size_t(row * gemmColumns)]);
    }
  }
}

/// A matrix inside a tensor.
struct MatrixView {
  const Tensor &tensor;
  int64_t offset;    // first element
  int64_t rowLength; // elements between rows as stored
  bool isTransposed; // the stored matrix is the transpose
};

/// loadA of a MatrixView.
inline void loadRow(const MatrixView &a, int64_t row, int64_t k0, int64_t count,
                    double *out) {
  if (!a.isTransposed)
    return readDoubles(a.tensor, a.offset + row * a.rowLength + k0, count, out);
  for (int64_t k = 0; k < count; ++k)
    readDoubles(a.tensor, a.offset + (k0 + k) * a.rowLength + row, 1, out + k);
}

/// loadB of a MatrixView.
inline void loadPanel(const MatrixView &b, int64_t k0, int64_t kCount,
                      int64_t n0, int64_t nCount, double *panel) {
  if (!b.isTransposed) {
    for (int64_t k = 0; k < kCount; ++k)
      readDoubles(b.tensor, b.offset + (k0 + k) * b.rowLength + n0, nCount,
                  panel + k * gemmColumns);
    return;
  }
  double column[gemmDepth];
  for (int64_t n = 0; n < nCount; ++n) {
    readDoubles(b.tensor, b.offset + (n0 + n) * b.rowLength + k0, kCount,
                column);
    for (int64_t k = 0; k < kCount; ++k)
      panel[k * gemmColumns + n] = column[k];
  }
}

} // namespace llq::interp

#endif // LLQ_LIB_INTERPRETER_GEMM_H
