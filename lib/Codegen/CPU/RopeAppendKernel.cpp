//===- RopeAppendKernel.cpp - Rotary positions and the cache --------------===//
//
// Rotates queries and keys and writes keys and values to the cache as
// CacheLayout has it.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CacheLayout.h"
#include "KernelBuilder.h"
#include "Kernels.h"

#include "llq/Packing/CPULayout.h"

#include <numeric>

using namespace mlir;
using namespace llq;

std::string RopeAppendKernel::getName() const {
  std::string name = "rope_append_" + shape.getSuffix();
  for (int64_t n : {qOffset, qStride, kOffset, kStride, vOffset, vStride})
    name += "_" + std::to_string(n);
  if (interleaved)
    name += "_interleaved";
  if (!rotateQuery || !rotateKey)
    name += rotateQuery ? "_q" : rotateKey ? "_k" : "_none";
  return name;
}

namespace {

class RopeAppendEmitter {
public:
  RopeAppendEmitter(KernelBuilder &b, const RopeAppendKernel &kernel)
      : b(b), kernel(kernel), shape(kernel.shape),
        layout(shape.type, shape.headDim) {}

  void emit();

private:
  using Group = CacheLayout::Group;

  /// Rotates (or copies) a head from `from` to `to`.
  void rotate(Value from, Value rotary, Value to, bool rotates);
  /// Hadamard transform in place of a head of queries or keys.
  void spread(Value head, bool key);
  /// Stores the head at `from` as key or value of position `slot` of a block.
  void append(Value from, Value block, Value slot, bool key);
  /// Stores its cells side by side at `row`, its scales from `scales` on.
  void storeRow(Value from, Value row, Value scales);
  /// Stores f32 `number` as scale or minimum; what will be read there.
  Value storeScale(Value number, Value scales, int64_t offset);
  /// Stores scale and minimum (null: none) of group `g`, and returns them. The
  /// scale is 1 where it is stored as 0.
  std::pair<Value, Value> storeScales(Value from, int64_t g, Value scales);
  void storeCodes(Value from, Value row, const Group &group, Value scale,
                  Value minimum);

  KernelBuilder &b;
  const RopeAppendKernel &kernel;
  const AttentionShape &shape;
  CacheLayout layout;
};

} // namespace

void RopeAppendEmitter::rotate(Value from, Value rotary, Value to,
                               bool rotates) {
  int64_t half = shape.headDim / 2, lanes = std::gcd(half, 16);
  int64_t sines = 4 * ((half + 15) / 16 * 16);
  VectorType type = b.f32x(lanes);
  for (int64_t i = 0; i < half; i += lanes) {
    Value first, second;
    int64_t firstByte = 4 * (kernel.interleaved ? 2 * i : i);
    int64_t secondByte = firstByte + 4 * (kernel.interleaved ? lanes : half);
    first = b.load(type, from, firstByte);
    second = b.load(type, from, secondByte);
    if (rotates) {
      SmallVector<int64_t> even, odd, zip;
      for (int64_t l = 0; l < lanes; ++l) {
        even.push_back(2 * l);
        odd.push_back(2 * l + 1);
        zip.push_back(l);
        zip.push_back(l + lanes);
      }
      auto shuffle = [&](Value x, Value y, ArrayRef<int64_t> mask) -> Value {
        return vector::ShuffleOp::create(b, x, y, mask);
      };
      if (kernel.interleaved) {
        Value x = shuffle(first, second, even);
        second = shuffle(first, second, odd);
        first = x;
      }
      Value cosine = b.load(type, rotary, 4 * i);
      Value sine = b.load(type, rotary, sines + 4 * i);
      Value x = b.subf(b.mulf(first, cosine), b.mulf(second, sine));
      second = b.addf(b.mulf(second, cosine), b.mulf(first, sine));
      first = x;
      if (kernel.interleaved) {
        Value low = shuffle(first, second, ArrayRef(zip).take_front(lanes));
        second = shuffle(first, second, ArrayRef(zip).take_back(lanes));
        first = low;
      }
    }
    b.store(first, to, firstByte);
    b.store(second, to, secondByte);
  }
}

/// The transform of n channels at a time, n the largest power of two that
/// divides the head. The factors of queries and keys are powers of two and
/// their product is 1/n, so that only the sums round.
void RopeAppendEmitter::spread(Value head, bool key) {
  int64_t n = shape.headDim & -shape.headDim, lanes = std::min<int64_t>(n, 16);
  VectorType type = b.f32x(lanes);
  int64_t half = llvm::Log2_64(n) / 2;
  int64_t shift = key ? llvm::Log2_64(n) - half : half;
  Value factor = b.splat(type, 1.0 / double(int64_t(1) << shift));
  for (int64_t first = 0; first < shape.headDim; first += n) {
    SmallVector<Value> parts;
    for (int64_t i = 0; i < n; i += lanes)
      parts.push_back(b.load(type, head, 4 * (first + i)));
    for (int64_t step = 1; step < lanes; step *= 2) {
      SmallVector<int64_t> partner;
      SmallVector<float> signs;
      for (int64_t l = 0; l < lanes; ++l) {
        partner.push_back(l ^ step);
        signs.push_back(l & step ? -1 : 1);
      }
      Value sign = arith::ConstantOp::create(
          b, DenseElementsAttr::get(type, ArrayRef(signs)));
      for (Value &part : parts)
        part = b.addf(vector::ShuffleOp::create(b, part, part, partner),
                      b.mulf(part, sign));
    }
    for (size_t step = 1; step < parts.size(); step *= 2)
      for (size_t i = 0; i < parts.size(); ++i)
        if (!(i & step)) {
          Value sum = b.addf(parts[i], parts[i + step]);
          parts[i + step] = b.subf(parts[i], parts[i + step]);
          parts[i] = sum;
        }
    for (auto [i, part] : llvm::enumerate(parts))
      b.store(b.mulf(part, factor), head, 4 * (first + i * lanes));
  }
}

Value RopeAppendEmitter::storeScale(Value number, Value scales,
                                    int64_t offset) {
  Type element = layout.format.getFloatType(b);
  VectorType one = b.f32x(1);
  if (element.isF16()) {
    constexpr double largest = 65504;
    number = b.minf(b.maxf(number, b.f32(-largest)), b.f32(largest));
  }
  b.storeF32As(element, b.broadcast(one, number), scales, offset);
  return vector::ExtractOp::create(b, b.loadAsF32(1, element, scales, offset),
                                   ArrayRef<int64_t>{0});
}

std::pair<Value, Value> RopeAppendEmitter::storeScales(Value from, int64_t g,
                                                       Value scales) {
  const CacheFormat &format = layout.format;
  const Group &group = layout.groups[g];
  Value high, low;
  for (int64_t c = 0; c < group.channels; c += layout.lanes) {
    Value x = b.load(b.f32x(layout.lanes), from, 4 * (group.channel + c));
    if (!format.minimum)
      x = math::AbsFOp::create(b, x);
    high = high ? b.maxf(high, x) : x;
    low = low ? b.minf(low, x) : x;
  }
  Value range = b.maxLanes(high), minimum;
  if (format.minimum) {
    minimum = storeScale(b.minLanes(low), scales, layout.getMinimumOffset(g));
    range = b.subf(range, minimum);
  }
  Value scale = b.groupScale(range, format.getLargestCode()).first;
  // Codes make up for the rounding of what is stored.
  scale = storeScale(scale, scales, layout.getScaleOffset(g));
  Value isZero =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, scale, b.f32(0));
  return {arith::SelectOp::create(b, isZero, b.f32(1), scale), minimum};
}

void RopeAppendEmitter::storeCodes(Value from, Value row, const Group &group,
                                   Value scale, Value minimum) {
  const CacheFormat &format = layout.format;
  int64_t lanes = layout.lanes;
  VectorType floats = b.f32x(lanes), bytes = b.i8x(lanes);
  double largest = double(format.getLargestCode());
  for (int64_t i = 0; i < group.cells; i += lanes) {
    Value cell;
    for (int64_t n = 0; n < format.getCellCodes(); ++n) {
      Value x = b.load(floats, from, 4 * (group.channel + n * group.cells + i));
      if (minimum)
        x = b.subf(x, b.broadcast(floats, minimum));
      x = math::RoundEvenOp::create(b, b.divf(x, b.broadcast(floats, scale)));
      x = b.maxf(x, b.splat(floats, minimum ? 0 : -largest));
      x = b.minf(x, b.splat(floats, largest));
      Value code = arith::FPToSIOp::create(b, b.i32x(lanes), x);
      code = arith::TruncIOp::create(b, bytes, code);
      if (n)
        code = arith::ShLIOp::create(b, code, b.splat(bytes, n * format.bits));
      cell = cell ? arith::OrIOp::create(b, cell, code) : code;
    }
    b.store(cell, row, group.cell + i);
  }
}

void RopeAppendEmitter::storeRow(Value from, Value row, Value scales) {
  const CacheFormat &format = layout.format;
  if (!format.isQuantized()) {
    for (int64_t i = 0; i < layout.cells; i += layout.lanes)
      b.storeF32As(format.getFloatType(b),
                   b.load(b.f32x(layout.lanes), from, 4 * i), row,
                   i * format.getCellBytes());
    return;
  }
  for (auto [g, group] : llvm::enumerate(layout.groups)) {
    auto [scale, minimum] = storeScales(from, g, scales);
    storeCodes(from, row, group, scale, minimum);
  }
}

void RopeAppendEmitter::append(Value from, Value block, Value slot, bool key) {
  const CacheFormat &format = layout.format;
  Value scales =
      b.advance(b.advance(block, key ? layout.keyScales : layout.valueScales),
                b.mul(slot, format.scaleBits / 8));
  if (!key) {
    Value row = b.advance(b.advance(block, layout.values),
                          b.mul(slot, layout.rowBytes));
    return storeRow(from, row, scales);
  }
  // Behind the head: one cell of each row of [cells][16].
  int64_t bytes = format.getCellBytes();
  Value row = b.advance(b.scratch(), 4 * shape.headDim);
  storeRow(from, row, scales);
  Value column = b.advance(block, b.mul(slot, bytes));
  Type cell = b.getIntegerType(8 * bytes);
  b.loop(b.i64(0), b.i64(layout.cells), 1, [&](Value i) {
    b.store(b.load(cell, b.advance(row, b.mul(i, bytes))),
            b.advance(column, b.mul(i, kCachePositions * bytes)));
  });
}

void RopeAppendEmitter::emit() {
  Value q = b.buffer(0), k = b.buffer(1), v = b.buffer(2);
  Value rotary = b.buffer(3), rotated = b.buffer(4), cache = b.buffer(5);
  int64_t dim = shape.headDim, group = shape.heads / shape.kvHeads;
  int64_t tableBytes = 8 * ((dim / 2 + 15) / 16 * 16);
  int64_t rotatedStride = 4 * getPaddedColumns(shape.heads * dim);
  b.loop(b.itemBegin(), b.itemEnd(), 1, [&](Value item) {
    Value token = b.add(b.tokenBegin(), b.div(item, shape.kvHeads));
    Value head = b.rem(item, shape.kvHeads);
    Value position = b.add(b.past(), token);
    Value table = b.advance(rotary, b.mul(token, tableBytes));
    auto rowOf = [&](Value buffer, int64_t stride, int64_t offset, Value h) {
      Value row = b.advance(buffer, b.mul(token, 4 * stride));
      return b.advance(b.advance(row, 4 * offset), b.mul(h, 4 * dim));
    };
    for (int64_t g = 0; g < group; ++g) {
      Value h = b.add(b.mul(head, group), g);
      Value query = b.advance(b.advance(rotated, b.mul(token, rotatedStride)),
                              b.mul(h, 4 * dim));
      rotate(rowOf(q, kernel.qStride, kernel.qOffset, h), table, query,
             kernel.rotateQuery);
      if (layout.format.spreadsKeys)
        spread(query, /*key=*/false);
    }
    Value block = b.advance(
        cache, b.mul(b.div(position, kCachePositions), shape.getBlockBytes()));
    block = b.advance(block, b.mul(head, shape.getHeadBytes()));
    Value slot = b.rem(position, kCachePositions);
    rotate(rowOf(k, kernel.kStride, kernel.kOffset, head), table, b.scratch(),
           kernel.rotateKey);
    if (layout.format.spreadsKeys)
      spread(b.scratch(), /*key=*/true);
    append(b.scratch(), block, slot, /*key=*/true);
    append(rowOf(v, kernel.vStride, kernel.vOffset, head), block, slot,
           /*key=*/false);
  });
}

/// A rotated key, and behind it what the cache will hold of it.
int64_t RopeAppendKernel::getScratchBytes() const {
  return 4 * shape.headDim + CacheLayout(shape.type, shape.headDim).rowBytes;
}

void RopeAppendKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  RopeAppendEmitter(b, *this).emit();
  b.finish();
}
