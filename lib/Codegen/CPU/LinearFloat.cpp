//===- LinearFloat.cpp - Products with f32 activations --------------------===//
//
// Column by column, two sums per token.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LinearEmitter.h"

using namespace mlir;
using namespace llq;

/// Adds a block's products to two sums per token, even and odd columns apart.
void LinearEmitter::blockF32(const Strip &strip, Value x, Value block,
                             ArrayRef<Value> zeros,
                             MutableArrayRef<Value> sums) {
  SmallVector<Value> columns = decoder->values(b, strip.tile, block, zeros);
  Value here = b.advance(x, b.mul(block, 4 * kBlockColumns));
  for (auto [c, values] : llvm::enumerate(columns))
    for (size_t t = 0; t < sums.size() / 2; ++t) {
      Value &sum = sums[2 * t + c % 2];
      sum =
          b.fma(values,
                b.loadBroadcast(b.f32x(lanes), here, t * xStride + 4 * c), sum);
    }
}

void LinearEmitter::addSparseF32(const Strip &strip, Value x, Value block,
                                 Value unit, MutableArrayRef<Value> sums) {
  Value here = b.advance(x, b.mul(block, 4 * kBlockColumns));
  KernelBuilder::Carried result =
      forSparseValues(b, *decoder, strip.tile, block, unit, sums,
                      [&](Value values, Value columns, ValueRange carried) {
                        KernelBuilder::Carried next(carried);
                        for (size_t t = 0; t < next.size() / 2; ++t) {
                          Value picked =
                              b.gather32(b.advance(here, t * xStride), columns);
                          // The two sums of a token take turns.
                          Value sum = b.fma(values, picked, next[2 * t]);
                          next[2 * t] = next[2 * t + 1];
                          next[2 * t + 1] = sum;
                        }
                        return next;
                      });
  llvm::copy(result, sums.begin());
}

void LinearEmitter::splitBlockF32(const Strip &strip, Value x, Value block,
                                  MutableArrayRef<Value> sums) {
  int64_t units = kBlockColumns / decoder->unitColumns;
  SmallVector<Value> zeros, scales;
  for (int64_t u = 0; u < units; ++u) {
    Value unit = b.add(b.mul(block, units), u);
    zeros.push_back(decoder->zero(b, strip.tile, unit, 0, lanes));
    scales.push_back(decoder->scale(b, strip.tile, unit, 0, lanes));
  }
  SmallVector<Value> columns = decoder->values(b, strip.tile, block, zeros);
  Value here = b.advance(x, b.mul(block, 4 * kBlockColumns));
  for (size_t t = 0; t < sums.size(); ++t)
    for (int64_t u = 0; u < units; ++u) {
      Value sum = b.splat(b.f32x(lanes), 0.0);
      for (int64_t i = 0; i < decoder->unitColumns; ++i) {
        int64_t c = u * decoder->unitColumns + i;
        sum = b.fma(columns[c],
                    b.loadBroadcast(b.f32x(lanes), here, t * xStride + 4 * c),
                    sum);
      }
      sums[t] = b.fma(sum, scales[u], sums[t]);
    }
}
