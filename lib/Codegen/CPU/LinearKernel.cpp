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

#include "Decoder.h"
#include "Kernels.h"
#include "PlaneTables.h"

#include "llq/Packing/CPULayout.h"

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

namespace {

/// Emits the body of a product kernel.
class LinearEmitter {
public:
  LinearEmitter(KernelBuilder &b, const LinearKernel &kernel)
      : b(b), kernel(kernel), format(createCPUDecoder(kernel.weight)),
        decoder(format.get()), row(getWeightColumns(kernel.weight)),
        tokenRow(getWeightColumns(kernel.weight)),
        xStride(kernel.input.getRowBytes(getWeightColumns(kernel.weight))),
        lanes(kernel.input.isQuantized() ? b.level.vectorBytes / 4
                                         : kTileRows) {}

  void emit();

private:
  using Epilogue = LinearKernel::Epilogue;

  /// Whether products with planes are looked up, at least a single token's.
  bool looksUp() const {
    return kernel.input.isQuantized() && decoder->hasPlanes &&
           PlaneTables::isSupported(b.level);
  }

  /// Rows [row, row + lanes) of a tile.
  struct Strip {
    Value tile;
    int64_t row;
  };

  /// Sums of strips for `count` tokens from the row `x` on.
  SmallVector<Value> products(ArrayRef<Strip> strips, Value x, int64_t count);
  void compute(Value item, int64_t items, Value token, int64_t count);
  /// The kernel's items, `atOnce` at a time and the rest one by one.
  void forItems(int64_t atOnce, function_ref<void(Value, int64_t)> run);
  /// One block, for the int8 form: adds to `sums` (by token) the products
  /// scaled by the activations' scales.
  void blockInt8(const Strip &strip, Value x, Value block, Value zero,
                 MutableArrayRef<Value> sums);
  /// A block that holds several units: adds to the final sums.
  void splitBlockInt8(const Strip &strip, Value x, Value block,
                      MutableArrayRef<Value> sums);
  /// The sums of products() for rows with one scale.
  SmallVector<Value> tokenProducts(ArrayRef<Strip> strips, Value x,
                                   int64_t count);
  /// `sums` of products with codes -> sums of products with weights without
  /// their scale, as f32. `codeSum` is the i32 sum of the activations' codes.
  Value subtractZero(Value sums, Value zero, Value codeSum);
  /// Adds the unit of blocks [first, last) to the sums of strips and tokens.
  using AddUnitFn = function_ref<SmallVector<Value>(
      ArrayRef<Strip> strips, Value unit, Value first, Value last, ValueRange)>;
  SmallVector<Value> addUnits(ArrayRef<Strip> strips, int64_t count,
                              AddUnitFn add);
  SmallVector<Value> addFloatUnit(ArrayRef<Strip> strips, Value x,
                                  int64_t count, Value unit, Value first,
                                  Value last, ValueRange carried);
  SmallVector<Value> addTokenUnit(ArrayRef<Strip> strips, Value x,
                                  int64_t count, Value unit, Value first,
                                  Value last, ValueRange carried);
  /// Sums of a unit of several terms: those of the terms of each strip and
  /// token, then, unless activations have one scale, those of the activations.
  struct TermSums {
    int64_t tokens, terms;
    int64_t ofTerms;
    KernelBuilder::Carried values;

    Value &at(int64_t strip, int64_t token, int64_t term) {
      return values[(strip * tokens + token) * terms + term];
    }
    MutableArrayRef<Value> activations() {
      return MutableArrayRef(values).drop_front(ofTerms);
    }
  };
  void addTermBlock(ArrayRef<Strip> strips, Value x, Value unit, Value block,
                    bool isFirst, TermSums &sums);
  SmallVector<Value> addTermUnit(ArrayRef<Strip> strips, Value x, int64_t count,
                                 Value unit, Value first, Value last,
                                 ValueRange carried);
  /// `sums` of codes times the activations' codes -> of the activations, for
  /// rows with one scale.
  void scaleTokens(MutableArrayRef<Value> sums, Value x, int64_t count);
  void addSplitBlock(const Strip &strip, Value x, Value block,
                     MutableArrayRef<Value> sums);
  Value dot(ArrayRef<Value> codes, int64_t maxCode, Value x, int64_t firstStep);
  Value dot(ArrayRef<Value> codes, int64_t maxCode,
            ArrayRef<Value> activations);
  Value dotPairs(ArrayRef<Value> codes, int64_t maxCode,
                 ArrayRef<Value> activations);
  /// `sum` and the products of one step.
  Value accumulate(Value sum, Value codes, int64_t maxCode, Value activations) {
    if (b.level.dot == DotKind::DotAccumulate)
      return b.dotAccumulate(sum, codes, activations);
    return b.add(sum, dotPairs(codes, maxCode, activations));
  }
  /// Products with a one for each sparse code of a block, and with the codes,
  /// by token.
  SmallVector<Value> sparseProducts(const Strip &strip, Value columns,
                                    Value block, int64_t count);
  Value activationBytes(Value x, int64_t step);
  void blockF32(const Strip &strip, Value x, Value block, ArrayRef<Value> zeros,
                MutableArrayRef<Value> sums);
  /// The same of its sparse codes.
  void addSparseF32(const Strip &strip, Value x, Value block, Value unit,
                    MutableArrayRef<Value> sums);
  void splitBlockF32(const Strip &strip, Value x, Value block,
                     MutableArrayRef<Value> sums);
  void prefetch(Value tile, Value block);
  /// Asks for what the tiles behind these have beside their blocks, a part of
  /// it in each unit.
  void prefetchNext(ArrayRef<Strip> strips, Value unit);
  void finish(Value token, Value column, ArrayRef<Value> first,
              ArrayRef<Value> second);

  KernelBuilder &b;
  const LinearKernel &kernel;
  std::unique_ptr<CPUDecoder> format;
  /// `format`, or the variant of it that the present unit needs.
  const CPUDecoder *decoder;
  QuantizedRow row;
  TokenRow tokenRow;
  int64_t xStride;
  int64_t lanes;
  Value x, weight, bias, residual, y;
  /// Of the present token, where products are looked up.
  std::optional<PlaneTables> tables;
};

} // namespace

//===----------------------------------------------------------------------===//
// Integer activations
//===----------------------------------------------------------------------===//

/// Four activation codes of a step, in every 32-bit lane.
Value LinearEmitter::activationBytes(Value x, int64_t step) {
  Value word = b.loadBroadcast(b.i32x(lanes), x, 4 * step);
  return vector::BitCastOp::create(b, b.i8x(4 * lanes), word);
}

/// Products of `codes` (one vector per step) and the activations from step
/// `firstStep` on, summed over the steps and over the four columns of each: i32
/// by row.
Value LinearEmitter::dot(ArrayRef<Value> codes, int64_t maxCode, Value x,
                         int64_t firstStep) {
  SmallVector<Value> activations;
  for (size_t s = 0; s < codes.size(); ++s)
    activations.push_back(activationBytes(x, firstStep + s));
  return dot(codes, maxCode, activations);
}

Value LinearEmitter::dot(ArrayRef<Value> codes, int64_t maxCode,
                         ArrayRef<Value> activations) {
  if (b.level.dot == DotKind::MaddPairs)
    return dotPairs(codes, maxCode, activations);
  // Two chains: a long chain of waiting instructions fills the scheduler.
  Value sums[2] = {b.splat(b.i32x(lanes), int64_t(0)),
                   b.splat(b.i32x(lanes), int64_t(0))};
  for (auto [s, code] : llvm::enumerate(codes))
    sums[s % 2] = b.dotAccumulate(sums[s % 2], code, activations[s]);
  return codes.size() > 1 ? b.add(sums[0], sums[1]) : sums[0];
}

/// The same by pair sums in 16 bits: as many steps as cannot overflow are added
/// before they are widened. 8-bit codes are taken apart into two halves.
Value LinearEmitter::dotPairs(ArrayRef<Value> codes, int64_t maxCode,
                              ArrayRef<Value> activations) {
  VectorType bytes = b.i8x(4 * lanes), words = b.i16x(2 * lanes);
  VectorType sums = b.i32x(lanes);
  Value ones = b.splat(words, int64_t(1));
  Value total;
  auto addTo = [&](Value pairs, Value weights) {
    Value wide = b.intrinsic(b.level.pairIntrinsic, sums, {pairs, weights});
    total = total ? b.add(total, wide) : wide;
  };
  // Pairs of products that 16 bits hold.
  auto getMost = [&](int64_t maxCode) {
    return 32767 / (2 * maxCode * kernel.input.getLargestCode());
  };
  auto run = [&](function_ref<Value(Value)> part, int64_t maxCode,
                 Value weights) {
    int64_t most = getMost(maxCode);
    Value pairs;
    for (auto [s, code] : llvm::enumerate(codes)) {
      Value product = b.intrinsic(b.level.dotIntrinsic, words,
                                  {part(code), activations[s]});
      pairs = pairs ? b.add(pairs, product) : product;
      if ((s + 1) % most == 0 || s + 1 == codes.size()) {
        addTo(pairs, weights);
        pairs = {};
      }
    }
  };
  if (getMost(maxCode) > 0) {
    run([](Value code) { return code; }, maxCode, ones);
    return total;
  }
  run(
      [&](Value code) -> Value {
        return arith::AndIOp::create(b, code, b.splat(bytes, int64_t(15)));
      },
      15, ones);
  run(
      [&](Value code) -> Value {
        return arith::ShRUIOp::create(b, code, b.splat(bytes, int64_t(4)));
      },
      15, b.splat(words, int64_t(16)));
  return total;
}

void LinearEmitter::blockInt8(const Strip &strip, Value x, Value block,
                              Value zero, MutableArrayRef<Value> sums) {
  VectorType floats = b.f32x(lanes);
  SmallVector<Value> codes =
      decoder->codes(b, strip.tile, block, 4 * strip.row, 4 * lanes);
  Value columns = b.advance(x, b.mul(block, kBlockColumns));
  Value groups = b.advance(x, b.mul(block, 4));
  for (auto [t, sum] : llvm::enumerate(sums)) {
    int64_t at = t * xStride;
    Value products = dot(codes, decoder->maxCode, b.advance(columns, at), 0);
    Value value = arith::SIToFPOp::create(b, floats, products);
    if (zero) {
      Value codeSum = b.loadBroadcast(floats, groups, at + row.sums);
      value = b.subf(value, b.mulf(zero, codeSum));
    }
    Value scale = b.loadBroadcast(floats, groups, at + row.scales);
    sum = b.fma(value, scale, sum);
  }
}

void LinearEmitter::splitBlockInt8(const Strip &strip, Value x, Value block,
                                   MutableArrayRef<Value> sums) {
  VectorType floats = b.f32x(lanes);
  int64_t units = kBlockColumns / decoder->unitColumns;
  SmallVector<Value> codes =
      decoder->codes(b, strip.tile, block, 4 * strip.row, 4 * lanes);
  SmallVector<Value> ones(8 / units, b.splat(b.i8x(4 * lanes), int64_t(1)));
  Value columns = b.advance(x, b.mul(block, kBlockColumns));
  Value groups = b.advance(x, b.mul(block, 4));
  for (int64_t u = 0; u < units; ++u) {
    Value unit = b.add(b.mul(block, units), u);
    Value scale = decoder->scale(b, strip.tile, unit, strip.row, lanes);
    Value zero = decoder->zero(b, strip.tile, unit, strip.row, lanes);
    int64_t steps = 8 / units, first = u * steps;
    for (auto [t, sum] : llvm::enumerate(sums)) {
      int64_t at = t * xStride;
      Value here = b.advance(columns, at);
      Value value =
          arith::SIToFPOp::create(b, floats,
                                  dot(ArrayRef(codes).slice(first, steps),
                                      decoder->maxCode, here, first));
      // The stored sums are those of whole blocks.
      Value codeSum =
          arith::SIToFPOp::create(b, floats, dot(ones, 1, here, first));
      if (zero)
        value = b.subf(value, b.mulf(zero, codeSum));
      value = b.mulf(value, b.loadBroadcast(floats, groups, at + row.scales));
      sum = b.fma(value, scale, sum);
    }
  }
}

//===----------------------------------------------------------------------===//
// Integer activations with one scale per token
//===----------------------------------------------------------------------===//

Value LinearEmitter::subtractZero(Value sums, Value zero, Value codeSum) {
  VectorType floats = b.f32x(lanes);
  if (zero && decoder->integerZeros) {
    // Exact, and free to wrap on the way: the difference fits 32 bits.
    Value integer = arith::FPToSIOp::create(b, b.i32x(lanes), zero);
    sums = arith::SubIOp::create(b, sums,
                                 arith::MulIOp::create(b, integer, codeSum));
    zero = {};
  }
  Value value = arith::SIToFPOp::create(b, floats, sums);
  if (zero)
    value = b.subf(value,
                   b.mulf(zero, arith::SIToFPOp::create(b, floats, codeSum)));
  return value;
}

/// Adds the unit of blocks [first, last) to the sums of all units, or, if there
/// is only one, returns its scaled sum. Before the scale of the unit all is
/// exact.
SmallVector<Value> LinearEmitter::addTokenUnit(ArrayRef<Strip> strips, Value x,
                                               int64_t count, Value unit,
                                               Value first, Value last,
                                               ValueRange carried) {
  VectorType words = b.i32x(lanes), floats = b.f32x(lanes);
  SmallVector<Value> init(strips.size() * count, b.splat(words, int64_t(0)));
  auto body = [&](Value block, ValueRange partial) {
    KernelBuilder::Carried sums(partial);
    Value columns = b.advance(x, b.mul(block, kBlockColumns));
    for (auto [s, strip] : llvm::enumerate(strips)) {
      if (count == 1 && strip.row == 0 && b.level.prefetchBytes)
        prefetch(strip.tile, block);
      SmallVector<Value> codes =
          decoder->codes(b, strip.tile, block, 4 * strip.row, 4 * lanes);
      for (int64_t t = 0; t < count; ++t) {
        Value &sum = sums[s * count + t];
        sum = b.add(sum, dot(codes, decoder->maxCode,
                             b.advance(columns, t * xStride), 0));
      }
    }
    return sums;
  };
  SmallVector<Value> sums = decoder->unitColumns == kBlockColumns
                                ? body(first, init)
                                : b.loop(first, last, 1, init, body);

  KernelBuilder::Carried result(carried);
  Value begin = b.advance(x, b.mul(first, 4));
  Value end = b.advance(x, b.mul(last, 4));
  for (auto [s, strip] : llvm::enumerate(strips)) {
    Value scale = decoder->scale(b, strip.tile, unit, strip.row, lanes);
    Value zero = decoder->zero(b, strip.tile, unit, strip.row, lanes);
    for (int64_t t = 0; t < count; ++t) {
      int64_t at = t * xStride + tokenRow.sums;
      Value codeSum = arith::SubIOp::create(b, b.load(b.getI32Type(), end, at),
                                            b.load(b.getI32Type(), begin, at));
      Value value =
          subtractZero(sums[s * count + t], zero, b.broadcast(words, codeSum));
      Value &sum = result[s * count + t];
      if (decoder->getUnits() == 1) {
        Value token = b.loadBroadcast(floats, x, t * xStride + tokenRow.scale);
        sum = b.mulf(b.mulf(token, scale), value);
      } else {
        sum = b.fma(value, scale, sum);
      }
    }
  }
  return result;
}

/// A block that holds several units.
void LinearEmitter::addSplitBlock(const Strip &strip, Value x, Value block,
                                  MutableArrayRef<Value> sums) {
  int64_t units = kBlockColumns / decoder->unitColumns, steps = 8 / units;
  SmallVector<Value> codes =
      decoder->codes(b, strip.tile, block, 4 * strip.row, 4 * lanes);
  SmallVector<Value> ones(steps, b.splat(b.i8x(4 * lanes), int64_t(1)));
  Value columns = b.advance(x, b.mul(block, kBlockColumns));
  for (int64_t u = 0; u < units; ++u) {
    Value unit = b.add(b.mul(block, units), u);
    Value scale = decoder->scale(b, strip.tile, unit, strip.row, lanes);
    Value zero = decoder->zero(b, strip.tile, unit, strip.row, lanes);
    for (auto [t, sum] : llvm::enumerate(sums)) {
      Value here = b.advance(columns, t * xStride);
      Value products = dot(ArrayRef(codes).slice(u * steps, steps),
                           decoder->maxCode, here, u * steps);
      // The stored sums are those of whole blocks.
      Value codeSum = dot(ones, 1, here, u * steps);
      sum = b.fma(subtractZero(products, zero, codeSum), scale, sum);
    }
  }
}

void LinearEmitter::scaleTokens(MutableArrayRef<Value> sums, Value x,
                                int64_t count) {
  for (auto [i, sum] : llvm::enumerate(sums)) {
    int64_t at = i % count * xStride + tokenRow.scale;
    sum = b.mulf(b.loadBroadcast(b.f32x(lanes), x, at), sum);
  }
}

SmallVector<Value> LinearEmitter::tokenProducts(ArrayRef<Strip> strips, Value x,
                                                int64_t count) {
  SmallVector<Value> sums;
  if (decoder->unitColumns < kBlockColumns) {
    SmallVector<Value> zeros(strips.size() * count,
                             b.splat(b.f32x(lanes), 0.0));
    sums =
        b.loop(b.i64(0), b.i64(decoder->blocks), 1, zeros,
               [&](Value block, ValueRange carried) {
                 KernelBuilder::Carried next(carried);
                 for (auto [s, strip] : llvm::enumerate(strips))
                   addSplitBlock(strip, x, block,
                                 MutableArrayRef(next).slice(s * count, count));
                 return next;
               });
  } else {
    sums = addUnits(strips, count,
                    [&](ArrayRef<Strip> strips, Value unit, Value first,
                        Value last, ValueRange carried) {
                      return addTokenUnit(strips, x, count, unit, first, last,
                                          carried);
                    });
    if (decoder->getUnits() == 1)
      return sums;
  }
  scaleTokens(sums, x, count);
  return sums;
}

//===----------------------------------------------------------------------===//
// Integer activations and several streams of codes
//===----------------------------------------------------------------------===//

/// Terms that are looked up in turns.
static constexpr size_t kLookUpTerms = 4;

SmallVector<Value> LinearEmitter::sparseProducts(const Strip &strip,
                                                 Value columns, Value block,
                                                 int64_t count) {
  VectorType bytes = b.i8x(4 * lanes);
  SmallVector<Value> tables;
  for (int64_t t = 0; t < count; ++t)
    tables.push_back(
        b.load(b.i8x(kBlockColumns), b.advance(columns, t * xStride)));
  SmallVector<Value> none(2 * count, b.splat(b.i32x(lanes), int64_t(0)));
  Value ones = b.splat(bytes, int64_t(1)), zero = b.splat(bytes, int64_t(0));
  return forSparseCodes(
      b, decoder->getSparseCodes(b, strip.tile, block), 4 * strip.row,
      4 * lanes, none,
      [&](Value isThere, Value codes, Value places, ValueRange carried) {
        KernelBuilder::Carried sums(carried);
        for (int64_t t = 0; t < count; ++t) {
          Value activations = arith::SelectOp::create(
              b, isThere, b.lookUp32(tables[t], places), zero);
          sums[2 * t] = accumulate(sums[2 * t], ones, 1, activations);
          sums[2 * t + 1] =
              accumulate(sums[2 * t + 1], codes, decoder->maxCode, activations);
        }
        return sums;
      });
}

void LinearEmitter::addTermBlock(ArrayRef<Strip> strips, Value x, Value unit,
                                 Value block, bool isFirst, TermSums &sums) {
  VectorType floats = b.f32x(lanes);
  Value columns = b.advance(x, b.mul(block, kBlockColumns));
  Value groups = b.advance(x, b.mul(block, 4));
  SmallVector<Value> scales;
  for (auto [t, sum] : llvm::enumerate(sums.activations())) {
    int64_t at = int64_t(t) * xStride;
    scales.push_back(b.loadBroadcast(floats, groups, at + row.scales));
    Value codes = b.loadBroadcast(floats, groups, at + row.sums);
    sum = b.fma(codes, scales.back(), sum);
  }
  auto addProducts = [&](int64_t strip, int64_t token, int64_t term,
                         Value products) {
    Value &sum = sums.at(strip, token, term);
    sum = scales.empty() ? b.add(sum, products)
                         : b.fma(arith::SIToFPOp::create(b, floats, products),
                                 scales[token], sum);
  };
  // Terms whose products are looked up, and where these belong.
  SmallVector<SmallVector<BitPlane>> planes;
  SmallVector<std::pair<int64_t, int64_t>> places;
  auto lookUpAll = [&] {
    if (planes.empty())
      return;
    SmallVector<ArrayRef<BitPlane>> terms(planes.begin(), planes.end());
    for (auto [place, products] :
         llvm::zip_equal(places, tables->lookUp(terms, block)))
      addProducts(place.first, 0, place.second, products);
    planes.clear();
    places.clear();
  };
  for (auto [s, strip] : llvm::enumerate(strips)) {
    SmallVector<TermCodes> codes = decoder->getTerms(
        b, strip.tile, block, unit, isFirst,
        /*forLookUp=*/tables.has_value(), 4 * strip.row, 4 * lanes);
    bool hasCodes = decoder->hasSparseCodes;
    for (auto [term, one] : llvm::enumerate(codes)) {
      if (one.empty())
        continue;
      if (tables && !one.planes.empty()) {
        planes.push_back(std::move(one.planes));
        places.push_back({s, term});
        continue;
      }
      hasCodes = true;
      if (!one.planes.empty())
        one.codes = expandPlane(b, one.planes.front().bits);
      for (int64_t t = 0; t < sums.tokens; ++t)
        addProducts(s, t, term,
                    dot(one.codes, decoder->getMaxCode(term),
                        b.advance(columns, t * xStride), 0));
    }
    if (decoder->hasSparseCodes) {
      SmallVector<Value> products =
          sparseProducts(strip, columns, block, sums.tokens);
      for (auto [i, product] : llvm::enumerate(products))
        addProducts(s, i / 2, sums.terms - 2 + i % 2, product);
    }
    // Codes fill the registers by themselves.
    if (hasCodes || planes.size() >= kLookUpTerms)
      lookUpAll();
  }
  lookUpAll();
}

/// With activations of one scale, sums of the unit are exact; otherwise the
/// exact sums of a block are scaled by that of its activations. Coefficients
/// come last.
SmallVector<Value> LinearEmitter::addTermUnit(ArrayRef<Strip> strips, Value x,
                                              int64_t count, Value unit,
                                              Value first, Value last,
                                              ValueRange carried) {
  VectorType words = b.i32x(lanes), floats = b.f32x(lanes);
  bool exact = kernel.input.hasOneScale();
  TermSums sums{count,
                decoder->terms,
                int64_t(strips.size()) * count * decoder->terms,
                {}};
  sums.values.assign(sums.ofTerms + (exact ? 0 : count),
                     exact ? b.splat(words, int64_t(0)) : b.splat(floats, 0.0));
  if (decoder->hasFirstBlock)
    addTermBlock(strips, x, unit, first, true, sums);
  if (decoder->unitColumns > kBlockColumns || !decoder->hasFirstBlock)
    sums.values = b.loop(decoder->hasFirstBlock ? b.add(first, 1) : first, last,
                         1, sums.values, [&](Value block, ValueRange partial) {
                           TermSums next = sums;
                           next.values.assign(partial.begin(), partial.end());
                           addTermBlock(strips, x, unit, block, false, next);
                           return next.values;
                         });

  KernelBuilder::Carried result(carried);
  Value begin = b.advance(x, b.mul(first, 4));
  Value end = b.advance(x, b.mul(last, 4));
  for (auto [s, strip] : llvm::enumerate(strips)) {
    SmallVector<Value> coefficients;
    for (int64_t term = 0; term < sums.terms; ++term)
      coefficients.push_back(
          decoder->coefficient(b, strip.tile, unit, term, strip.row, lanes));
    Value offset = decoder->offset(b, strip.tile, unit, strip.row, lanes);
    for (int64_t t = 0; t < count; ++t) {
      Value &sum = result[s * count + t];
      for (auto [term, coefficient] : llvm::enumerate(coefficients)) {
        Value products = sums.at(s, t, term);
        if (exact)
          products = arith::SIToFPOp::create(b, floats, products);
        sum = b.fma(coefficient, products, sum);
      }
      if (!offset)
        continue;
      Value codeSum;
      if (exact) {
        int64_t place = t * xStride + tokenRow.sums;
        Value codes =
            arith::SubIOp::create(b, b.load(b.getI32Type(), end, place),
                                  b.load(b.getI32Type(), begin, place));
        codeSum = arith::SIToFPOp::create(b, floats, b.broadcast(words, codes));
      } else {
        codeSum = sums.activations()[t];
      }
      sum = b.fma(offset, codeSum, sum);
    }
  }
  return result;
}

//===----------------------------------------------------------------------===//
// f32 activations
//===----------------------------------------------------------------------===//

/// Adds a block's products to two sums per token, even and odd columns apart.
void LinearEmitter::blockF32(const Strip &strip, Value x, Value block,
                             ArrayRef<Value> zeros,
                             MutableArrayRef<Value> sums) {
  SmallVector<Value> columns = decoder->values(b, strip.tile, block, zeros);
  Value here = b.advance(x, b.mul(block, 4 * kBlockColumns));
  for (auto [c, values] : llvm::enumerate(columns))
    for (size_t t = 0; t < sums.size() / 2; ++t) {
      Value &sum = sums[2 * t + c % 2];
      sum =
          b.fma(values,
                b.loadBroadcast(b.f32x(lanes), here, t * xStride + 4 * c), sum);
    }
}

void LinearEmitter::addSparseF32(const Strip &strip, Value x, Value block,
                                 Value unit, MutableArrayRef<Value> sums) {
  Value here = b.advance(x, b.mul(block, 4 * kBlockColumns));
  KernelBuilder::Carried result =
      forSparseValues(b, *decoder, strip.tile, block, unit, sums,
                      [&](Value values, Value columns, ValueRange carried) {
                        KernelBuilder::Carried next(carried);
                        for (size_t t = 0; t < next.size() / 2; ++t) {
                          Value picked =
                              b.gather32(b.advance(here, t * xStride), columns);
                          // The two sums of a token take turns.
                          Value sum = b.fma(values, picked, next[2 * t]);
                          next[2 * t] = next[2 * t + 1];
                          next[2 * t + 1] = sum;
                        }
                        return next;
                      });
  llvm::copy(result, sums.begin());
}

void LinearEmitter::splitBlockF32(const Strip &strip, Value x, Value block,
                                  MutableArrayRef<Value> sums) {
  int64_t units = kBlockColumns / decoder->unitColumns;
  SmallVector<Value> zeros, scales;
  for (int64_t u = 0; u < units; ++u) {
    Value unit = b.add(b.mul(block, units), u);
    zeros.push_back(decoder->zero(b, strip.tile, unit, 0, lanes));
    scales.push_back(decoder->scale(b, strip.tile, unit, 0, lanes));
  }
  SmallVector<Value> columns = decoder->values(b, strip.tile, block, zeros);
  Value here = b.advance(x, b.mul(block, 4 * kBlockColumns));
  for (size_t t = 0; t < sums.size(); ++t)
    for (int64_t u = 0; u < units; ++u) {
      Value sum = b.splat(b.f32x(lanes), 0.0);
      for (int64_t i = 0; i < decoder->unitColumns; ++i) {
        int64_t c = u * decoder->unitColumns + i;
        sum = b.fma(columns[c],
                    b.loadBroadcast(b.f32x(lanes), here, t * xStride + 4 * c),
                    sum);
      }
      sums[t] = b.fma(sum, scales[u], sums[t]);
    }
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
