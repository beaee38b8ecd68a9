//===- SimpleKernels.cpp - Embedding, rotary table, elementwise -----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "Kernels.h"

#include "llq/Packing/CPULayout.h"

#include <numbers>

using namespace mlir;
using namespace llq;

//===----------------------------------------------------------------------===//
// Embedding
//===----------------------------------------------------------------------===//

std::string EmbeddingKernel::getName() const {
  return "embedding_" + getWeightSuffix(table);
}

/// Adds what the sparse codes of a row are worth to the block at `to`.
static void addSparse(KernelBuilder &b, const CPUDecoder &decoder, Value tile,
                      Value block, Value unit, Value lane, Value to) {
  auto mine = [&](Value rows) -> Value {
    return vector::ExtractOp::create(b, rows, ArrayRef<OpFoldResult>{lane});
  };
  forSparseValues(b, decoder, tile, block, unit, {},
                  [&](Value values, Value columns, ValueRange) {
                    Value column = arith::ExtUIOp::create(
                        b, b.getI64Type(),
                        mine(b.extractBits(columns, 0, 5, 0)));
                    Value at = b.advance(to, b.mul(column, 4));
                    Value sum = b.load(b.getF32Type(), at);
                    b.store(b.addf(sum, mine(values)), at);
                    return KernelBuilder::Carried();
                  });
}

/// A table shared with the head is stored once, in the head's layout: the
/// kernel decodes the tile of a row and keeps one lane.
void EmbeddingKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  Value ids = b.buffer(0), weight = b.buffer(1), y = b.buffer(2);
  std::unique_ptr<CPUDecoder> decoder = createCPUDecoder(table);
  int64_t columns = getWeightColumns(table);
  int64_t stride = 4 * getPaddedColumns(columns);
  int64_t unitsOfBlock =
      std::max<int64_t>(1, kBlockColumns / decoder->unitColumns);
  b.loop(b.itemBegin(), b.itemEnd(), 1, [&](Value item) {
    Value token = b.add(b.tokenBegin(), item);
    Value id = b.load(b.getI32Type(), b.advance(ids, b.mul(token, 4)));
    Value row = arith::ExtUIOp::create(b, b.getI64Type(), id);
    Value tile =
        b.advance(weight, b.mul(b.div(row, kTileRows), decoder->tileBytes));
    Value lane =
        arith::IndexCastOp::create(b, b.getIndexType(), b.rem(row, kTileRows));
    Value out = b.advance(y, b.mul(token, stride));
    b.loop(b.i64(0), b.i64(decoder->blocks), 1, [&](Value block) {
      SmallVector<Value> zeros, scales;
      for (int64_t u = 0; u < unitsOfBlock; ++u) {
        Value unit = unitsOfBlock > 1 ? b.add(b.mul(block, unitsOfBlock), u)
                                      : b.div(b.mul(block, kBlockColumns),
                                              decoder->unitColumns);
        zeros.push_back(decoder->zero(b, tile, unit, 0, kTileRows));
        scales.push_back(decoder->scale(b, tile, unit, 0, kTileRows));
      }
      Value to = b.advance(out, b.mul(block, 4 * kBlockColumns));
      Value first = b.div(b.mul(block, kBlockColumns), decoder->unitColumns);
      perVariant(b, *decoder, tile, first, {}, [&](const CPUDecoder &unit) {
        for (auto [c, column] :
             llvm::enumerate(unit.values(b, tile, block, zeros))) {
          Value scale = scales[c * unitsOfBlock / kBlockColumns];
          Value value = scale ? b.mulf(column, scale) : column;
          Value scalar =
              vector::ExtractOp::create(b, value, ArrayRef<OpFoldResult>{lane});
          b.store(scalar, to, 4 * c);
        }
        return SmallVector<Value>();
      });
      if (decoder->hasSparseCodes)
        addSparse(b, *decoder, tile, block, first, lane, to);
    });
    // Codes behind the last column decode to something else.
    for (int64_t c = columns; c < getPaddedColumns(columns); ++c)
      b.store(b.f32(0), out, 4 * c);
  });
  b.finish();
}

//===----------------------------------------------------------------------===//
// Rotary table
//===----------------------------------------------------------------------===//

std::string RotaryKernel::getName() const {
  return "rotary_" + std::to_string(half) + "_" +
         llvm::utohexstr(llvm::bit_cast<uint32_t>(scale));
}

/// sin(x) and cos(x) of f64 lanes with |x| up to about 10^6: reduced to
/// [-pi/4, pi/4] with a two-part pi/2, then Taylor polynomials whose first
/// dropped term is below 1e-15.
static std::pair<Value, Value> emitSinCos(KernelBuilder &b, Value x) {
  auto type = cast<VectorType>(x.getType());
  auto c = [&](double v) { return b.splat(type, v); };
  auto axpy = [&](Value a, Value m, double v) {
    return b.addf(b.mulf(a, m), c(v));
  };
  Value turns =
      math::RoundEvenOp::create(b, b.mulf(x, c(2 / std::numbers::pi)));
  Value r = b.subf(x, b.mulf(turns, c(0x1.921fb54p+0)));
  r = b.subf(r, b.mulf(turns, c(0x1.10b4611a62633p-30)));
  Value r2 = b.mulf(r, r);
  Value s = c(-1.0 / 1307674368000.0);
  for (double v : {1.0 / 6227020800.0, -1.0 / 39916800.0, 1.0 / 362880.0,
                   -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0})
    s = axpy(s, r2, v);
  s = b.mulf(s, r);
  Value k = c(1.0 / 20922789888000.0);
  for (double v : {-1.0 / 87178291200.0, 1.0 / 479001600.0, -1.0 / 3628800.0,
                   1.0 / 40320.0, -1.0 / 720.0, 1.0 / 24.0, -0.5, 1.0})
    k = axpy(k, r2, v);
  // Quadrant: 0 (s, k), 1 (k, -s), 2 (-s, -k), 3 (-k, s) for (sin, cos).
  VectorType words = VectorType::get(type.getShape(), b.getI64Type());
  Value quadrant = arith::FPToSIOp::create(b, words, turns);
  auto bit = [&](Value value, int64_t mask) -> Value {
    Value masked = arith::AndIOp::create(b, value, b.splat(words, mask));
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, masked,
                                 b.splat(words, int64_t(0)));
  };
  Value swap = bit(quadrant, 1);
  Value sinNegative = bit(quadrant, 2);
  Value cosNegative = bit(b.add(quadrant, b.splat(words, int64_t(1))), 2);
  auto choose = [&](Value negative, Value v) -> Value {
    return arith::SelectOp::create(b, negative, arith::NegFOp::create(b, v), v);
  };
  Value sine = arith::SelectOp::create(b, swap, k, s);
  Value cosine = arith::SelectOp::create(b, swap, s, k);
  return {choose(sinNegative, sine), choose(cosNegative, cosine)};
}

/// The angle is the f32 product position * frequency, as the models compute it;
/// everything behind it is f64.
void RotaryKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  Value frequencies = b.buffer(0), y = b.buffer(1);
  int64_t padded = (half + 15) / 16 * 16;
  VectorType floats = b.f32x(16);
  VectorType doubles = VectorType::get(16, b.getF64Type());
  b.loop(b.itemBegin(), b.itemEnd(), 1, [&](Value item) {
    Value token = b.add(b.tokenBegin(), item);
    Value position = b.add(b.past(), token);
    Value p = b.broadcast(floats,
                          arith::SIToFPOp::create(b, b.getF32Type(), position));
    Value out = b.advance(y, b.mul(token, 8 * padded));
    b.loop(b.i64(0), b.i64(padded), 16, [&](Value i) {
      Value bytes = b.mul(i, 4);
      Value angle = b.mulf(p, b.load(floats, b.advance(frequencies, bytes)));
      auto [sine, cosine] =
          emitSinCos(b, arith::ExtFOp::create(b, doubles, angle));
      Value factor = b.splat(floats, double(scale));
      auto put = [&](Value value, int64_t offset) {
        value = arith::TruncFOp::create(b, floats, value);
        b.store(b.mulf(value, factor), b.advance(out, bytes), offset);
      };
      put(cosine, 0);
      put(sine, 4 * padded);
    });
  });
  b.finish();
}

std::string RotaryLookupKernel::getName() const {
  return "rotary_lookup_" + std::to_string(half) + "_" + std::to_string(rows);
}

void RotaryLookupKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  Value tables[] = {b.buffer(0), b.buffer(1)}, y = b.buffer(2);
  int64_t padded = (half + 15) / 16 * 16;
  b.loop(b.itemBegin(), b.itemEnd(), 1, [&](Value item) {
    Value token = b.add(b.tokenBegin(), item);
    // A session ends where the tables do; whatever it is told, reading stays
    // inside of them.
    Value row = b.min(b.add(b.past(), token), b.i64(rows - 1));
    Value out = b.advance(y, b.mul(token, 8 * padded));
    for (auto [i, table] : llvm::enumerate(tables)) {
      Value from = b.advance(table, b.mul(row, 4 * half));
      Value to = b.advance(out, int64_t(i) * 4 * padded);
      int64_t column = 0;
      for (int64_t lanes : {16, 1})
        for (; column + lanes <= half; column += lanes)
          b.store(b.load(b.f32x(lanes), from, 4 * column), to, 4 * column);
      for (; column < padded; ++column)
        b.store(b.f32(0), to, 4 * column);
    }
  });
  b.finish();
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

std::string ElementwiseKernel::getName() const {
  std::string name = kind == Kind::Add ? "add" : "swiglu";
  for (int64_t n : {columns, aOffset, aStride, bOffset, bStride})
    name += "_" + std::to_string(n);
  return name;
}

void ElementwiseKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  Value lhs = b.buffer(0), rhs = b.buffer(1), y = b.buffer(2);
  int64_t padded = getPaddedColumns(columns);
  VectorType floats = b.f32x(16);
  b.loop(b.itemBegin(), b.itemEnd(), 1, [&](Value item) {
    Value token = b.add(b.tokenBegin(), item);
    Value left = b.advance(lhs, b.mul(token, 4 * aStride));
    Value right = b.advance(rhs, b.mul(token, 4 * bStride));
    Value out = b.advance(y, b.mul(token, 4 * padded));
    b.loop(b.i64(0), b.i64(padded), 16, [&](Value i) {
      Value bytes = b.mul(i, 4);
      Value a = b.load(floats, b.advance(left, bytes), 4 * aOffset);
      Value c = b.load(floats, b.advance(right, bytes), 4 * bOffset);
      Value value;
      if (kind == Kind::Add) {
        value = b.addf(a, c);
      } else {
        value = b.mulf(b.silu(a), c);
      }
      b.store(value, b.advance(out, bytes));
    });
  });
  b.finish();
}
