//===- E8PDecoder.cpp - Recipe of tuples on the E8 lattice ----------------===//
//
// Twice a coordinate of E8P is +-(2 m + 1) +- 1/2 with a magnitude m below 3:
// its sum with 11/2 is an unsigned code of at most 11. Magnitudes come out of a
// table by the entry, signs and the shift out of the other byte. Together they
// make either codes, by a lookup in 16 bytes for each coordinate, or planes, by
// a few operations for all. Twice a coordinate of E8 is at most 4; its sum with
// 4 comes out of a table.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"

#include "llq/Codegen/CPU.h"
#include "llq/Numerics/E8P.h"
#include "llq/Packing/E8PLayout.h"

#include <array>

using namespace mlir;
using namespace llq;

namespace {

class E8PDecoder : public CPUDecoder {
public:
  E8PDecoder(E8PAttr format, int64_t k)
      : bits(format.getBits()), layout(format, k) {
    tileBytes = layout.tileBytes;
    blocks = layout.blocks;
    unitColumns = k;
    blocksOffset = E8PLayout::kBlocksOffset;
    blockBytes = layout.blockBytes;
    terms = layout.scales;
    maxCode = 11;
    hasPlanes = true;
  }

  SmallVector<Value> values(KernelBuilder &b, Value tile, Value block,
                            ArrayRef<Value>) const override;
  SmallVector<TermCodes> getTerms(KernelBuilder &b, Value tile, Value block,
                                  Value, bool, bool forLookUp,
                                  int64_t firstByte,
                                  int64_t bytes) const override;
  int64_t getMaxCode(int64_t term) const override {
    return isE8(term) ? 8 : maxCode;
  }
  Value coefficient(KernelBuilder &b, Value tile, Value, int64_t term,
                    int64_t row, int64_t rows) const override {
    return b.mulf(loadScale(b, tile, term, row, rows),
                  b.splat(b.f32x(rows), kStep));
  }
  Value offset(KernelBuilder &b, Value tile, Value, int64_t row,
               int64_t rows) const override {
    Value sum;
    for (int64_t term = 0; term < terms; ++term) {
      Value zero = b.mulf(loadScale(b, tile, term, row, rows),
                          b.splat(b.f32x(rows), -kStep * getZero(term)));
      sum = sum ? b.addf(sum, zero) : zero;
    }
    return sum;
  }

private:
  /// Whether a term's points are those of E8.
  bool isE8(int64_t term) const { return term == 1 && bits == 3; }
  /// A coordinate is kStep * (code - getZero).
  static constexpr double kStep = 0.5;
  double getZero(int64_t term) const { return isE8(term) ? 4.0 : 5.5; }

  static Value loadScale(KernelBuilder &b, Value tile, int64_t term,
                         int64_t row, int64_t rows) {
    return b.loadAsF32(rows, b.getF16Type(), tile,
                       (term * kTileRows + row) * 2);
  }

  int64_t bits;
  E8PLayout layout;
};

/// For each entry of a table, what `field` makes of coordinates [first, first +
/// 8 / width), in fields of `width` bits.
std::array<uint8_t, 256>
makeFields(const numerics::E8Table &table, int64_t first, int64_t width,
           function_ref<int64_t(int64_t doubled)> field) {
  std::array<uint8_t, 256> fields{};
  for (auto [entry, bits] : llvm::zip_equal(table, fields))
    for (int64_t i = 0; i < 8 / width; ++i)
      bits |= uint8_t(field(entry[first + i]) << (i * width));
  return fields;
}

int64_t getMagnitude(int64_t doubled) { return std::abs(doubled) / 2; }

/// The signs of a tuple's coordinates, a bit each, and whether they were an odd
/// number, which means the shift downwards and has turned the first of them.
/// `ones` is odd where an odd number of magnitudes is 1.
std::pair<Value, Value> decodeSigns(KernelBuilder &b, Value signs, Value ones) {
  Value odd = b.parity(signs);
  signs = arith::XOrIOp::create(b, signs, odd);
  // Then the table's last coordinate is negative.
  Value negative = b.extractBits(b.parity(ones), 0, 1, 7);
  return {arith::XOrIOp::create(b, signs, negative), odd};
}

/// Planes of the eight coordinates of E8P: a code is 2 u, and 1 more for the
/// shift upwards, where u is 3 + m for positive and 2 - m for negative ones.
SmallVector<BitPlane> decodeE8PPlanes(KernelBuilder &b, Value entries,
                                      Value signs) {
  Value all = b.splat(entries.getType(), int64_t(-1));
  auto whereIs = [&](int64_t magnitude) {
    auto isThis = [=](int64_t doubled) {
      return getMagnitude(doubled) == magnitude;
    };
    return b.lookUp256(makeFields(numerics::e8pTable(), 0, 1, isThis), entries);
  };
  Value isZero = whereIs(0), isOne = whereIs(1);
  auto [negative, odd] = decodeSigns(b, signs, isOne);
  Value positive = arith::XOrIOp::create(b, negative, all);
  Value bit0 = arith::XOrIOp::create(b, positive, isOne);
  Value bit2 =
      arith::AndIOp::create(b, positive, arith::XOrIOp::create(b, isZero, all));
  Value upwards = arith::AddIOp::create(b, odd, all);
  return {{upwards, 1, /*alike=*/true}, {bit0, 2}, {isZero, 4}, {bit2, 8}};
}

/// Codes of the eight coordinates of E8P.
SmallVector<Value> decodeE8P(KernelBuilder &b, Value entries, Value signs) {
  const numerics::E8Table &table = numerics::e8pTable();
  Value magnitudes[2];
  for (int64_t half = 0; half < 2; ++half)
    magnitudes[half] =
        b.lookUp256(makeFields(table, 4 * half, 2, getMagnitude), entries);
  Value low = b.splat(entries.getType(), int64_t(0x55));
  Value both = arith::XOrIOp::create(b, magnitudes[0], magnitudes[1]);
  auto [negative, odd] =
      decodeSigns(b, signs, arith::AndIOp::create(b, both, low));

  // By magnitude, sign in bit 2 and shift in bit 3.
  std::array<uint8_t, 16> codes{};
  for (int64_t i = 0; i < 16; ++i) {
    int64_t m = i % 4, u = i & 4 ? 2 - m : 3 + m;
    codes[i] = uint8_t(2 * u + (i & 8 ? 0 : 1));
  }
  Value shift = b.extractBits(odd, 0, 1, 3);
  SmallVector<Value> result;
  for (int64_t i = 0; i < numerics::kE8Width; ++i) {
    Value index = arith::OrIOp::create(
        b, b.extractBits(magnitudes[i / 4], i % 4 * 2, 2, 0),
        b.extractBits(negative, i, 1, 2));
    index = arith::OrIOp::create(b, index, shift);
    result.push_back(b.lookUp16(codes, index));
  }
  return result;
}

/// Codes of the eight coordinates of E8.
SmallVector<Value> decodeE8(KernelBuilder &b, Value entries) {
  SmallVector<Value> result;
  for (int64_t i = 0; i < numerics::kE8Width; i += 2) {
    Value pair =
        b.lookUp256(makeFields(numerics::e8Table(), i, 4,
                               [](int64_t doubled) { return doubled + 4; }),
                    entries);
    result.push_back(b.extractBits(pair, 0, 4, 0));
    result.push_back(b.extractBits(pair, 4, 4, 0));
  }
  return result;
}

} // namespace

SmallVector<TermCodes> E8PDecoder::getTerms(KernelBuilder &b, Value tile,
                                            Value block, Value, bool,
                                            bool forLookUp, int64_t firstByte,
                                            int64_t bytes) const {
  Value here = b.advance(tile, b.mul(block, blockBytes));
  auto load = [&](int64_t row) {
    return b.load(b.i8x(bytes), here, blocksOffset + row * 64 + firstByte);
  };
  SmallVector<TermCodes> result(terms);
  for (auto [i, term] : llvm::enumerate(result)) {
    int64_t row = 2 * int64_t(i);
    if (isE8(i))
      term.codes = decodeE8(b, load(row));
    else if (forLookUp)
      term.planes = decodeE8PPlanes(b, load(row), load(row + 1));
    else
      term.codes = decodeE8P(b, load(row), load(row + 1));
  }
  return result;
}

SmallVector<Value> E8PDecoder::values(KernelBuilder &b, Value tile, Value block,
                                      ArrayRef<Value>) const {
  VectorType floats = b.f32x(kTileRows);
  SmallVector<Value> sums(kBlockColumns);
  for (auto [term, codes] :
       llvm::enumerate(getTerms(b, tile, block, {}, false, false, 0, 64))) {
    Value scale = loadScale(b, tile, term, 0, kTileRows);
    Value zero = b.splat(floats, getZero(term));
    Value step = b.splat(floats, kStep);
    for (auto [sum, code] : llvm::zip_equal(sums, toFloats(b, codes.codes))) {
      Value point = b.mulf(b.subf(code, zero), step);
      Value value = b.mulf(scale, point);
      sum = sum ? b.addf(sum, value) : value;
    }
  }
  return sums;
}

namespace {
struct E8PCPUDecode : CPUDecodeInterface::ExternalModel<E8PCPUDecode, E8PAttr> {
  std::unique_ptr<CPUDecoder> createDecoder(Attribute attr, int64_t k) const {
    return std::make_unique<E8PDecoder>(cast<E8PAttr>(attr), k);
  }
};
} // namespace

void llq::registerE8PCPUDecoder(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, LLQDialect *) {
    E8PAttr::attachInterface<E8PCPUDecode>(*context);
  });
}
