//===- LinearKernel.cpp - Products with packed weights --------------------===//
//
// One generator for every format, accuracy and epilogue: decode (one token) and
// prefill (many) are the same code with another number of accumulators, so that
// a result never depends on how the tokens of a prompt are cut. Sums along K
// have one order: within a block of 32 exactly (integers) or column by column,
// then block by block, then unit by unit. Activations with one scale per token
// are summed exactly over whole units.
//
// Products with planes of bits are looked up where the level can
// (PlaneTables.h). What codes share between tokens is lost so: formats that
// have codes too or take long to make planes do so for a single token only.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LinearEmitter.h"

#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace llq;

QuantizedRow::QuantizedRow(int64_t columns) {
  int64_t padded = getPaddedColumns(columns);
  groups = padded / kBlockColumns;
  scales = padded;
  sums = scales + 4 * groups;
  bytes = sums + 4 * groups;
}

TokenRow::TokenRow(int64_t columns) {
  int64_t padded = getPaddedColumns(columns);
  blocks = padded / kBlockColumns;
  sums = padded;
  scale = sums + 4 * (blocks + 1);
  bytes = scale + 4;
}

FailureOr<ActivationType>
ActivationType::get(Type type, function_ref<InFlightDiagnostic()> emitError) {
  auto quantized = dyn_cast<QuantizedType>(type);
  if (!quantized)
    return ActivationType();
  Attribute format = quantized.getFormat();
  if (auto tensor = dyn_cast<StaticAttr>(format))
    return ActivationType{Kind::Static, tensor.getBits()};
  auto dynamic = cast<DynamicAttr>(format);
  if (dynamic.getGroup() == 0)
    return ActivationType{Kind::Token, dynamic.getBits()};
  if (dynamic.getGroup() == kBlockColumns)
    return ActivationType{Kind::Group, dynamic.getBits()};
  return emitError() << "the cpu target has no kernel for " << format
                     << ", groups of activations are 32 columns or a token";
}

int64_t ActivationType::getRowBytes(int64_t columns) const {
  switch (kind) {
  case Kind::Float:
    return 4 * getPaddedColumns(columns);
  case Kind::Group:
    return QuantizedRow(columns).bytes;
  case Kind::Token:
  case Kind::Static:
    return TokenRow(columns).bytes;
  }
}

std::string ActivationType::getName() const {
  switch (kind) {
  case Kind::Float:
    return "exact";
  case Kind::Group:
    return "int" + std::to_string(bits);
  case Kind::Token:
    return "token" + std::to_string(bits);
  case Kind::Static:
    return "static" + std::to_string(bits);
  }
}

int64_t llq::getWeightColumns(Type weight) {
  if (auto tensor = dyn_cast<RankedTensorType>(weight))
    return tensor.getDimSize(1);
  return cast<QuantizedType>(weight).getColumns();
}

/// Text of a weight's type without its rows, as a part of a kernel's name.
std::string llq::getWeightSuffix(Type weight) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << getWeightColumns(weight) << '_';
  if (auto tensor = dyn_cast<RankedTensorType>(weight))
    os << tensor.getElementType();
  else
    os << cast<WeightFormatInterface>(cast<QuantizedType>(weight).getFormat())
              .getKernelFormat();
  // An identifier: the format's text with other characters dropped.
  std::string name;
  for (char c : text)
    if (llvm::isAlnum(c))
      name += c;
    else if (c == '<' || c == ',' || c == '_')
      name += '_';
  return name;
}

std::string LinearKernel::getName() const {
  std::string name = "linear_" + std::to_string(columns) + "x" +
                     getWeightSuffix(weight) + "_" + input.getName();
  if (bias)
    name += "_bias";
  if (epilogue == Epilogue::Residual)
    name += "_add";
  if (epilogue == Epilogue::SwiGLU)
    name += "_swiglu";
  return name;
}

int64_t LinearKernel::getItems() const {
  return columns / kTileRows / (epilogue == Epilogue::SwiGLU ? 2 : 1);
}

//===----------------------------------------------------------------------===//
// A tile, and the kernel
//===----------------------------------------------------------------------===//

SmallVector<Value> LinearEmitter::addUnits(ArrayRef<Strip> strips,
                                           int64_t count, AddUnitFn add) {
  SmallVector<Value> zeros(strips.size() * count, b.splat(b.f32x(lanes), 0.0));
  auto addAll = [&](Value unit, Value first, Value last, ValueRange carried) {
    if (!format->variants)
      return add(strips, unit, first, last, carried);
    // Two matrices of a product may need different variants.
    SmallVector<Value> result;
    for (size_t s = 0; s < strips.size(); ++s) {
      ValueRange mine = carried.slice(s * count, count);
      result.append(perVariant(b, *format, strips[s].tile, unit,
                               mine.getTypes(), [&](const CPUDecoder &variant) {
                                 llvm::SaveAndRestore<const CPUDecoder *> save(
                                     decoder, &variant);
                                 return add(strips[s], unit, first, last, mine);
                               }));
    }
    return result;
  };
  Value none = b.i64(0), blocks = b.i64(decoder->blocks);
  if (decoder->getUnits() == 1)
    return addAll(none, none, blocks, zeros);
  int64_t unitBlocks = decoder->unitColumns / kBlockColumns;
  return b.loop(none, b.i64(decoder->getUnits()), 1, zeros,
                [&](Value unit, ValueRange carried) {
                  if (count == 1)
                    prefetchNext(strips, unit);
                  Value first = b.mul(unit, unitBlocks);
                  Value last = b.min(b.add(first, unitBlocks), blocks);
                  return addAll(unit, first, last, carried);
                });
}

/// A unit for activations that are f32 or have a scale for each block. f32
/// keeps two sums per token so that one multiply-add need not wait for the one
/// before it.
SmallVector<Value> LinearEmitter::addFloatUnit(ArrayRef<Strip> strips, Value x,
                                               int64_t count, Value unit,
                                               Value first, Value last,
                                               ValueRange carried) {
  bool int8 = kernel.input.isQuantized();
  int64_t perToken = int8 ? 1 : 2, total = strips.size() * count;
  SmallVector<Value> zeros;
  for (const Strip &strip : strips)
    zeros.push_back(decoder->zero(b, strip.tile, unit, strip.row, lanes));
  SmallVector<Value> init(total * perToken, b.splat(b.f32x(lanes), 0.0));
  auto body = [&](Value block, ValueRange partial) {
    KernelBuilder::Carried sums(partial);
    for (auto [s, strip] : llvm::enumerate(strips)) {
      if (count == 1 && strip.row == 0 && b.level.prefetchBytes)
        prefetch(strip.tile, block);
      auto mine =
          MutableArrayRef(sums).slice(s * count * perToken, count * perToken);
      if (int8)
        blockInt8(strip, x, block, zeros[s], mine);
      else
        blockF32(strip, x, block, zeros[s], mine);
      if (decoder->hasSparseCodes)
        addSparseF32(strip, x, block, unit, mine);
    }
    return sums;
  };
  SmallVector<Value> sums = decoder->unitColumns == kBlockColumns
                                ? body(first, init)
                                : b.loop(first, last, 1, init, body);
  KernelBuilder::Carried result(carried);
  for (auto [s, strip] : llvm::enumerate(strips)) {
    Value scale = decoder->scale(b, strip.tile, unit, strip.row, lanes);
    for (int64_t i = s * count, e = i + count; i < e; ++i) {
      Value sum = int8 ? sums[i] : b.addf(sums[2 * i], sums[2 * i + 1]);
      result[i] = scale ? b.fma(sum, scale, result[i]) : b.addf(sum, result[i]);
    }
  }
  return result;
}

/// All sums of `strips` in one pass over K: strip by strip, in each by token.
SmallVector<Value> LinearEmitter::products(ArrayRef<Strip> strips, Value x,
                                           int64_t count) {
  if (kernel.input.isQuantized() && decoder->terms) {
    SmallVector<Value> sums = addUnits(
        strips, count,
        [&](ArrayRef<Strip> strips, Value unit, Value first, Value last,
            ValueRange carried) {
          return addTermUnit(strips, x, count, unit, first, last, carried);
        });
    if (kernel.input.hasOneScale())
      scaleTokens(sums, x, count);
    return sums;
  }
  if (kernel.input.hasOneScale())
    return tokenProducts(strips, x, count);
  if (decoder->unitColumns >= kBlockColumns)
    return addUnits(strips, count,
                    [&](ArrayRef<Strip> strips, Value unit, Value first,
                        Value last, ValueRange carried) {
                      return addFloatUnit(strips, x, count, unit, first, last,
                                          carried);
                    });

  SmallVector<Value> zeroSums(strips.size() * count,
                              b.splat(b.f32x(lanes), 0.0));
  return b.loop(b.i64(0), b.i64(decoder->blocks), 1, zeroSums,
                [&](Value block, ValueRange carried) {
                  KernelBuilder::Carried sums(carried);
                  for (auto [s, strip] : llvm::enumerate(strips)) {
                    auto mine = MutableArrayRef(sums).slice(s * count, count);
                    if (kernel.input.isQuantized())
                      splitBlockInt8(strip, x, block, mine);
                    else
                      splitBlockF32(strip, x, block, mine);
                  }
                  return sums;
                });
}

/// Asks for a block some way ahead of this one. A single token does so little
/// with each byte that the window of a core fills up before the hardware's own
/// prefetch has begun.
void LinearEmitter::prefetch(Value tile, Value block) {
  // Blocks of one size follow each other.
  if (format->variants)
    return;
  Value at = b.advance(tile, b.mul(block, decoder->blockBytes));
  for (int64_t line = 0; line < decoder->blockBytes; line += 64)
    b.prefetch(at, decoder->blocksOffset + b.level.prefetchBytes + line);
}

void LinearEmitter::prefetchNext(ArrayRef<Strip> strips, Value unit) {
  auto ask = [&](Value tile, int64_t from, int64_t to) {
    int64_t lines = llvm::divideCeil(to - from, 64 * format->getUnits());
    Value at = b.advance(tile, b.mul(unit, lines * 64));
    for (int64_t line = 0; line < lines; ++line)
      b.prefetch(at, from + line * 64);
  };
  int64_t blocksEnd =
      format->blocksOffset + format->blocks * format->blockBytes;
  int64_t tiles = strips.size() * lanes / kTileRows;
  for (const Strip &strip : strips) {
    if (strip.row != 0)
      continue;
    Value next = b.advance(strip.tile, tiles * format->tileBytes);
    ask(next, 0, format->blocksOffset);
    if (!format->variants)
      ask(next, blocksEnd, format->tileBytes);
  }
}

/// Bias, residual or gated activation, and the store to y.
void LinearEmitter::finish(Value token, Value column, ArrayRef<Value> first,
                           ArrayRef<Value> second) {
  VectorType floats = b.f32x(lanes);
  int64_t columns =
      kernel.epilogue == Epilogue::SwiGLU ? kernel.columns / 2 : kernel.columns;
  int64_t stride = 4 * columns;
  Value offset = b.add(b.mul(token, stride), b.mul(column, 4));
  for (auto [t, sum] : llvm::enumerate(first)) {
    Value value = sum;
    if (bias)
      value = b.addf(value, b.load(floats, b.advance(bias, b.mul(column, 4))));
    if (residual)
      value = b.addf(value,
                     b.load(floats, b.advance(residual, offset), t * stride));
    if (kernel.epilogue == Epilogue::SwiGLU)
      value = b.mulf(b.silu(value), second[t]);
    b.store(value, b.advance(y, offset), t * stride);
  }
}

/// Tokens [token, token + count) of items [item, item + items).
void LinearEmitter::compute(Value item, int64_t items, Value token,
                            int64_t count) {
  bool pairs = kernel.epilogue == Epilogue::SwiGLU;
  int64_t tiles = pairs ? 2 : 1;
  SmallVector<Strip> strips;
  for (int64_t i = 0; i < items * tiles; ++i) {
    Value index = b.add(b.mul(item, tiles), i);
    Value tile = b.advance(weight, b.mul(index, decoder->tileBytes));
    for (int64_t row = 0; row < kTileRows; row += lanes)
      strips.push_back({tile, row});
  }
  // A single token is bound by memory: all strips at once keep several streams
  // of it going. Many tokens are bound by registers: one strip at a time.
  Value rows = b.advance(x, b.mul(token, xStride));
  SmallVector<Value> sums;
  if (count == 1)
    sums = products(strips, rows, 1);
  else
    for (const Strip &strip : strips)
      sums.append(products(strip, rows, count));

  int64_t perTile = kTileRows / lanes;
  auto sumsOf = [&](int64_t strip) {
    return ArrayRef(sums).slice(strip * count, count);
  };
  for (int64_t i = 0; i < items; ++i)
    for (int64_t n = 0; n < perTile; ++n) {
      int64_t strip = i * tiles * perTile + n;
      Value column = b.add(b.mul(b.add(item, i), kTileRows), n * lanes);
      finish(token, column, sumsOf(strip),
             pairs ? sumsOf(strip + perTile) : ArrayRef<Value>());
    }
}

void LinearEmitter::emit() {
  int64_t next = 0;
  x = b.buffer(next++);
  weight = b.buffer(next++);
  if (kernel.bias)
    bias = b.buffer(next++);
  if (kernel.epilogue == Epilogue::Residual)
    residual = b.buffer(next++);
  y = b.buffer(next++);

  // Items that a single token takes at once: as many tiles as fill the
  // registers with four sums.
  int64_t tiles = kernel.epilogue == Epilogue::SwiGLU ? 2 : 1;
  int64_t fill = std::max<int64_t>(1, b.level.vectorBytes / 16 / tiles);
  int64_t atOnce = fill;
  int64_t most =
      kernel.input.isQuantized() ? b.level.tokensInt8 : b.level.tokensF32;
  if (kernel.input.isQuantized() && decoder->terms) {
    atOnce /= (decoder->terms + 1) / 2;
    // The two products with sparse codes share what they need.
    most /= decoder->terms - (decoder->hasSparseCodes ? 1 : 0);
  }
  atOnce = std::max<int64_t>(1, atOnce);
  most = std::max<int64_t>(1, most);
  auto withTables = [&](Value token) {
    tables.emplace(b, b.scratch());
    tables->fill(b.advance(x, b.mul(token, xStride)), decoder->blocks);
    forItems(fill, [&](Value item, int64_t items) {
      compute(item, items, token, 1);
    });
    tables.reset();
  };
  auto withoutTables = [&] {
    forItems(atOnce, [&](Value item, int64_t items) {
      b.tokenLoop(most, [&](Value token, int64_t count) {
        if (count == 1)
          return compute(item, items, token, 1);
        b.loop(item, b.add(item, items), 1,
               [&](Value one) { compute(one, 1, token, count); });
      });
    });
  };
  if (!looksUp())
    return withoutTables();
  Value begin = b.tokenBegin(), end = b.tokenEnd();
  if (decoder->onlyPlanes)
    return b.loop(begin, end, 1, withTables);
  Value isSingle = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                         b.sub(end, begin), b.i64(1));
  b.ifThenElse(isSingle, [&] { withTables(begin); }, withoutTables);
}

void LinearEmitter::forItems(int64_t atOnce,
                             function_ref<void(Value, int64_t)> run) {
  Value begin = b.itemBegin(), end = b.itemEnd();
  Value split = b.add(begin, b.mul(b.div(b.sub(end, begin), atOnce), atOnce));
  b.loop(begin, split, atOnce, [&](Value item) { run(item, atOnce); });
  if (atOnce > 1)
    b.loop(split, end, 1, [&](Value item) { run(item, 1); });
}

int64_t LinearKernel::getScratchBytes() const {
  std::unique_ptr<CPUDecoder> decoder = createCPUDecoder(weight);
  return input.isQuantized() && decoder->hasPlanes
             ? PlaneTables::getBytes(decoder->blocks)
             : 0;
}

void LinearKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  LinearEmitter(b, *this).emit();
  b.finish();
}
