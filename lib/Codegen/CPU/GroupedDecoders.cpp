//===- GroupedDecoders.cpp - Recipes of planes, codebooks, mixed widths ---===//
//
// The integer kernels see each of these formats as a sum of products: of bit
// planes, of bits of codes and their conjunctions, of codes and an offset. For
// f32 activations each weight is put together from its bits.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"

#include "llq/Codegen/CPU.h"
#include "llq/Packing/GroupedLayouts.h"
#include "llq/Packing/UniformLayout.h"

using namespace mlir;
using namespace llq;

namespace {

/// What the recipes share: units of whole blocks, arrays of f16 per unit.
class GroupedDecoder : public CPUDecoder {
public:
  GroupedDecoder(const GroupedLayout &layout, int64_t bytesOfBlock) {
    tileBytes = layout.tileBytes;
    blocks = layout.blocks;
    unitColumns = layout.unitColumns;
    blocksOffset = layout.blocksOffset;
    blockBytes = bytesOfBlock;
    maxCode = 1;
  }

protected:
  /// Rows [row, row + rows) of array `index` of the `count` arrays of a unit,
  /// which begin at `offset` of the tile.
  static Value loadRows(KernelBuilder &b, Value tile, Value unit,
                        int64_t offset, int64_t count, int64_t index,
                        int64_t row, int64_t rows) {
    Value pointer = b.advance(tile, b.mul(unit, count * kTileRows * 2));
    return b.loadAsF32(rows, b.getF16Type(), pointer,
                       offset + (index * kTileRows + row) * 2);
  }

  Value getUnit(KernelBuilder &b, Value block) const {
    return b.div(block, unitColumns / kBlockColumns);
  }
  Value getBlock(KernelBuilder &b, Value tile, Value block) const {
    return b.advance(tile, b.mul(block, blockBytes));
  }

  /// Plane `index` of one bit of a block, all rows, as 32-bit words by row.
  Value loadPlane(KernelBuilder &b, Value block, int64_t index) const {
    return b.load(b.i32x(kTileRows), block, blocksOffset + index * 64);
  }
  Value loadBits(KernelBuilder &b, Value block, int64_t index,
                 int64_t firstByte, int64_t bytes) const {
    return b.load(b.i8x(bytes), block, blocksOffset + index * 64 + firstByte);
  }
};

//===----------------------------------------------------------------------===//
// #llq.planes
//===----------------------------------------------------------------------===//

class PlanesDecoder : public GroupedDecoder {
public:
  PlanesDecoder(PlanesAttr format, const PlanesLayout &layout)
      : GroupedDecoder(layout, layout.blockBytes), format(format),
        layout(layout) {
    terms = format.getCount();
    hasPlanes = onlyPlanes = true;
  }

  SmallVector<Value> values(KernelBuilder &b, Value tile, Value block,
                            ArrayRef<Value>) const override {
    Value unit = getUnit(b, block), here = getBlock(b, tile, block);
    VectorType floats = b.f32x(kTileRows);
    Value base = offset(b, tile, unit, 0, kTileRows);
    if (!base)
      base = b.splat(floats, 0.0);
    SmallVector<Value> result(kBlockColumns, base);
    for (int64_t p = 0; p < terms; ++p) {
      Value plane = loadPlane(b, here, p);
      Value scale = coefficient(b, tile, unit, p, 0, kTileRows);
      for (auto [c, value] : llvm::enumerate(result))
        value = arith::SelectOp::create(b, testColumn(b, plane, c),
                                        b.addf(value, scale), value);
    }
    return result;
  }

  SmallVector<TermCodes> getTerms(KernelBuilder &b, Value tile, Value block,
                                  Value, bool, bool, int64_t firstByte,
                                  int64_t bytes) const override {
    Value here = getBlock(b, tile, block);
    SmallVector<TermCodes> result(terms);
    for (auto [p, term] : llvm::enumerate(result))
      term.planes = {{loadBits(b, here, p, firstByte, bytes)}};
    return result;
  }
  Value coefficient(KernelBuilder &b, Value tile, Value unit, int64_t term,
                    int64_t row, int64_t rows) const override {
    return loadRows(b, tile, unit, 0, terms, term, row, rows);
  }
  Value offset(KernelBuilder &b, Value tile, Value unit, int64_t row,
               int64_t rows) const override {
    if (!format.getOffset())
      return {};
    return loadRows(b, tile, unit, layout.offsetsOffset, 1, 0, row, rows);
  }

private:
  PlanesAttr format;
  PlanesLayout layout;
};

//===----------------------------------------------------------------------===//
// #llq.codebook
//===----------------------------------------------------------------------===//

/// With bits A (high) and B (low) of a code and levels L_AB, a table is
///   L_00 + A (L_10 - L_00) + B (L_01 - L_00) + A B (L_11 - L_10 - L_01 + L_00)
/// where a symmetric one, L_11 = -L_00 and L_10 = -L_01, has no last term. The
/// second table's columns are taken from the terms of the first and have terms
/// of their own: those with bits, and one for the columns themselves.
class CodebookDecoder : public GroupedDecoder {
public:
  CodebookDecoder(CodebookAttr format, const CodebookLayout &layout)
      : GroupedDecoder(layout, layout.blockBytes), format(format),
        layout(layout) {
    products = format.getBits() == 1 ? 1 : format.getSymmetric() ? 2 : 3;
    hasFirstBlock = format.getTables() > 1;
    terms = hasFirstBlock ? 2 * products + 1 : products;
    hasPlanes = onlyPlanes = true;
  }

  SmallVector<Value> values(KernelBuilder &b, Value tile, Value block,
                            ArrayRef<Value>) const override {
    Value unit = getUnit(b, block), here = getBlock(b, tile, block);
    auto getLevels = [&](int64_t table) {
      SmallVector<Value> levels;
      for (int64_t code = 0; code < (1 << format.getBits()); ++code)
        levels.push_back(level(b, tile, unit, table, code, 0, kTileRows));
      return levels;
    };
    SmallVector<Value> planes;
    for (int64_t bit = 0; bit < format.getBits(); ++bit)
      planes.push_back(loadPlane(b, here, bit));
    auto decode = [&](int64_t table) {
      SmallVector<Value> levels = getLevels(table), result;
      for (int64_t c = 0; c < kBlockColumns; ++c) {
        // Halves the levels bit by bit.
        SmallVector<Value> left = levels;
        for (Value plane : planes) {
          Value isSet = testColumn(b, plane, c);
          for (size_t i = 0; i < left.size() / 2; ++i)
            left[i] =
                arith::SelectOp::create(b, isSet, left[2 * i + 1], left[2 * i]);
          left.truncate(left.size() / 2);
        }
        result.push_back(left.front());
      }
      return result;
    };
    if (!hasFirstBlock)
      return decode(0);

    Value inUnit = b.sub(block, b.mul(unit, unitColumns / kBlockColumns));
    Value isFirst =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, inUnit, b.i64(0));
    SmallVector<Type> types(kBlockColumns, b.f32x(kTileRows));
    return b.choose(
        isFirst, types,
        [&] {
          SmallVector<Value> result = decode(0);
          Value count = getCount(b, tile, unit);
          for (auto [c, value, other] : llvm::enumerate(result, decode(1))) {
            Value inSecond = arith::CmpIOp::create(b, arith::CmpIPredicate::slt,
                                                   b.i64(c), count);
            value = arith::SelectOp::create(b, inSecond, other, value);
          }
          return result;
        },
        [&] { return decode(0); });
  }

  SmallVector<TermCodes> getTerms(KernelBuilder &b, Value tile, Value block,
                                  Value unit, bool first, bool,
                                  int64_t firstByte,
                                  int64_t bytes) const override {
    Value here = getBlock(b, tile, block);
    SmallVector<Value> planes;
    for (int64_t bit = 0; bit < format.getBits(); ++bit)
      planes.push_back(loadBits(b, here, bit, firstByte, bytes));
    if (products == 3)
      planes.push_back(arith::AndIOp::create(b, planes[0], planes[1]));
    if (hasFirstBlock && first) {
      Value mask = getMask(b, tile, unit, bytes);
      planes.push_back(mask);
      for (int64_t p = 0; p < products; ++p) {
        planes.push_back(arith::AndIOp::create(b, planes[p], mask));
        planes[p] = arith::XOrIOp::create(b, planes[p], planes.back());
      }
    }
    SmallVector<TermCodes> result(terms);
    for (auto [term, plane] : llvm::zip(result, planes))
      term.planes = {{plane}};
    return result;
  }

  Value coefficient(KernelBuilder &b, Value tile, Value unit, int64_t term,
                    int64_t row, int64_t rows) const override {
    auto at = [&](int64_t table, int64_t code) {
      return level(b, tile, unit, table, code, row, rows);
    };
    if (term == products)
      return b.subf(at(1, 0), at(0, 0));
    int64_t table = term > products;
    switch (table ? term - products - 1 : term) {
    case 0:
      return b.subf(at(table, 1), at(table, 0));
    case 1:
      return b.subf(at(table, 2), at(table, 0));
    default:
      return b.addf(b.subf(at(table, 3), at(table, 2)),
                    b.subf(at(table, 0), at(table, 1)));
    }
  }
  Value offset(KernelBuilder &b, Value tile, Value unit, int64_t row,
               int64_t rows) const override {
    return level(b, tile, unit, 0, 0, row, rows);
  }

private:
  /// What `code` stands for.
  Value level(KernelBuilder &b, Value tile, Value unit, int64_t table,
              int64_t code, int64_t row, int64_t rows) const {
    int64_t listed = format.getNumListed(), half = 1 << (format.getBits() - 1);
    int64_t index = !format.getSymmetric() ? code
                    : code >= half         ? code - half
                                           : half - 1 - code;
    Value value = loadRows(b, tile, unit, 0, layout.listed,
                           table * listed + index, row, rows);
    if (format.getSymmetric() && code < half)
      return arith::NegFOp::create(b, value);
    return value;
  }

  Value getCount(KernelBuilder &b, Value tile, Value unit) const {
    Value byte =
        b.load(b.getI8Type(), b.advance(tile, unit), layout.countsOffset);
    return arith::ExtUIOp::create(b, b.getI64Type(), byte);
  }

  /// The plane of ones in the second table's columns, the first `count`.
  Value getMask(KernelBuilder &b, Value tile, Value unit, int64_t bytes) const {
    Value count = getCount(b, tile, unit), word = b.i64(0);
    for (int64_t j = 0; j < 4; ++j) {
      // Columns 4 f + j below count.
      Value columns = b.div(b.sub(b.add(count, 3), b.i64(j)), 4);
      Value ones = b.sub(arith::ShLIOp::create(b, b.i64(1), columns), b.i64(1));
      word = arith::OrIOp::create(b, word,
                                  arith::ShLIOp::create(b, ones, b.i64(8 * j)));
    }
    word = arith::TruncIOp::create(b, b.getI32Type(), word);
    return vector::BitCastOp::create(b, b.i8x(bytes),
                                     b.broadcast(b.i32x(bytes / 4), word));
  }

  CodebookAttr format;
  CodebookLayout layout;
  int64_t products; ///< terms of one table
};

//===----------------------------------------------------------------------===//
// #llq.mixed
//===----------------------------------------------------------------------===//

/// Units of one width. Only what is common to all widths if `width` is 0.
class MixedDecoder : public GroupedDecoder {
public:
  MixedDecoder(MixedAttr format, const MixedLayout &layout, int64_t width)
      : GroupedDecoder(layout, width * 64), format(format), layout(layout),
        width(width) {
    terms = 1;
    variants = width ? 0 : format.getWidths().size();
    maxCode = (1 << (width ? width : format.getWidths().back())) - 1;
  }

  SmallVector<Value> values(KernelBuilder &b, Value tile, Value block,
                            ArrayRef<Value>) const override {
    Value unit = getUnit(b, block);
    Value scale = coefficient(b, tile, unit, 0, 0, kTileRows);
    Value base = offset(b, tile, unit, 0, kTileRows);
    SmallVector<Value> result =
        toFloats(b, loadCodes(b, tile, block, unit, 0, 64));
    // Not fused: the reference rounds the product.
    for (Value &value : result)
      value = b.addf(b.mulf(value, scale), base);
    return result;
  }

  SmallVector<TermCodes> getTerms(KernelBuilder &b, Value tile, Value block,
                                  Value unit, bool, bool, int64_t firstByte,
                                  int64_t bytes) const override {
    TermCodes term;
    term.codes = loadCodes(b, tile, block, unit, firstByte, bytes);
    return {std::move(term)};
  }
  Value coefficient(KernelBuilder &b, Value tile, Value unit, int64_t,
                    int64_t row, int64_t rows) const override {
    return loadRows(b, tile, unit, 0, 1, 0, row, rows);
  }
  Value offset(KernelBuilder &b, Value tile, Value unit, int64_t row,
               int64_t rows) const override {
    return loadRows(b, tile, unit, layout.offsetsOffset, 1, 0, row, rows);
  }

  Value variant(KernelBuilder &b, Value tile, Value unit) const override {
    return arith::AndIOp::create(b, getHeader(b, tile, unit), b.i64(255));
  }
  std::unique_ptr<CPUDecoder> createVariant(int64_t index) const override {
    return std::make_unique<MixedDecoder>(format, layout,
                                          format.getWidths()[index]);
  }

private:
  SmallVector<Value> loadCodes(KernelBuilder &b, Value tile, Value block,
                               Value unit, int64_t firstByte,
                               int64_t bytes) const {
    Value place = arith::ShRUIOp::create(b, getHeader(b, tile, unit), b.i64(8));
    Value inUnit = b.sub(block, b.mul(unit, unitColumns / kBlockColumns));
    Value pointer =
        b.advance(b.advance(tile, b.mul(place, 64)), b.mul(inUnit, blockBytes));
    return loadPlanes(b, pointer, 0, UniformLayout::getPlanes(width), firstByte,
                      bytes);
  }
  Value getHeader(KernelBuilder &b, Value tile, Value unit) const {
    Value header = b.load(b.getI32Type(), b.advance(tile, b.mul(unit, 4)),
                          layout.headersOffset);
    return arith::ExtUIOp::create(b, b.getI64Type(), header);
  }

  MixedAttr format;
  MixedLayout layout;
  int64_t width;
};

struct PlanesCPUDecode
    : CPUDecodeInterface::ExternalModel<PlanesCPUDecode, PlanesAttr> {
  std::unique_ptr<CPUDecoder> createDecoder(Attribute attr, int64_t k) const {
    auto format = cast<PlanesAttr>(attr);
    return std::make_unique<PlanesDecoder>(format, PlanesLayout(format, k));
  }
};

struct CodebookCPUDecode
    : CPUDecodeInterface::ExternalModel<CodebookCPUDecode, CodebookAttr> {
  std::unique_ptr<CPUDecoder> createDecoder(Attribute attr, int64_t k) const {
    auto format = cast<CodebookAttr>(attr);
    return std::make_unique<CodebookDecoder>(format, CodebookLayout(format, k));
  }
};

struct MixedCPUDecode
    : CPUDecodeInterface::ExternalModel<MixedCPUDecode, MixedAttr> {
  std::unique_ptr<CPUDecoder> createDecoder(Attribute attr, int64_t k) const {
    auto format = cast<MixedAttr>(attr);
    return std::make_unique<MixedDecoder>(format, MixedLayout(format, k),
                                          /*width=*/0);
  }
};

} // namespace

void llq::registerGroupedCPUDecoders(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, LLQDialect *) {
    PlanesAttr::attachInterface<PlanesCPUDecode>(*context);
    CodebookAttr::attachInterface<CodebookCPUDecode>(*context);
    MixedAttr::attachInterface<MixedCPUDecode>(*context);
  });
}
