//===- BLAS.h - Products of row-major matrices on one thread ----*- C++ -*-===//
//
// The few BLAS routines that LLQ uses, for f32 and f64. Every call runs on the
// calling thread: parallel algorithms call them on tiles whose sizes do not
// depend on the number of threads, which is what makes results equal bit for
// bit. OpenBLAS's own threads are switched off; how they divide a product, and
// thus its rounding, would depend on their number.
//
// Equal shapes are computed alike, row for row. Small products take another
// path in OpenBLAS than large ones do, so code that promises that a row's
// result does not depend on its neighbours pads its tiles to one height.
//
// Leading dimensions are distances between rows, in elements.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_BLAS_H
#define LLQ_LIB_NUMERICS_BLAS_H

#include <cstdint>

namespace llq::numerics::blas {

/// C[m, n] = alpha * A[m, k] B[k, n] + beta * C. With beta = 0, C is not read.
void multiply(int64_t m, int64_t n, int64_t k, float alpha, const float *a,
              int64_t lda, const float *b, int64_t ldb, float beta, float *c,
              int64_t ldc);

/// C[m, n] = alpha * A[m, k] B[n, k]^T + beta * C.
void multiplyTransposed(int64_t m, int64_t n, int64_t k, float alpha,
                        const float *a, int64_t lda, const float *b,
                        int64_t ldb, float beta, float *c, int64_t ldc);
void multiplyTransposed(int64_t m, int64_t n, int64_t k, double alpha,
                        const double *a, int64_t lda, const double *b,
                        int64_t ldb, double beta, double *c, int64_t ldc);

/// C[n, n] = C - A[n, k] A^T, of which only the upper triangle is touched.
void subtractSquare(int64_t n, int64_t k, const float *a, int64_t lda, float *c,
                    int64_t ldc);
void subtractSquare(int64_t n, int64_t k, const double *a, int64_t lda,
                    double *c, int64_t ldc);

/// C[m, n] = A[k, m]^T B[k, n] + beta * C.
void transposedMultiply(int64_t m, int64_t n, int64_t k, const float *a,
                        int64_t lda, const float *b, int64_t ldb, float beta,
                        float *c, int64_t ldc);

/// B[m, n] = B U^-T for an upper triangular U[n, n].
void solveTransposedUpper(int64_t m, int64_t n, const float *u, int64_t ldu,
                          float *b, int64_t ldb);
void solveTransposedUpper(int64_t m, int64_t n, const double *u, int64_t ldu,
                          double *b, int64_t ldb);

} // namespace llq::numerics::blas

#endif // LLQ_LIB_NUMERICS_BLAS_H
