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
  Value here = b.advance(memory, b.mul(block, kBlockBytes));
  Value lows[2], highs[2];
  for (int64_t half = 0; half < 2; ++half) {
    lows[half] = b.load(bytes, here, half * 2 * kBytes);
    highs[half] = b.load(bytes, here, (half * 2 + 1) * kBytes);
  }

  // A long chain of products is cut in two.
  SmallVector<Value> low(terms.size(), b.splat(words, int64_t(0))), high = low;
  auto isLong = [&](size_t term) { return terms[term].size() > 1; };
  auto highOf = [&](size_t term) -> Value & {
    return isLong(term) ? high[term] : low[term];
  };
  auto weigh = [&](int64_t weight) {
    return b.splat(bytes, int64_t(int8_t(weight)));
  };

  // Bits that are alike take all eight activations or none.
  Value full = b.repeat({0x0f, 0x1f, 0x2f, 0x3f}, kBytes);
  Value allLow = b.add(b.lookUp64(lows[0], full), b.lookUp64(lows[1], full));
  Value allHigh = b.add(b.lookUp64(highs[0], full), b.lookUp64(highs[1], full));
  for (auto [t, planes] : llvm::enumerate(terms))
    for (const BitPlane &plane : planes) {
      if (!plane.alike)
        continue;
      auto worth = [&](int64_t weight) -> Value {
        return arith::AndIOp::create(b, plane.bits, weigh(weight));
      };
      low[t] = b.dotAccumulate(low[t], worth(plane.weight), allLow);
      highOf(t) = b.dotAccumulate(highOf(t), worth(16 * plane.weight), allHigh);
    }

  // Byte 4 * row + j looks in table j.
  Value table = b.repeat({0x00, 0x10, 0x20, 0x30}, kBytes);
  for (int64_t half = 0; half < 2; ++half)
    for (auto [t, planes] : llvm::enumerate(terms))
      for (const BitPlane &plane : planes) {
        if (plane.alike)
          continue;
        Value index = arith::OrIOp::create(
            b, b.extractBits(plane.bits, 4 * half, 4, 0), table);
        // Sums of low bits have no sign.
        low[t] = b.dotAccumulate(low[t], b.lookUp64(lows[half], index),
                                 weigh(plane.weight));
        highOf(t) = b.dotAccumulate(highOf(t), weigh(16 * plane.weight),
                                    b.lookUp64(highs[half], index));
      }

  for (size_t t = 0; t < terms.size(); ++t)
    if (isLong(t))
      low[t] = b.add(low[t], high[t]);
  return low;
}
