//===- AttentionKernels.cpp - Rotary positions, cache, attention ----------===//
//
// The cache is kept in blocks of 16 positions. Keys of a block are transposed,
// so that a score vector is 16 positions; softmax runs over blocks at absolute
// positions, so that its rounding does not depend on where a prompt was cut.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "Kernels.h"

#include "llq/Packing/CPULayout.h"

#include <limits>

using namespace mlir;
using namespace llq;

/// Positions of a cache block (LLQRT_POSITION_BLOCK).
static constexpr int64_t kPositions = 16;

static int64_t getElementBytes(CacheType type) {
  return type == CacheType::F32 ? 4 : type == CacheType::F16 ? 2 : 1;
}

int64_t AttentionShape::getHeadBytes() const {
  int64_t bytes = 2 * kPositions * headDim * getElementBytes(type);
  return type == CacheType::Int8 ? bytes + 2 * kPositions * 4 : bytes;
}

std::string AttentionShape::getSuffix() const {
  return std::to_string(heads) + "_" + std::to_string(kvHeads) + "_" +
         std::to_string(headDim) + "_" + stringifyCacheType(type).str();
}

/// Places in the part of a block that belongs to one head.
namespace {
struct HeadLayout {
  explicit HeadLayout(const AttentionShape &shape)
      : bytes(getElementBytes(shape.type)),
        values(kPositions * shape.headDim * bytes), keyScales(2 * values),
        valueScales(keyScales + 4 * kPositions) {}
  int64_t bytes;
  int64_t values;
  int64_t keyScales;
  int64_t valueScales;
};
} // namespace

/// Widest vector of up to 16 lanes that divides `n`.
static int64_t getLanes(int64_t n) {
  int64_t lanes = 16;
  while (n % lanes)
    lanes /= 2;
  return lanes;
}

//===----------------------------------------------------------------------===//
// Rotation and append
//===----------------------------------------------------------------------===//

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
      : b(b), kernel(kernel), shape(kernel.shape), layout(kernel.shape) {}

  void emit();

private:
  /// Rotates (or copies) a head from `from` to `to`.
  void rotate(Value from, Value rotary, Value to, bool rotates);
  /// Stores the head at `from` as key or value of position `slot` of a block.
  void append(Value from, Value block, Value slot, bool key);

  KernelBuilder &b;
  const RopeAppendKernel &kernel;
  const AttentionShape &shape;
  HeadLayout layout;
};

} // namespace

void RopeAppendEmitter::rotate(Value from, Value rotary, Value to,
                               bool rotates) {
  int64_t half = shape.headDim / 2, lanes = getLanes(half);
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

void RopeAppendEmitter::append(Value from, Value block, Value slot, bool key) {
  int64_t dim = shape.headDim, lanes = getLanes(dim);
  VectorType type = b.f32x(lanes), one = b.f32x(1);
  Type element = shape.type == CacheType::F16 ? Type(b.getF16Type())
                                              : Type(b.getF32Type());
  Value divisor;
  if (shape.type == CacheType::Int8) {
    Value largest = b.splat(type, 0.0);
    for (int64_t d = 0; d < dim; d += lanes)
      largest =
          b.maxf(largest, math::AbsFOp::create(b, b.load(type, from, 4 * d)));
    Value scale;
    std::tie(scale, divisor) = b.groupScale(b.maxLanes(largest), 127);
    b.store(scale, b.advance(block, b.mul(slot, 4)),
            key ? layout.keyScales : layout.valueScales);
  }
  auto put = [&](VectorType vector, Value source, Value target) {
    Value value = b.load(vector, source);
    if (!divisor)
      return b.storeF32As(element, value, target);
    int64_t n = vector.getNumElements();
    value = math::RoundEvenOp::create(
        b, b.divf(value, b.broadcast(vector, divisor)));
    Value code = arith::FPToSIOp::create(b, b.i32x(n), value);
    b.store(arith::TruncIOp::create(b, b.i8x(n), code), target);
  };
  if (key) {
    // [D][16]: one element of each row.
    Value column = b.advance(block, b.mul(slot, layout.bytes));
    b.loop(b.i64(0), b.i64(dim), 1, [&](Value d) {
      put(one, b.advance(from, b.mul(d, 4)),
          b.advance(column, b.mul(d, kPositions * layout.bytes)));
    });
    return;
  }
  Value row = b.advance(b.advance(block, layout.values),
                        b.mul(slot, dim * layout.bytes));
  for (int64_t d = 0; d < dim; d += lanes)
    put(type, b.advance(from, 4 * d), b.advance(row, d * layout.bytes));
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
      rotate(rowOf(q, kernel.qStride, kernel.qOffset, h), table,
             b.advance(b.advance(rotated, b.mul(token, rotatedStride)),
                       b.mul(h, 4 * dim)),
             kernel.rotateQuery);
    }
    Value block = b.advance(
        cache, b.mul(b.div(position, kPositions), shape.getBlockBytes()));
    block = b.advance(block, b.mul(head, shape.getHeadBytes()));
    Value slot = b.rem(position, kPositions);
    rotate(rowOf(k, kernel.kStride, kernel.kOffset, head), table, b.scratch(),
           kernel.rotateKey);
    append(b.scratch(), block, slot, /*key=*/true);
    append(rowOf(v, kernel.vStride, kernel.vOffset, head), block, slot,
           /*key=*/false);
  });
}

void RopeAppendKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  RopeAppendEmitter(b, *this).emit();
  b.finish();
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

std::string AttentionKernel::getName() const {
  return "attention_" + shape.getSuffix() + "_" +
         llvm::utohexstr(llvm::bit_cast<uint32_t>(scale));
}

namespace {

class AttentionEmitter {
public:
  AttentionEmitter(KernelBuilder &b, const AttentionKernel &kernel)
      : b(b), kernel(kernel), shape(kernel.shape), layout(kernel.shape),
        lanes(getLanes(kernel.shape.headDim)) {}

  void emit();

private:
  /// One query head over all positions up to `position`.
  void head(Value q, Value cache, Value position, Value y);
  Value scores(Value q, Value block, Value first, Value position);
  /// `lanes` cached elements as f32.
  Value cached(int64_t lanes, Value pointer, int64_t bytes);

  KernelBuilder &b;
  const AttentionKernel &kernel;
  const AttentionShape &shape;
  HeadLayout layout;
  int64_t lanes;
};

} // namespace

Value AttentionEmitter::cached(int64_t n, Value pointer, int64_t bytes) {
  if (shape.type != CacheType::Int8)
    return b.loadAsF32(n,
                       shape.type == CacheType::F16 ? Type(b.getF16Type())
                                                    : Type(b.getF32Type()),
                       pointer, bytes);
  Value codes = b.load(b.i8x(n), pointer, bytes);
  return arith::SIToFPOp::create(b, b.f32x(n),
                                 arith::ExtSIOp::create(b, b.i32x(n), codes));
}

/// Scaled scores of the 16 positions of a block, -inf behind `position`.
Value AttentionEmitter::scores(Value q, Value block, Value first,
                               Value position) {
  VectorType floats = b.f32x(kPositions);
  SmallVector<Value> sums(4, b.splat(floats, 0.0));
  for (int64_t d = 0; d < shape.headDim; ++d) {
    Value keys = cached(kPositions, block, d * kPositions * layout.bytes);
    sums[d % 4] = b.fma(keys, b.loadBroadcast(floats, q, 4 * d), sums[d % 4]);
  }
  Value sum = b.addf(b.addf(sums[0], sums[1]), b.addf(sums[2], sums[3]));
  sum = b.mulf(sum, b.splat(floats, double(kernel.scale)));
  if (shape.type == CacheType::Int8)
    sum = b.mulf(sum, b.load(floats, block, layout.keyScales));
  VectorType words = VectorType::get(kPositions, b.getI64Type());
  auto indices = llvm::to_vector(llvm::seq<int64_t>(0, kPositions));
  Value lane = arith::ConstantOp::create(
      b, DenseElementsAttr::get(words, ArrayRef<int64_t>(indices)));
  Value here = b.add(lane, b.broadcast(words, first));
  Value visible = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, here,
                                        b.broadcast(words, position));
  Value hidden =
      b.splat(floats, -double(std::numeric_limits<float>::infinity()));
  return arith::SelectOp::create(b, visible, sum, hidden);
}

void AttentionEmitter::head(Value q, Value cache, Value position, Value y) {
  VectorType floats = b.f32x(kPositions), part = b.f32x(lanes);
  int64_t parts = shape.headDim / lanes;
  // Running maximum, sum of exponentials, and weighted values.
  SmallVector<Value> init = {b.f32(-3.0e38), b.f32(0)};
  init.append(parts, b.splat(part, 0.0));
  Value end = b.add(position, 1);
  SmallVector<Value> state = b.loop(
      b.i64(0), end, kPositions, init, [&](Value first, ValueRange carried) {
        Value block = b.advance(
            cache, b.mul(b.div(first, kPositions), shape.getBlockBytes()));
        Value s = scores(q, block, first, position);
        Value most = b.maxf(carried[0], b.maxLanes(s));
        Value p = b.exp(b.subf(s, b.broadcast(floats, most)));
        // As a vector: scalar exponentials would call the C library.
        VectorType one = b.f32x(1);
        Value shrink = vector::ExtractOp::create(
            b, b.exp(b.broadcast(one, b.subf(carried[0], most))),
            ArrayRef<int64_t>{0});
        KernelBuilder::Carried next = {
            most, b.addf(b.mulf(carried[1], shrink), b.sumLanes(p))};
        if (shape.type == CacheType::Int8)
          p = b.mulf(p, b.load(floats, block, layout.valueScales));
        b.store(p, b.scratch());
        Value factor = b.broadcast(part, shrink);
        SmallVector<Value> weighted;
        for (Value value : carried.drop_front(2))
          weighted.push_back(b.mulf(value, factor));
        // Only written positions: memory behind them may hold anything.
        Value count = b.min(b.sub(end, first), b.i64(kPositions));
        next.append(
            b.loop(b.i64(0), count, 1, weighted, [&](Value i, ValueRange sums) {
              Value weight =
                  b.loadBroadcast(part, b.advance(b.scratch(), b.mul(i, 4)));
              Value row =
                  b.advance(block, b.mul(i, shape.headDim * layout.bytes));
              KernelBuilder::Carried result;
              for (auto [n, sum] : llvm::enumerate(sums))
                result.push_back(
                    b.fma(cached(lanes, row,
                                 layout.values + n * lanes * layout.bytes),
                          weight, sum));
              return result;
            }));
        return next;
      });
  Value total = b.broadcast(part, state[1]);
  for (int64_t n = 0; n < parts; ++n)
    b.store(b.divf(state[2 + n], total), y, 4 * n * lanes);
}

void AttentionEmitter::emit() {
  Value q = b.buffer(0), cache = b.buffer(1), y = b.buffer(2);
  int64_t group = shape.heads / shape.kvHeads, dim = shape.headDim;
  int64_t columns = shape.heads * dim, padded = getPaddedColumns(columns);
  Value tokens = b.sub(b.tokenEnd(), b.tokenBegin());
  b.loop(b.itemBegin(), b.itemEnd(), 1, [&](Value item) {
    // Heads are the outer dimension: threads then share the long and the short
    // rows of a causal prompt.
    Value head = b.div(item, tokens);
    Value token = b.add(b.tokenBegin(), b.rem(item, tokens));
    Value position = b.add(b.past(), token);
    Value row = b.mul(token, 4 * padded);
    Value block = b.advance(cache, b.mul(head, shape.getHeadBytes()));
    Value out = b.advance(y, row);
    b.loop(b.i64(0), b.i64(group), 1, [&](Value g) {
      Value offset = b.mul(b.add(b.mul(head, group), g), 4 * dim);
      this->head(b.advance(b.advance(q, row), offset), block, position,
                 b.advance(out, offset));
    });
    if (columns == padded)
      return;
    Value last = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, head,
                                       b.i64(shape.kvHeads - 1));
    b.ifThen(last, [&] {
      for (int64_t c = columns; c < padded; ++c)
        b.store(b.f32(0), out, 4 * c);
    });
  });
}

void AttentionKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  AttentionEmitter(b, *this).emit();
  b.finish();
}
