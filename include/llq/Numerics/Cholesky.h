//===- Cholesky.h - Triangular factors of large matrices --------*- C++ -*-===//
//
// The factorization behind GPTQ and the methods related to it: A = V V^T with V
// upper triangular, which eliminates the last index first. V is what LAPACK's
// lower factor would be of A with rows and columns in reverse order, and
// V^-1 = U is GPTQ's factor A^-1 = U^T U, reached without inverting A.
//
// The work is done on tiles of a fixed size, so the result is equal bit for bit
// for any number of threads.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_CHOLESKY_H
#define LLQ_NUMERICS_CHOLESKY_H

#include <cstdint>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

/// Replaces the upper triangle of the symmetric matrix[n, n], row-major, by the
/// upper triangular V with matrix = V V^T; below the diagonal is working
/// storage that is zero afterwards. Returns false, with the matrix destroyed,
/// if a pivot is not a number or has lost all but its last few bits, that is,
/// if the matrix is not positive definite in this precision. n^3 / 3
/// operations.
[[nodiscard]] bool factorUpper(float *matrix, int64_t n, ThreadPool &pool);
[[nodiscard]] bool factorUpper(double *matrix, int64_t n, ThreadPool &pool);

/// inverse[n, n] = V^-1, both upper triangular and row-major with rows `stride`
/// and n apart; for a small n, in double precision inside.
void invertUpper(const float *v, int64_t n, int64_t stride, float *inverse);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_CHOLESKY_H
