//===- BLAS.cpp - Products of row-major matrices on one thread ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "BLAS.h"

#include <cassert>
#include <cblas.h>
#include <limits>

using namespace llq::numerics;

/// Switches OpenBLAS's threads off, once.
static void useOneThread() {
  [[maybe_unused]] static const bool done = (openblas_set_num_threads(1), true);
}

/// OpenBLAS counts in int; tiles and rows of a layer are far below that.
static int dimension(int64_t value) {
  assert(value >= 0 && value <= std::numeric_limits<int>::max());
  return static_cast<int>(value);
}

void blas::multiply(int64_t m, int64_t n, int64_t k, float alpha,
                    const float *a, int64_t lda, const float *b, int64_t ldb,
                    float beta, float *c, int64_t ldc) {
  useOneThread();
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, dimension(m),
              dimension(n), dimension(k), alpha, a, dimension(lda), b,
              dimension(ldb), beta, c, dimension(ldc));
}

void blas::multiplyTransposed(int64_t m, int64_t n, int64_t k, float alpha,
                              const float *a, int64_t lda, const float *b,
                              int64_t ldb, float beta, float *c, int64_t ldc) {
  useOneThread();
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, dimension(m),
              dimension(n), dimension(k), alpha, a, dimension(lda), b,
              dimension(ldb), beta, c, dimension(ldc));
}

void blas::multiplyTransposed(int64_t m, int64_t n, int64_t k, double alpha,
                              const double *a, int64_t lda, const double *b,
                              int64_t ldb, double beta, double *c,
                              int64_t ldc) {
  useOneThread();
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, dimension(m),
              dimension(n), dimension(k), alpha, a, dimension(lda), b,
              dimension(ldb), beta, c, dimension(ldc));
}

void blas::subtractSquare(int64_t n, int64_t k, const float *a, int64_t lda,
                          float *c, int64_t ldc) {
  useOneThread();
  cblas_ssyrk(CblasRowMajor, CblasUpper, CblasNoTrans, dimension(n),
              dimension(k), -1.0f, a, dimension(lda), 1.0f, c, dimension(ldc));
}

void blas::subtractSquare(int64_t n, int64_t k, const double *a, int64_t lda,
                          double *c, int64_t ldc) {
  useOneThread();
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasNoTrans, dimension(n),
              dimension(k), -1.0, a, dimension(lda), 1.0, c, dimension(ldc));
}

void blas::transposedMultiply(int64_t m, int64_t n, int64_t k, const float *a,
                              int64_t lda, const float *b, int64_t ldb,
                              float beta, float *c, int64_t ldc) {
  useOneThread();
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, dimension(m),
              dimension(n), dimension(k), 1.0f, a, dimension(lda), b,
              dimension(ldb), beta, c, dimension(ldc));
}

void blas::solveTransposedUpper(int64_t m, int64_t n, const float *u,
                                int64_t ldu, float *b, int64_t ldb) {
  useOneThread();
  cblas_strsm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit,
              dimension(m), dimension(n), 1.0f, u, dimension(ldu), b,
              dimension(ldb));
}

void blas::solveTransposedUpper(int64_t m, int64_t n, const double *u,
                                int64_t ldu, double *b, int64_t ldb) {
  useOneThread();
  cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit,
              dimension(m), dimension(n), 1.0, u, dimension(ldu), b,
              dimension(ldb));
}
