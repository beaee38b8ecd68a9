//===- PlaneTables.cpp - Products with planes of bits by look-up ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "PlaneTables.h"

#include "llq/Packing/CPULayout.h"

using namespace mlir;
using namespace llq;

void PlaneTables::fill(Value x, int64_t blocks) {
  VectorType bytes = b.i8x(kBlockColumns);
  Value zero = b.splat(bytes, int64_t(0));
  b.loop(b.i64(0), b.i64(blocks), 1, [&](Value block) {
    Value codes = b.load(bytes, b.advance(x, b.mul(block, kBlockColumns)));
    Value parts[] = {
        arith::AndIOp::create(b, codes, b.splat(bytes, int64_t(15))),
        arith::ShRSIOp::create(b, codes, b.splat(bytes, int64_t(4)))};
    Value out = b.advance(memory, b.mul(block, kBlockBytes));
    for (int64_t half = 0; half < 2; ++half)
      for (auto [p, part] : llvm::enumerate(parts)) {
        Value sums;
        for (int64_t i = 4 * half; i < 4 * half + 4; ++i) {
          // Code 4 i + j where the index has the bit of i.
          SmallVector<int64_t> places;
          for (int64_t j = 0; j < 4; ++j)
            for (int64_t index = 0; index < 16; ++index)
              places.push_back(index >> i % 4 & 1 ? 4 * i + j : kBlockColumns);
          Value some = vector::ShuffleOp::create(b, part, zero, places);
          sums = sums ? b.add(sums, some) : some;
        }
        b.store(sums, out, (2 * half + p) * kBytes);
      }
  });
}

SmallVector<Value> PlaneTables::lookUp(ArrayRef<ArrayRef<BitPlane>> terms,
                                       Value block) {
  VectorType bytes = b.i8x(kBytes), words = b.i32x(kTileRows);
  auto repeat = [&](int64_t word) -> Value {
    return vector::BitCastOp::create(b, bytes, b.splat(words, word));
  };
  auto lookUpIn = [&](Value entries, Value index) {
    return b.intrinsic("llvm.x86.avx512.permvar.qi.512", bytes,
                       {entries, index});
  };
  Value here = b.advance(memory, b.mul(block, kBlockBytes));
  Value lows[2], highs[2];
  for (int64_t half = 0; half < 2; ++half) {
    lows[half] = b.load(bytes, here, half * 2 * kBytes);
    highs[half] = b.load(bytes, here, (half * 2 + 1) * kBytes);
  }

  // A long chain of products is cut in two.
  SmallVector<Value> sums(terms.size(), b.splat(words, int64_t(0)));
  SmallVector<Value> others = sums;
  auto isLong = [&](size_t term) { return terms[term].size() > 1; };
  auto add = [&](size_t term, auto makeLow, auto makeHigh) {
    sums[term] = makeLow(sums[term]);
    Value &high = isLong(term) ? others[term] : sums[term];
    high = makeHigh(high);
  };

  // Bits that are alike take all eight activations or none.
  Value full = repeat(0x3f2f1f0f);
  auto sumOfAll = [&](ArrayRef<Value> tables) {
    return b.add(lookUpIn(tables[0], full), lookUpIn(tables[1], full));
  };
  for (auto [t, planes] : llvm::enumerate(terms))
    for (const BitPlane &plane : planes) {
      if (!plane.alike)
        continue;
      auto multiply = [&](Value sum, int64_t weight, ArrayRef<Value> tables) {
        Value worth = arith::AndIOp::create(
            b, plane.bits, b.splat(bytes, int64_t(int8_t(weight))));
        return b.dotAccumulate(sum, worth, sumOfAll(tables));
      };
      add(
          t, [&](Value sum) { return multiply(sum, plane.weight, lows); },
          [&](Value sum) { return multiply(sum, 16 * plane.weight, highs); });
    }

  // Byte 4 * row + j looks in table j.
  Value table = repeat(0x30201000);
  for (int64_t half = 0; half < 2; ++half)
    for (auto [t, planes] : llvm::enumerate(terms))
      for (const BitPlane &plane : planes) {
        if (plane.alike)
          continue;
        Value index = arith::OrIOp::create(
            b, b.extractBits(plane.bits, 4 * half, 4, 0), table);
        add(
            t,
            [&](Value sum) {
              // Sums of low bits have no sign.
              return b.dotAccumulate(sum, lookUpIn(lows[half], index),
                                     b.splat(bytes, plane.weight));
            },
            [&](Value sum) {
              Value weight = b.splat(bytes, int64_t(int8_t(16 * plane.weight)));
              return b.dotAccumulate(sum, weight, lookUpIn(highs[half], index));
            });
      }

  for (size_t t = 0; t < terms.size(); ++t)
    if (isLong(t))
      sums[t] = b.add(sums[t], others[t]);
  return sums;
}
