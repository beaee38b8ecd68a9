//===- OutliersDecoder.cpp - Recipe of sparse codes over a base -----------===//
//
// Two more terms beside those of the base, whose codes are 0 where there is an
// outlier: a one for each, which takes out what the base means by 0 and the
// outliers' zero point, and the outliers' codes.
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
    hasPlanes = base->hasPlanes;
    hasSparseCodes = true;
    maxCode = 255;
  }

  SmallVector<Value> values(KernelBuilder &b, Value tile, Value block,
                            ArrayRef<Value>) const override;
  SmallVector<TermCodes> getTerms(KernelBuilder &b, Value tile, Value block,
                                  Value unit, bool first, bool forLookUp,
                                  int64_t firstByte,
                                  int64_t bytes) const override;
  SparseBlock getSparseBlock(KernelBuilder &b, Value tile,
                             Value block) const override;
  int64_t getMaxCode(int64_t term) const override {
    return base->getMaxCode(term);
  }
  Value coefficient(KernelBuilder &b, Value tile, Value unit, int64_t term,
                    int64_t row, int64_t rows) const override;
  Value offset(KernelBuilder &b, Value tile, Value unit, int64_t row,
               int64_t rows) const override;

private:
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

/// How far ahead of a block its stream is asked for.
static constexpr int64_t kPrefetchBytes = 1024;

SparseBlock OutliersDecoder::getSparseBlock(KernelBuilder &b, Value tile,
                                            Value block) const {
  auto load = [&](Type type, Value index, int64_t bytes, int64_t offset) {
    Value value = b.load(type, b.advance(tile, b.mul(index, bytes)), offset);
    return arith::ExtUIOp::create(b, b.getI64Type(), value);
  };
  Type half = b.getI16Type();
  Value start = load(b.getI32Type(), b.div(block, OutliersLayout::kStartBlocks),
                     4, layout.startsOffset);
  Value place = load(half, block, 4, layout.placesOffset);
  Value count = load(half, block, 4, layout.placesOffset + 2);
  int64_t perStep = int64_t(1) << OutliersLayout::kPlaceBits;
  Value stream =
      b.advance(tile, b.load(b.getI64Type(), tile, layout.streamOffset));
  Value here = b.advance(stream, b.add(start, b.rem(place, perStep)));
  // Blocks that differ in length are more than what the hardware asks for
  // beforehand.
  for (int64_t line = 0; line < 128; line += 64)
    b.prefetch(here, kPrefetchBytes + line);
  SparseBlock sparse;
  sparse.counts = b.load(b.i8x(kTileRows), here);
  sparse.steps = b.add(b.div(place, perStep), 1);
  sparse.codes = b.advance(here, kTileRows);
  sparse.columns = b.advance(sparse.codes, count);
  return sparse;
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
  if (base->terms)
    return base->values(b, tile, block, zeros);
  Value unit = b.div(block, unitColumns / kBlockColumns);
  Value zero = base->zero(b, tile, unit, 0, kTileRows);
  Value scale = base->scale(b, tile, unit, 0, kTileRows);
  SmallVector<Value> result = base->values(b, tile, block, zero);
  for (Value &value : result)
    value = b.mulf(value, scale);
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
