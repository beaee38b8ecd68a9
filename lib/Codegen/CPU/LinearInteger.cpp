//===- LinearInteger.cpp - Products with integer activations --------------===//
//
// Sums of codes times codes, exact within a block of 32 columns or, where
// activations have one scale per token, within a unit.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LinearEmitter.h"

using namespace mlir;
using namespace llq;

/// Four activation codes of a step, in every 32-bit lane.
Value LinearEmitter::activationBytes(Value x, int64_t step) {
  Value word = b.loadBroadcast(b.i32x(lanes), x, 4 * step);
  return vector::BitCastOp::create(b, b.i8x(4 * lanes), word);
}

/// Products of `codes` (one vector per step) and the activations from step
/// `firstStep` on, summed over the steps and over the four columns of each: i32
/// by row.
Value LinearEmitter::dot(ArrayRef<Value> codes, int64_t maxCode, Value x,
                         int64_t firstStep) {
  SmallVector<Value> activations;
  for (size_t s = 0; s < codes.size(); ++s)
    activations.push_back(activationBytes(x, firstStep + s));
  return dot(codes, maxCode, activations);
}

Value LinearEmitter::dot(ArrayRef<Value> codes, int64_t maxCode,
                         ArrayRef<Value> activations) {
  if (b.level.dot == DotKind::MaddPairs)
    return dotPairs(codes, maxCode, activations);
  // Two chains: a long chain of waiting instructions fills the scheduler.
  Value sums[2] = {b.splat(b.i32x(lanes), int64_t(0)),
                   b.splat(b.i32x(lanes), int64_t(0))};
  for (auto [s, code] : llvm::enumerate(codes))
    sums[s % 2] = b.dotAccumulate(sums[s % 2], code, activations[s]);
  return codes.size() > 1 ? b.add(sums[0], sums[1]) : sums[0];
}

/// The same by pair sums in 16 bits: as many steps as cannot overflow are added
/// before they are widened. 8-bit codes are taken apart into two halves.
Value LinearEmitter::dotPairs(ArrayRef<Value> codes, int64_t maxCode,
                              ArrayRef<Value> activations) {
  VectorType bytes = b.i8x(4 * lanes), words = b.i16x(2 * lanes);
  VectorType sums = b.i32x(lanes);
  Value ones = b.splat(words, int64_t(1));
  Value total;
  auto addTo = [&](Value pairs, Value weights) {
    Value wide = b.intrinsic(b.level.pairIntrinsic, sums, {pairs, weights});
    total = total ? b.add(total, wide) : wide;
  };
  // Pairs of products that 16 bits hold.
  auto getMost = [&](int64_t maxCode) {
    return 32767 / (2 * maxCode * kernel.input.getLargestCode());
  };
  auto run = [&](function_ref<Value(Value)> part, int64_t maxCode,
                 Value weights) {
    int64_t most = getMost(maxCode);
    Value pairs;
    for (auto [s, code] : llvm::enumerate(codes)) {
      Value product = b.intrinsic(b.level.dotIntrinsic, words,
                                  {part(code), activations[s]});
      pairs = pairs ? b.add(pairs, product) : product;
      if ((s + 1) % most == 0 || s + 1 == codes.size()) {
        addTo(pairs, weights);
        pairs = {};
      }
    }
  };
  if (getMost(maxCode) > 0) {
    run([](Value code) { return code; }, maxCode, ones);
    return total;
  }
  run(
      [&](Value code) -> Value {
        return arith::AndIOp::create(b, code, b.splat(bytes, int64_t(15)));
      },
      15, ones);
  run(
      [&](Value code) -> Value {
        return arith::ShRUIOp::create(b, code, b.splat(bytes, int64_t(4)));
      },
      15, b.splat(words, int64_t(16)));
  return total;
}

void LinearEmitter::blockInt8(const Strip &strip, Value x, Value block,
                              Value zero, MutableArrayRef<Value> sums) {
  VectorType floats = b.f32x(lanes);
  SmallVector<Value> codes =
      decoder->codes(b, strip.tile, block, 4 * strip.row, 4 * lanes);
  Value columns = b.advance(x, b.mul(block, kBlockColumns));
  Value groups = b.advance(x, b.mul(block, 4));
  for (auto [t, sum] : llvm::enumerate(sums)) {
    int64_t at = t * xStride;
    Value products = dot(codes, decoder->maxCode, b.advance(columns, at), 0);
    Value value = arith::SIToFPOp::create(b, floats, products);
    if (zero) {
      Value codeSum = b.loadBroadcast(floats, groups, at + row.sums);
      value = b.subf(value, b.mulf(zero, codeSum));
    }
    Value scale = b.loadBroadcast(floats, groups, at + row.scales);
    sum = b.fma(value, scale, sum);
  }
}

void LinearEmitter::splitBlockInt8(const Strip &strip, Value x, Value block,
                                   MutableArrayRef<Value> sums) {
  VectorType floats = b.f32x(lanes);
  int64_t units = kBlockColumns / decoder->unitColumns;
  SmallVector<Value> codes =
      decoder->codes(b, strip.tile, block, 4 * strip.row, 4 * lanes);
  SmallVector<Value> ones(8 / units, b.splat(b.i8x(4 * lanes), int64_t(1)));
  Value columns = b.advance(x, b.mul(block, kBlockColumns));
  Value groups = b.advance(x, b.mul(block, 4));
  for (int64_t u = 0; u < units; ++u) {
    Value unit = b.add(b.mul(block, units), u);
    Value scale = decoder->scale(b, strip.tile, unit, strip.row, lanes);
    Value zero = decoder->zero(b, strip.tile, unit, strip.row, lanes);
    int64_t steps = 8 / units, first = u * steps;
    for (auto [t, sum] : llvm::enumerate(sums)) {
      int64_t at = t * xStride;
      Value here = b.advance(columns, at);
      Value value =
          arith::SIToFPOp::create(b, floats,
                                  dot(ArrayRef(codes).slice(first, steps),
                                      decoder->maxCode, here, first));
      // The stored sums are those of whole blocks.
      Value codeSum =
          arith::SIToFPOp::create(b, floats, dot(ones, 1, here, first));
      if (zero)
        value = b.subf(value, b.mulf(zero, codeSum));
      value = b.mulf(value, b.loadBroadcast(floats, groups, at + row.scales));
      sum = b.fma(value, scale, sum);
    }
  }
}

//===----------------------------------------------------------------------===//
// Integer activations with one scale per token
//===----------------------------------------------------------------------===//

Value LinearEmitter::subtractZero(Value sums, Value zero, Value codeSum) {
  VectorType floats = b.f32x(lanes);
  if (zero && decoder->integerZeros) {
    // Exact, and free to wrap on the way: the difference fits 32 bits.
    Value integer = arith::FPToSIOp::create(b, b.i32x(lanes), zero);
    sums = arith::SubIOp::create(b, sums,
                                 arith::MulIOp::create(b, integer, codeSum));
    zero = {};
  }
  Value value = arith::SIToFPOp::create(b, floats, sums);
  if (zero)
    value = b.subf(value,
                   b.mulf(zero, arith::SIToFPOp::create(b, floats, codeSum)));
  return value;
}

/// Adds the unit of blocks [first, last) to the sums of all units, or, if there
/// is only one, returns its scaled sum. Before the scale of the unit all is
/// exact.
SmallVector<Value> LinearEmitter::addTokenUnit(ArrayRef<Strip> strips, Value x,
                                               int64_t count, Value unit,
                                               Value first, Value last,
                                               ValueRange carried) {
  VectorType words = b.i32x(lanes), floats = b.f32x(lanes);
  SmallVector<Value> init(strips.size() * count, b.splat(words, int64_t(0)));
  auto body = [&](Value block, ValueRange partial) {
    KernelBuilder::Carried sums(partial);
    Value columns = b.advance(x, b.mul(block, kBlockColumns));
    for (auto [s, strip] : llvm::enumerate(strips)) {
      if (count == 1 && strip.row == 0 && b.level.prefetchBytes)
        prefetch(strip.tile, block);
      SmallVector<Value> codes =
          decoder->codes(b, strip.tile, block, 4 * strip.row, 4 * lanes);
      for (int64_t t = 0; t < count; ++t) {
        Value &sum = sums[s * count + t];
        sum = b.add(sum, dot(codes, decoder->maxCode,
                             b.advance(columns, t * xStride), 0));
      }
    }
    return sums;
  };
  SmallVector<Value> sums = decoder->unitColumns == kBlockColumns
                                ? body(first, init)
                                : b.loop(first, last, 1, init, body);

  KernelBuilder::Carried result(carried);
  Value begin = b.advance(x, b.mul(first, 4));
  Value end = b.advance(x, b.mul(last, 4));
  for (auto [s, strip] : llvm::enumerate(strips)) {
    Value scale = decoder->scale(b, strip.tile, unit, strip.row, lanes);
    Value zero = decoder->zero(b, strip.tile, unit, strip.row, lanes);
    for (int64_t t = 0; t < count; ++t) {
      int64_t at = t * xStride + tokenRow.sums;
      Value codeSum = arith::SubIOp::create(b, b.load(b.getI32Type(), end, at),
                                            b.load(b.getI32Type(), begin, at));
      Value value =
          subtractZero(sums[s * count + t], zero, b.broadcast(words, codeSum));
      Value &sum = result[s * count + t];
      if (decoder->getUnits() == 1) {
        Value token = b.loadBroadcast(floats, x, t * xStride + tokenRow.scale);
        sum = b.mulf(b.mulf(token, scale), value);
      } else {
        sum = b.fma(value, scale, sum);
      }
    }
  }
  return result;
}

/// A block that holds several units.
void LinearEmitter::addSplitBlock(const Strip &strip, Value x, Value block,
                                  MutableArrayRef<Value> sums) {
  int64_t units = kBlockColumns / decoder->unitColumns, steps = 8 / units;
  SmallVector<Value> codes =
      decoder->codes(b, strip.tile, block, 4 * strip.row, 4 * lanes);
  SmallVector<Value> ones(steps, b.splat(b.i8x(4 * lanes), int64_t(1)));
  Value columns = b.advance(x, b.mul(block, kBlockColumns));
  for (int64_t u = 0; u < units; ++u) {
    Value unit = b.add(b.mul(block, units), u);
    Value scale = decoder->scale(b, strip.tile, unit, strip.row, lanes);
    Value zero = decoder->zero(b, strip.tile, unit, strip.row, lanes);
    for (auto [t, sum] : llvm::enumerate(sums)) {
      Value here = b.advance(columns, t * xStride);
      Value products = dot(ArrayRef(codes).slice(u * steps, steps),
                           decoder->maxCode, here, u * steps);
      // The stored sums are those of whole blocks.
      Value codeSum = dot(ones, 1, here, u * steps);
      sum = b.fma(subtractZero(products, zero, codeSum), scale, sum);
    }
  }
}

void LinearEmitter::scaleTokens(MutableArrayRef<Value> sums, Value x,
                                int64_t count) {
  for (auto [i, sum] : llvm::enumerate(sums)) {
    int64_t at = i % count * xStride + tokenRow.scale;
    sum = b.mulf(b.loadBroadcast(b.f32x(lanes), x, at), sum);
  }
}

SmallVector<Value> LinearEmitter::tokenProducts(ArrayRef<Strip> strips, Value x,
                                                int64_t count) {
  SmallVector<Value> sums;
  if (decoder->unitColumns < kBlockColumns) {
    SmallVector<Value> zeros(strips.size() * count,
                             b.splat(b.f32x(lanes), 0.0));
    sums =
        b.loop(b.i64(0), b.i64(decoder->blocks), 1, zeros,
               [&](Value block, ValueRange carried) {
                 KernelBuilder::Carried next(carried);
                 for (auto [s, strip] : llvm::enumerate(strips))
                   addSplitBlock(strip, x, block,
                                 MutableArrayRef(next).slice(s * count, count));
                 return next;
               });
  } else {
    sums = addUnits(strips, count,
                    [&](ArrayRef<Strip> strips, Value unit, Value first,
                        Value last, ValueRange carried) {
                      return addTokenUnit(strips, x, count, unit, first, last,
                                          carried);
                    });
    if (decoder->getUnits() == 1)
      return sums;
  }
  scaleTokens(sums, x, count);
  return sums;
}
