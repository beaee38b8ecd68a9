//===- Decoder.cpp - Decode recipes for the CPU ---------------------------===//
//
// The recipes of source types and of #llq.uniform.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"

#include "llq/Codegen/CPU.h"
#include "llq/Packing/UniformLayout.h"

using namespace mlir;
using namespace llq;

#include "llq/Codegen/CPUDecodeInterface.cpp.inc"

SmallVector<Value> llq::toFloats(KernelBuilder &b, ArrayRef<Value> codes) {
  VectorType words = b.i32x(kTileRows), floats = b.f32x(kTileRows);
  SmallVector<Value> result;
  for (Value bytes : codes) {
    // Byte j of each row's 32-bit word is a column.
    Value word = vector::BitCastOp::create(b, words, bytes);
    for (int64_t j = 0; j < 4; ++j) {
      Value code = word;
      if (j > 0)
        code = arith::ShRUIOp::create(b, code, b.splat(words, 8 * j));
      if (j < 3)
        code = arith::AndIOp::create(b, code, b.splat(words, int64_t(255)));
      result.push_back(arith::SIToFPOp::create(b, floats, code));
    }
  }
  return result;
}

Value llq::testColumn(KernelBuilder &b, Value plane, int64_t c) {
  int64_t bit = c % 4 * 8 + c / 4;
  VectorType type = b.i32x(kTileRows);
  Value masked = arith::AndIOp::create(
      b, plane, b.splat(type, int64_t(int32_t(uint32_t(1) << bit))));
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, masked,
                               b.splat(type, int64_t(0)));
}

SmallVector<Value> CPUDecoder::values(KernelBuilder &b, Value tile, Value block,
                                      ArrayRef<Value> zeros) const {
  SmallVector<Value> result = toFloats(b, codes(b, tile, block, 0, 64));
  for (auto [c, value] : llvm::enumerate(result))
    if (Value zero = zeros[c * zeros.size() / kBlockColumns])
      value = b.subf(value, zero);
  return result;
}

SmallVector<Value>
llq::perVariant(KernelBuilder &b, const CPUDecoder &decoder, Value tile,
                Value unit, TypeRange types,
                function_ref<SmallVector<Value>(const CPUDecoder &)> body) {
  if (!decoder.variants)
    return body(decoder);
  Value index = arith::IndexCastOp::create(b, b.getIndexType(),
                                           decoder.variant(b, tile, unit));
  auto cases = llvm::to_vector(llvm::seq<int64_t>(1, decoder.variants));
  auto choice =
      scf::IndexSwitchOp::create(b, types, index, cases, cases.size());
  OpBuilder::InsertionGuard guard(b);
  auto fill = [&](Region &region, int64_t variant) {
    b.setInsertionPointToStart(&region.emplaceBlock());
    scf::YieldOp::create(b, body(*decoder.createVariant(variant)));
  };
  fill(choice.getDefaultRegion(), 0);
  for (auto [variant, region] : llvm::zip_equal(cases, choice.getCaseRegions()))
    fill(region, variant);
  return llvm::to_vector_of<Value>(choice.getResults());
}

/// Steps of sparse codes that are not in a loop: what a tenth of all columns
/// needs.
static constexpr int64_t kStraightSteps = 2;

KernelBuilder::Carried llq::forSparseCodes(
    KernelBuilder &b, const SparseBlock &sparse, int64_t firstByte,
    int64_t bytes, ValueRange init,
    function_ref<KernelBuilder::Carried(Value, Value, Value, ValueRange)>
        take) {
  VectorType all = b.i8x(64);
  SmallVector<int64_t> rows;
  for (int64_t i = 0; i < 64; ++i)
    rows.push_back(i / 4);
  Value counts =
      vector::ShuffleOp::create(b, sparse.counts, sparse.counts, rows);
  Value places = b.repeat({0, 1, 2, 3}, 64);
  auto mine = [&](Value vector) -> Value {
    if (bytes == 64)
      return vector;
    return vector::ExtractStridedSliceOp::create(
        b, vector, ArrayRef<int64_t>{firstByte}, ArrayRef<int64_t>{bytes},
        ArrayRef<int64_t>{1});
  };
  // What is left: counts, where codes and columns are, the values of `take`.
  KernelBuilder::Carried state = {counts, sparse.codes, b.i64(0)};
  llvm::append_range(state, init);
  auto next = [&](ValueRange now) {
    Value counts = now[0], codes = now[1], bit = now[2];
    // At most 32, and negative behind a row's last step.
    auto isThere = [&](Value counts, Value places) -> Value {
      return arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, counts,
                                   places);
    };
    Value present = b.collectBits(isThere(counts, places));
    Value total = b.popCount(present);
    Value columns =
        b.expandFives(present, b.advance(sparse.columns, b.div(bit, 8)),
                      b.rem(bit, 8), firstByte, bytes);
    KernelBuilder::Carried result = {b.add(counts, b.splat(all, int64_t(-4))),
                                     b.advance(codes, total),
                                     b.add(bit, b.mul(total, 5))};
    llvm::append_range(result,
                       take(isThere(mine(counts), mine(places)),
                            b.expandBytes(present, codes, firstByte, bytes),
                            columns, now.drop_front(3)));
    return result;
  };
  for (int64_t i = 0; i < kStraightSteps; ++i)
    state = next(state);
  state = b.loop(b.i64(kStraightSteps), sparse.steps, 1, state,
                 [&](Value, ValueRange now) { return next(now); });
  state.erase(state.begin(), state.begin() + 3);
  return state;
}

KernelBuilder::Carried llq::forSparseValues(
    KernelBuilder &b, const CPUDecoder &decoder, Value tile, Value block,
    Value unit, ValueRange init,
    function_ref<KernelBuilder::Carried(Value, Value, ValueRange)> take) {
  VectorType words = b.i32x(kTileRows), floats = b.f32x(kTileRows);
  auto coefficient = [&](int64_t term) {
    return decoder.coefficient(b, tile, unit, term, 0, kTileRows);
  };
  Value one = coefficient(decoder.terms - 2);
  Value scale = coefficient(decoder.terms - 1);
  return forSparseCodes(
      b, decoder.getSparseBlock(b, tile, block), 0, 64, init,
      [&](Value isThere, Value codes, Value columns, ValueRange carried) {
        KernelBuilder::Carried next(carried);
        Value places = vector::BitCastOp::create(b, words, columns);
        Value there = vector::BitCastOp::create(
            b, words, arith::ExtSIOp::create(b, b.i8x(64), isThere));
        for (auto [j, code] : llvm::enumerate(toFloats(b, codes))) {
          Value byte = b.splat(words, int64_t(int32_t(uint32_t(255) << 8 * j)));
          Value mine =
              arith::CmpIOp::create(b, arith::CmpIPredicate::ne,
                                    arith::AndIOp::create(b, there, byte),
                                    b.splat(words, int64_t(0)));
          Value value = arith::SelectOp::create(
              b, mine, b.fma(scale, code, one), b.splat(floats, 0.0));
          Value column =
              arith::ShRUIOp::create(b, places, b.splat(words, int64_t(8 * j)));
          next = take(value, column, next);
        }
        return next;
      });
}

SmallVector<Value> llq::expandPlane(KernelBuilder &b, Value plane) {
  SmallVector<Value> codes;
  for (int64_t f = 0; f < 8; ++f)
    codes.push_back(b.extractBits(plane, f, 1, 0));
  return codes;
}

SmallVector<Value> llq::loadPlanes(KernelBuilder &b, Value pointer,
                                   int64_t offset, ArrayRef<int64_t> widths,
                                   int64_t firstByte, int64_t bytes) {
  VectorType type = b.i8x(bytes);
  SmallVector<Value> result(8);
  int64_t chunk = offset + firstByte, shift = 0;
  for (int64_t width : widths) {
    int64_t fields = 8 / width;
    for (int64_t c = 0; c < width; ++c, chunk += 64) {
      Value plane = b.load(type, pointer, chunk);
      for (int64_t f = 0; f < fields; ++f) {
        Value field = b.extractBits(plane, f * width, width, shift);
        Value &code = result[c * fields + f];
        code = code ? arith::OrIOp::create(b, code, field) : field;
      }
    }
    shift += width;
  }
  return result;
}

namespace {

/// f32, f16 or bf16 as they are: one unit, no scale.
class SourceDecoder : public CPUDecoder {
public:
  SourceDecoder(Type element, int64_t k) : element(element) {
    int64_t padded = getPaddedColumns(k);
    blocks = padded / kBlockColumns;
    unitColumns = padded;
    bytes = element.getIntOrFloatBitWidth() / 8;
    tileBytes = padded * kTileRows * bytes;
    blockBytes = kBlockColumns * kTileRows * bytes;
  }

  SmallVector<Value> values(KernelBuilder &b, Value tile, Value block,
                            ArrayRef<Value>) const override {
    int64_t column = kTileRows * bytes;
    Value pointer = b.advance(tile, b.mul(block, kBlockColumns * column));
    SmallVector<Value> result;
    for (int64_t i = 0; i < kBlockColumns; ++i)
      result.push_back(b.loadAsF32(kTileRows, element, pointer, i * column));
    return result;
  }

private:
  Type element;
  int64_t bytes;
};

/// Scales, zeros and bit planes of #llq.uniform (UniformLayout.h).
class UniformDecoder : public CPUDecoder {
public:
  UniformDecoder(UniformAttr format, int64_t k)
      : format(format), layout(format, k) {
    tileBytes = layout.tileBytes;
    blocks = layout.blocks;
    unitColumns = layout.unitColumns;
    blocksOffset = layout.codesOffset;
    blockBytes = layout.blockBytes;
    maxCode = (1 << format.getBits()) - 1;
    integerZeros = format.getZero() != ZeroPoint::Float;
  }

  SmallVector<Value> codes(KernelBuilder &b, Value tile, Value block,
                           int64_t firstByte, int64_t bytes) const override {
    return loadPlanes(
        b, b.advance(tile, b.mul(block, layout.blockBytes)), layout.codesOffset,
        UniformLayout::getPlanes(format.getBits()), firstByte, bytes);
  }

  Value scale(KernelBuilder &b, Value tile, Value unit, int64_t row,
              int64_t rows) const override {
    Type element = format.getScale() == ScaleType::F16 ? Type(b.getF16Type())
                                                       : Type(b.getF32Type());
    return loadUnit(b, tile, unit, 0, element, layout.scaleBytes, row, rows);
  }

  Value zero(KernelBuilder &b, Value tile, Value unit, int64_t row,
             int64_t rows) const override {
    if (format.getZero() == ZeroPoint::None)
      return b.splat(b.f32x(rows), double(1 << (format.getBits() - 1)));
    if (layout.zeroBits == 4)
      return loadNibbles(b, tile, unit, row, rows);
    Type element = format.getZero() == ZeroPoint::Int ? Type(b.getI8Type())
                                                      : Type(b.getF16Type());
    return loadUnit(b, tile, unit, layout.zerosOffset, element,
                    layout.zeroBits / 8, row, rows);
  }

private:
  /// Zero points of 4 bits: those of rows 8 and up are the upper halves.
  Value loadNibbles(KernelBuilder &b, Value tile, Value unit, int64_t row,
                    int64_t rows) const {
    int64_t count = std::min<int64_t>(rows, 8);
    VectorType type = b.i8x(count);
    Value bytes = b.load(type, b.advance(tile, b.mul(unit, 8)),
                         layout.zerosOffset + row % 8);
    Value low = b.extractBits(bytes, 0, 4, 0),
          high = b.extractBits(bytes, 4, 4, 0);
    Value zeros = row < 8 ? low : high;
    if (rows == kTileRows)
      zeros = vector::ShuffleOp::create(
          b, low, high, llvm::to_vector(llvm::seq<int64_t>(0, kTileRows)));
    return arith::SIToFPOp::create(
        b, b.f32x(rows), arith::ExtUIOp::create(b, b.i32x(rows), zeros));
  }

  static Value loadUnit(KernelBuilder &b, Value tile, Value unit,
                        int64_t offset, Type element, int64_t bytes,
                        int64_t row, int64_t rows) {
    Value pointer = b.advance(tile, b.mul(unit, kTileRows * bytes));
    return b.loadAsF32(rows, element, pointer, offset + row * bytes);
  }

  UniformAttr format;
  UniformLayout layout;
};

struct UniformCPUDecode
    : CPUDecodeInterface::ExternalModel<UniformCPUDecode, UniformAttr> {
  std::unique_ptr<CPUDecoder> createDecoder(Attribute attr, int64_t k) const {
    return std::make_unique<UniformDecoder>(cast<UniformAttr>(attr), k);
  }
};

} // namespace

std::unique_ptr<CPUDecoder> llq::createCPUDecoder(Type type) {
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    return std::make_unique<SourceDecoder>(tensor.getElementType(),
                                           tensor.getDimSize(1));
  auto quantized = cast<QuantizedType>(type);
  if (auto format = dyn_cast<CPUDecodeInterface>(quantized.getFormat()))
    return format.createDecoder(quantized.getColumns());
  return nullptr;
}

void llq::registerCPUDecoders(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, LLQDialect *) {
    UniformAttr::attachInterface<UniformCPUDecode>(*context);
  });
  registerGroupedCPUDecoders(registry);
  registerE8PCPUDecoder(registry);
  registerOutliersCPUDecoder(registry);
}
