//===- OutliersDecoder.cpp - Recipe of sparse codes over a base -----------===//
//
// Two more streams of codes beside those of the base, which are 0 where there
// is an outlier: the mask, which takes out what the base means by 0 and the
// outliers' zero point, and the outliers' codes, zero elsewhere.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"

#include "llq/Codegen/CPU.h"
#include "llq/Packing/OutliersLayout.h"

using namespace mlir;
using namespace llq;

namespace {

class OutliersDecoder : public CPUDecoder {
public:
  OutliersDecoder(OutliersAttr format, int64_t k)
      : base(cast<CPUDecodeInterface>(format.getBase()).createDecoder(k)),
        layout(format, k) {
    assert(base->variants == 0 && !base->hasFirstBlock);
    tileBytes = layout.tileBytes;
    blocks = base->blocks;
    unitColumns = base->unitColumns;
    blocksOffset = base->blocksOffset;
    blockBytes = base->blockBytes;
    baseTerms = std::max<int64_t>(base->terms, 1);
    terms = baseTerms + 2;
    hasPlanes = true;
    maxCode = 255;
  }

  SmallVector<Value> values(KernelBuilder &b, Value tile, Value block,
                            ArrayRef<Value>) const override;
  SmallVector<TermCodes> getTerms(KernelBuilder &b, Value tile, Value block,
                                  Value unit, bool first, bool forLookUp,
                                  int64_t firstByte,
                                  int64_t bytes) const override;
  int64_t getMaxCode(int64_t term) const override {
    return term < baseTerms    ? base->getMaxCode(term)
           : term == baseTerms ? 1
                               : maxCode;
  }
  Value coefficient(KernelBuilder &b, Value tile, Value unit, int64_t term,
                    int64_t row, int64_t rows) const override;
  Value offset(KernelBuilder &b, Value tile, Value unit, int64_t row,
               int64_t rows) const override;

private:
  /// The masks of a block, as a plane of one bit of all rows, and where its
  /// codes begin.
  std::pair<Value, Value> loadMasks(KernelBuilder &b, Value tile,
                                    Value block) const;
  /// The codes of a block, eight vectors of bytes [firstByte, firstByte +
  /// bytes), zero where there is none.
  SmallVector<Value> loadCodes(KernelBuilder &b, Value masks, Value pointer,
                               int64_t firstByte, int64_t bytes) const;
  Value loadScale(KernelBuilder &b, Value tile, int64_t row,
                  int64_t rows) const {
    return b.loadAsF32(rows, b.getF16Type(), tile,
                       layout.scalesOffset + 2 * row);
  }
  Value loadZero(KernelBuilder &b, Value tile, int64_t row,
                 int64_t rows) const {
    return b.loadAsF32(rows, b.getI8Type(), tile, layout.zerosOffset + row);
  }

  std::unique_ptr<CPUDecoder> base;
  OutliersLayout layout;
  int64_t baseTerms;
};

} // namespace

std::pair<Value, Value> OutliersDecoder::loadMasks(KernelBuilder &b, Value tile,
                                                   Value block) const {
  auto load = [&](Type type, Value index, int64_t bytes, int64_t offset) {
    return b.load(type, b.advance(tile, b.mul(index, bytes)), offset);
  };
  auto wide = [&](Value value) {
    return arith::ExtUIOp::create(b, b.getI64Type(), value);
  };
  Value start =
      wide(load(b.getI32Type(), b.div(block, OutliersLayout::kStartBlocks), 4,
                layout.startsOffset));
  Value step = wide(load(b.getI16Type(), block, 2, layout.stepsOffset));
  Value stream = b.load(b.getI64Type(), tile, layout.streamOffset);
  Value pointer = b.advance(tile, b.add(stream, b.add(start, step)));
  Value presence = load(b.getI64Type(), block, 8, layout.presenceOffset);
  Value masks = b.expandBytes(presence, pointer, 0, 64);
  return {masks, b.advance(pointer, b.popCount(presence))};
}

SmallVector<Value> OutliersDecoder::loadCodes(KernelBuilder &b, Value masks,
                                              Value pointer, int64_t firstByte,
                                              int64_t bytes) const {
  SmallVector<Value> codes;
  for (int64_t f = 0; f < 8; ++f) {
    Value present = b.testBits(masks, f);
    codes.push_back(b.expandBytes(present, pointer, firstByte, bytes));
    pointer = b.advance(pointer, b.popCount(present));
  }
  return codes;
}

SmallVector<TermCodes> OutliersDecoder::getTerms(KernelBuilder &b, Value tile,
                                                 Value block, Value unit,
                                                 bool first, bool forLookUp,
                                                 int64_t firstByte,
                                                 int64_t bytes) const {
  SmallVector<TermCodes> result(1);
  if (base->terms)
    result = base->getTerms(b, tile, block, unit, first, forLookUp, firstByte,
                            bytes);
  else
    result[0].codes = base->codes(b, tile, block, firstByte, bytes);
  auto [masks, pointer] = loadMasks(b, tile, block);
  Value mine = masks;
  if (bytes < 64)
    mine = vector::ExtractStridedSliceOp::create(
        b, masks, ArrayRef<int64_t>{firstByte}, ArrayRef<int64_t>{bytes},
        ArrayRef<int64_t>{1});
  result.resize(terms);
  result[baseTerms].planes = {{mine}};
  result[baseTerms + 1].codes = loadCodes(b, masks, pointer, firstByte, bytes);
  return result;
}

Value OutliersDecoder::offset(KernelBuilder &b, Value tile, Value unit,
                              int64_t row, int64_t rows) const {
  if (base->terms)
    return base->offset(b, tile, unit, row, rows);
  // scale * (code - zero)
  Value scale = base->scale(b, tile, unit, row, rows);
  Value zero = base->zero(b, tile, unit, row, rows);
  return arith::NegFOp::create(b, b.mulf(scale, zero));
}

Value OutliersDecoder::coefficient(KernelBuilder &b, Value tile, Value unit,
                                   int64_t term, int64_t row,
                                   int64_t rows) const {
  if (term < baseTerms)
    return base->terms ? base->coefficient(b, tile, unit, term, row, rows)
                       : base->scale(b, tile, unit, row, rows);
  Value scale = loadScale(b, tile, row, rows);
  if (term > baseTerms)
    return scale;
  Value zero = b.mulf(scale, loadZero(b, tile, row, rows));
  if (Value all = offset(b, tile, unit, row, rows))
    zero = b.addf(zero, all);
  return arith::NegFOp::create(b, zero);
}

SmallVector<Value> OutliersDecoder::values(KernelBuilder &b, Value tile,
                                           Value block,
                                           ArrayRef<Value> zeros) const {
  Value unit = b.div(block, unitColumns / kBlockColumns);
  SmallVector<Value> baseZeros;
  Value baseScale;
  if (!base->terms) {
    baseZeros.push_back(base->zero(b, tile, unit, 0, kTileRows));
    baseScale = base->scale(b, tile, unit, 0, kTileRows);
  }
  SmallVector<Value> result = base->values(b, tile, block, baseZeros);
  auto [masks, pointer] = loadMasks(b, tile, block);
  Value words = vector::BitCastOp::create(b, b.i32x(kTileRows), masks);
  Value scale = loadScale(b, tile, 0, kTileRows);
  Value zero = loadZero(b, tile, 0, kTileRows);
  SmallVector<Value> codes = toFloats(b, loadCodes(b, masks, pointer, 0, 64));
  for (auto [c, value, code] : llvm::enumerate(result, codes)) {
    if (baseScale)
      value = b.mulf(value, baseScale);
    value = arith::SelectOp::create(b, testColumn(b, words, c),
                                    b.mulf(scale, b.subf(code, zero)), value);
  }
  return result;
}

namespace {
struct OutliersCPUDecode
    : CPUDecodeInterface::ExternalModel<OutliersCPUDecode, OutliersAttr> {
  std::unique_ptr<CPUDecoder> createDecoder(Attribute attr, int64_t k) const {
    return std::make_unique<OutliersDecoder>(cast<OutliersAttr>(attr), k);
  }
};
} // namespace

void llq::registerOutliersCPUDecoder(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, LLQDialect *) {
    OutliersAttr::attachInterface<OutliersCPUDecode>(*context);
  });
}
