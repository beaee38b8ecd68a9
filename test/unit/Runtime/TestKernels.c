/*===- TestKernels.c - Kernels of the tests' hand-made model -------*- C -*-===
 *
 * Stands in for generated code, so that the runtime's tests need no compiler:
 * a model that embeds tokens, keeps every embedding in its cache, adds up the
 * cache with falling factors and multiplies by a head. HIDDEN, VOCAB and BLOCK
 * are those of TestModel.h; the order of every sum is that of its reference.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *===----------------------------------------------------------------------===*/

#include "llqrt/FileFormat.h"

enum { HIDDEN = 16, VOCAB = 40, BLOCK = 4 };

#define KERNEL __attribute__((visibility("default"))) void

/* buffers: ids, embedding, x; an item is a token. */
KERNEL embed(void *const *buffers, const llqrt_call *call, int64_t begin,
             int64_t end, void *scratch) {
  const int32_t *ids = buffers[0];
  const float *embedding = buffers[1];
  float *x = buffers[2];
  (void)scratch;
  for (int64_t t = call->token_begin + begin; t < call->token_begin + end; ++t)
    for (int64_t d = 0; d < HIDDEN; ++d)
      x[t * HIDDEN + d] = embedding[(int64_t)ids[t] * HIDDEN + d];
}

/* buffers: x, cache; an item is a token. */
KERNEL append(void *const *buffers, const llqrt_call *call, int64_t begin,
              int64_t end, void *scratch) {
  const float *x = buffers[0];
  float *cache = buffers[1];
  (void)scratch;
  for (int64_t t = call->token_begin + begin; t < call->token_begin + end; ++t)
    for (int64_t d = 0; d < HIDDEN; ++d)
      cache[(call->past + t) * HIDDEN + d] = x[t * HIDDEN + d];
}

/* buffers: cache, x, y; an item is a token. Sums up in its scratch. */
KERNEL attend(void *const *buffers, const llqrt_call *call, int64_t begin,
              int64_t end, void *scratch) {
  const float *cache = buffers[0];
  const float *x = buffers[1];
  float *y = buffers[2];
  float *sum = scratch;
  for (int64_t t = call->token_begin + begin; t < call->token_begin + end;
       ++t) {
    for (int64_t d = 0; d < HIDDEN; ++d)
      sum[d] = x[t * HIDDEN + d];
    for (int64_t p = 0; p <= call->past + t; ++p)
      for (int64_t d = 0; d < HIDDEN; ++d)
        sum[d] += cache[p * HIDDEN + d] * (1.0f / (float)(1 + p));
    for (int64_t d = 0; d < HIDDEN; ++d)
      y[t * HIDDEN + d] = sum[d];
  }
}

/* buffers: y, head, outputs; an item is BLOCK rows of the head. */
KERNEL head(void *const *buffers, const llqrt_call *call, int64_t begin,
            int64_t end, void *scratch) {
  const float *y = buffers[0];
  const float *weights = buffers[1];
  float *outputs = buffers[2];
  (void)scratch;
  for (int64_t t = call->token_begin; t < call->token_end; ++t)
    for (int64_t row = begin * BLOCK; row < end * BLOCK; ++row) {
      float sum = 0;
      for (int64_t d = 0; d < HIDDEN; ++d)
        sum += weights[row * HIDDEN + d] * y[t * HIDDEN + d];
      outputs[t * VOCAB + row] = sum;
    }
}
