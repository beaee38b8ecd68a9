//===- KernelBuilder.cpp - Building blocks of CPU kernels -----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

#include <limits>

using namespace mlir;
using namespace llq;

KernelBuilder::KernelBuilder(ModuleOp module, StringRef name,
                             const CPULevel &level)
    : ImplicitLocOpBuilder(module.getLoc(), module.getContext()), level(level) {
  setInsertionPointToEnd(module.getBody());
  Type pointer = LLVM::LLVMPointerType::get(getContext());
  Type i64 = getI64Type();
  func = func::FuncOp::create(
      *this, name, getFunctionType({pointer, pointer, i64, i64, pointer}, {}));
  setInsertionPointToStart(func.addEntryBlock());
}

Value KernelBuilder::buffer(int64_t i) {
  Type pointer = LLVM::LLVMPointerType::get(getContext());
  return load(pointer, func.getArgument(0), i * 8);
}

Value KernelBuilder::callField(int64_t i) {
  return load(getI64Type(), func.getArgument(1), i * 8);
}

//===----------------------------------------------------------------------===//
// Constants, integers, addresses
//===----------------------------------------------------------------------===//

Value KernelBuilder::i64(int64_t value) {
  return arith::ConstantOp::create(*this, getI64IntegerAttr(value));
}

Value KernelBuilder::f32(double value) {
  return arith::ConstantOp::create(*this, getF32FloatAttr(float(value)));
}

/// A constant of `type` (scalar or vector) from one of its element type.
static Value constant(KernelBuilder &b, Type type, TypedAttr element) {
  if (auto vector = dyn_cast<VectorType>(type))
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(vector, ArrayRef<Attribute>(element)));
  return arith::ConstantOp::create(b, element);
}

Value KernelBuilder::splat(Type type, double value) {
  return constant(*this, type, getFloatAttr(getElementTypeOrSelf(type), value));
}

Value KernelBuilder::splat(Type type, int64_t value) {
  return constant(*this, type,
                  getIntegerAttr(getElementTypeOrSelf(type), value));
}

Value KernelBuilder::repeat(ArrayRef<uint8_t> table, int64_t bytes) {
  SmallVector<int8_t> all;
  while (int64_t(all.size()) < bytes)
    llvm::append_range(all, table);
  return arith::ConstantOp::create(
      *this, DenseElementsAttr::get(i8x(bytes), ArrayRef<int8_t>(all)));
}

Value KernelBuilder::broadcast(VectorType type, Value scalar) {
  return vector::BroadcastOp::create(*this, type, scalar);
}

Value KernelBuilder::add(Value a, Value b) {
  return arith::AddIOp::create(*this, a, b);
}
Value KernelBuilder::sub(Value a, Value b) {
  return arith::SubIOp::create(*this, a, b);
}
Value KernelBuilder::mul(Value a, Value b) {
  return arith::MulIOp::create(*this, a, b);
}
Value KernelBuilder::div(Value a, Value b) {
  return arith::DivUIOp::create(*this, a, b);
}
Value KernelBuilder::rem(Value a, Value b) {
  return arith::RemUIOp::create(*this, a, b);
}
Value KernelBuilder::div(Value a, int64_t b) { return div(a, i64(b)); }
Value KernelBuilder::rem(Value a, int64_t b) { return rem(a, i64(b)); }
Value KernelBuilder::min(Value a, Value b) {
  return arith::MinSIOp::create(*this, a, b);
}

Value KernelBuilder::advance(Value pointer, Value bytes) {
  return LLVM::GEPOp::create(*this, pointer.getType(), getI8Type(), pointer,
                             ArrayRef<LLVM::GEPArg>{bytes},
                             LLVM::GEPNoWrapFlags::inbounds);
}

Value KernelBuilder::advance(Value pointer, int64_t bytes) {
  if (bytes == 0)
    return pointer;
  return LLVM::GEPOp::create(*this, pointer.getType(), getI8Type(), pointer,
                             ArrayRef<LLVM::GEPArg>{int32_t(bytes)},
                             LLVM::GEPNoWrapFlags::inbounds);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// Alignment that kernels may rely on: that of the elements only.
static int64_t getAlignment(Type type) {
  if (isa<LLVM::LLVMPointerType>(type))
    return 8;
  return std::max<int64_t>(
      1, getElementTypeOrSelf(type).getIntOrFloatBitWidth() / 8);
}

Value KernelBuilder::load(Type type, Value pointer, int64_t bytes) {
  return LLVM::LoadOp::create(*this, type, advance(pointer, bytes),
                              getAlignment(type));
}

void KernelBuilder::store(Value value, Value pointer, int64_t bytes) {
  LLVM::StoreOp::create(*this, value, advance(pointer, bytes),
                        getAlignment(value.getType()));
}

Value KernelBuilder::gather32(Value pointer, Value indices) {
  VectorType floats = f32x(16);
  if (level.vectorBytes == 64)
    return intrinsic(
        "llvm.x86.avx512.vpermi2var.ps.512", floats,
        {load(floats, pointer), indices, load(floats, pointer, 64)});
  return gather(floats, pointer, extractBits(indices, 0, 5, 0));
}

Value KernelBuilder::gather(VectorType type, Value pointer, Value indices) {
  VectorType pointers = VectorType::get(type.getShape(), pointer.getType());
  Value places = LLVM::GEPOp::create(*this, pointers, type.getElementType(),
                                     pointer, ArrayRef<LLVM::GEPArg>{indices},
                                     LLVM::GEPNoWrapFlags::inbounds);
  Value all = splat(VectorType::get(type.getShape(), getI1Type()), int64_t(1));
  Value none = splat(type, 0.0);
  return LLVM::masked_gather::create(*this, type, places, all, none,
                                     getAlignment(type));
}

Value KernelBuilder::loadBroadcast(VectorType type, Value pointer,
                                   int64_t bytes) {
  return broadcast(type, load(type.getElementType(), pointer, bytes));
}

Value KernelBuilder::loadAsF32(int64_t lanes, Type element, Value pointer,
                               int64_t bytes) {
  VectorType result = f32x(lanes);
  if (element.isF32())
    return load(result, pointer, bytes);
  if (element.isInteger(8)) {
    Value codes = load(i8x(lanes), pointer, bytes);
    return arith::SIToFPOp::create(
        *this, result, arith::ExtUIOp::create(*this, i32x(lanes), codes));
  }
  Value bits = load(i16x(lanes), pointer, bytes);
  if (element.isBF16()) {
    Value wide = arith::ExtUIOp::create(*this, i32x(lanes), bits);
    wide = arith::ShLIOp::create(*this, wide, splat(i32x(lanes), int64_t(16)));
    return arith::BitcastOp::create(*this, result, wide);
  }
  return halfToFloat(bits);
}

/// f16 to f32, exactly. Without hardware conversion: the exponent and mantissa
/// bits moved to f32's place are 2^-112 times the value, also for subnormals.
/// Infinities and NaN do not occur: weights are checked when they are read.
Value KernelBuilder::halfToFloat(Value bits) {
  int64_t lanes = cast<VectorType>(bits.getType()).getNumElements();
  VectorType wideType = i32x(lanes), result = f32x(lanes);
  if (level.hasF16) {
    Value half = arith::BitcastOp::create(
        *this, VectorType::get(lanes, getF16Type()), bits);
    return arith::ExtFOp::create(*this, result, half);
  }
  Value wide = arith::ExtUIOp::create(*this, wideType, bits);
  auto andShift = [&](int64_t mask, int64_t shift) -> Value {
    Value masked = arith::AndIOp::create(*this, wide, splat(wideType, mask));
    return arith::ShLIOp::create(*this, masked, splat(wideType, shift));
  };
  Value magnitude =
      arith::BitcastOp::create(*this, result, andShift(0x7fff, 13));
  magnitude = mulf(magnitude, splat(result, 0x1p112));
  Value magnitudeBits = arith::BitcastOp::create(*this, wideType, magnitude);
  return arith::BitcastOp::create(
      *this, result,
      arith::OrIOp::create(*this, magnitudeBits, andShift(0x8000, 16)));
}

/// f32 to f16 to nearest even; values beyond f16's range become infinite. The
/// same as the hardware conversion for every number, in integer arithmetic.
Value KernelBuilder::floatToHalf(Value value) {
  int64_t lanes = cast<VectorType>(value.getType()).getNumElements();
  VectorType halfType = VectorType::get(lanes, getF16Type());
  if (level.hasF16)
    return arith::TruncFOp::create(*this, halfType, value);
  VectorType wide = i32x(lanes), single = f32x(lanes);
  auto c = [&](int64_t v) { return splat(wide, v); };
  Value bits = arith::BitcastOp::create(*this, wide, value);
  Value sign = arith::AndIOp::create(*this, bits, c(0x80000000));
  Value magnitude = arith::XOrIOp::create(*this, bits, sign);
  // Subnormal halves: adding 0.5 lets f32's own rounding drop the right bits.
  Value small = arith::BitcastOp::create(*this, single, magnitude);
  small =
      arith::BitcastOp::create(*this, wide, addf(small, splat(single, 0.5)));
  small = arith::SubIOp::create(*this, small, c(0x3f000000));
  // Normal halves: rebias the exponent and round the 13 lost bits to even.
  Value odd = arith::AndIOp::create(
      *this, arith::ShRUIOp::create(*this, magnitude, c(13)), c(1));
  Value normal =
      arith::AddIOp::create(*this, magnitude, c(int64_t(int32_t(0xc8000fffu))));
  normal = arith::ShRUIOp::create(
      *this, arith::AddIOp::create(*this, normal, odd), c(13));
  Value isSmall = arith::CmpIOp::create(*this, arith::CmpIPredicate::ult,
                                        magnitude, c(0x38800000));
  Value isLarge = arith::CmpIOp::create(*this, arith::CmpIPredicate::uge,
                                        magnitude, c(0x47800000));
  Value half = arith::SelectOp::create(*this, isSmall, small, normal);
  half = arith::SelectOp::create(*this, isLarge, c(0x7c00), half);
  half = arith::OrIOp::create(*this, half,
                              arith::ShRUIOp::create(*this, sign, c(16)));
  half = arith::TruncIOp::create(*this, i16x(lanes), half);
  return arith::BitcastOp::create(*this, halfType, half);
}

void KernelBuilder::storeF32As(Type element, Value value, Value pointer,
                               int64_t bytes) {
  store(element.isF16() ? floatToHalf(value) : value, pointer, bytes);
}

void KernelBuilder::prefetch(Value pointer, int64_t bytes) {
  LLVM::Prefetch::create(*this, advance(pointer, bytes), /*rw=*/0, /*hint=*/3,
                         /*cache=*/1);
}

//===----------------------------------------------------------------------===//
// Bytes
//===----------------------------------------------------------------------===//

Value KernelBuilder::extractBits(Value bytes, int64_t from, int64_t width,
                                 int64_t to) {
  Type type = bytes.getType();
  if (width == 8)
    return bytes;
  int64_t mask = ((1 << width) - 1) << to;
  if (from > to)
    bytes = arith::ShRUIOp::create(*this, bytes, splat(type, from - to));
  else if (from < to)
    bytes = arith::ShLIOp::create(*this, bytes, splat(type, to - from));
  // The topmost field has only zeros above it after the shift.
  if (from > to && from + width == 8 && to == 0)
    return bytes;
  return arith::AndIOp::create(*this, bytes,
                               splat(type, int64_t(int8_t(mask))));
}

Value KernelBuilder::collectBits(Value bits) {
  int64_t count = cast<VectorType>(bits.getType()).getNumElements();
  Value word = vector::BitCastOp::create(
      *this, VectorType::get(1, getIntegerType(unsigned(count))), bits);
  word = vector::ExtractOp::create(*this, word, ArrayRef<int64_t>{0});
  return count == 64 ? word : arith::ExtUIOp::create(*this, getI64Type(), word);
}

Value KernelBuilder::popCount(Value bits) {
  return math::CtPopOp::create(*this, bits);
}

/// Eight bytes: those where the low byte of `mask` has ones are the fields of
/// `width` bits that follow each other in the i64 `fields`.
static Value expandEight(KernelBuilder &b, Value mask, Value fields,
                         int64_t width) {
  Type i64 = b.getI64Type();
  int64_t field = (1 << width) - 1;
  if (b.level.byteMoves == ByteMoves::BitDeposit) {
    Value ones = b.intrinsic("llvm.x86.bmi.pdep.64", i64,
                             {mask, b.i64(0x0101010101010101)});
    return b.intrinsic("llvm.x86.bmi.pdep.64", i64,
                       {fields, b.mul(ones, field)});
  }
  Value result = b.i64(0);
  for (int64_t i = 0; i < 8; ++i) {
    Value bit = arith::AndIOp::create(
        b, arith::ShRUIOp::create(b, mask, b.i64(i)), b.i64(1));
    // A field that is not there is taken too: the mask takes it out.
    Value byte = arith::AndIOp::create(b, fields, b.i64(field));
    byte = arith::ShLIOp::create(b, b.mul(byte, bit), b.i64(8 * i));
    result = arith::OrIOp::create(b, result, byte);
    fields = arith::ShRUIOp::create(b, fields, b.mul(bit, width));
  }
  return result;
}

/// Bytes [first, first + count) of 64, those where `mask` has ones from the
/// fields of `width` bits that `load(n)` has from its n-th field on.
static Value expandEights(KernelBuilder &b, Value mask, int64_t width,
                          int64_t first, int64_t count,
                          function_ref<Value(Value)> load) {
  VectorType words = VectorType::get(count / 8, b.getI64Type());
  Value result = b.splat(words, int64_t(0));
  for (int64_t i = 0; i < count / 8; ++i) {
    int64_t at = first + 8 * i;
    Value before =
        arith::AndIOp::create(b, mask, b.i64(int64_t((uint64_t(1) << at) - 1)));
    Value eight = arith::AndIOp::create(
        b, arith::ShRUIOp::create(b, mask, b.i64(at)), b.i64(255));
    Value fields = load(b.popCount(before));
    result = vector::InsertOp::create(b, expandEight(b, eight, fields, width),
                                      result, ArrayRef<int64_t>{i});
  }
  return vector::BitCastOp::create(b, b.i8x(count), result);
}

/// Whether the level's own instruction for 64 bytes does it.
static bool expandsAll(const CPULevel &level, int64_t first, int64_t count) {
  return level.byteMoves == ByteMoves::Vector && first == 0 && count == 64;
}

static Value expandAll(KernelBuilder &b, Value mask, Value bytes) {
  Value word =
      vector::BroadcastOp::create(b, VectorType::get(1, b.getI64Type()), mask);
  Value bits =
      vector::BitCastOp::create(b, VectorType::get(64, b.getI1Type()), word);
  return b.intrinsic("llvm.x86.avx512.mask.expand.v64i8", bytes.getType(),
                     {bytes, b.splat(bytes.getType(), int64_t(0)), bits});
}

Value KernelBuilder::expandBytes(Value mask, Value pointer, int64_t first,
                                 int64_t count) {
  if (expandsAll(level, first, count))
    return expandAll(*this, mask, load(i8x(64), pointer));
  return expandEights(*this, mask, 8, first, count, [&](Value field) {
    return load(getI64Type(), advance(pointer, field));
  });
}

Value KernelBuilder::expandFives(Value mask, Value pointer, Value bit,
                                 int64_t first, int64_t count) {
  if (!expandsAll(level, first, count))
    return expandEights(*this, mask, 5, first, count, [&](Value field) {
      Value at = add(bit, mul(field, 5));
      Value word = load(getI64Type(), advance(pointer, div(at, 8)));
      return arith::ShRUIOp::create(*this, word, rem(at, 8));
    });
  // Eight fields take 40 bits: a word of 64 for each eight, from which the
  // fields are shifted out.
  VectorType bytes = i8x(64);
  SmallVector<uint8_t> places;
  for (int64_t i = 0; i < 64; ++i)
    places.push_back(i / 8 * 5 + i % 8);
  Value words = lookUp64(load(bytes, pointer), repeat(places, 64));
  Value shifts =
      broadcast(bytes, arith::TruncIOp::create(*this, getI8Type(), bit));
  shifts = add(shifts, repeat({0, 5, 10, 15, 20, 25, 30, 35}, 64));
  Value fields =
      intrinsic("llvm.x86.avx512.pmultishift.qb.512", bytes, {shifts, words});
  return expandAll(*this, mask, fields);
}

Value KernelBuilder::perRegister(Value bytes, function_ref<Value(Value)> body) {
  auto type = cast<VectorType>(bytes.getType());
  int64_t count = type.getNumElements(), each = level.vectorBytes;
  if (count == each)
    return body(bytes);
  Value result = splat(type, int64_t(0));
  for (int64_t at = 0; at < count; at += each) {
    Value part = vector::ExtractStridedSliceOp::create(
        *this, bytes, ArrayRef<int64_t>{at}, ArrayRef<int64_t>{each},
        ArrayRef<int64_t>{1});
    result = vector::InsertStridedSliceOp::create(
        *this, body(part), result, ArrayRef<int64_t>{at}, ArrayRef<int64_t>{1});
  }
  return result;
}

Value KernelBuilder::lookUp16(ArrayRef<uint8_t> table, Value indices) {
  return perRegister(indices, [&](Value part) {
    Value entries = repeat(table, level.vectorBytes);
    return intrinsic(level.shuffleIntrinsic, part.getType(), {entries, part});
  });
}

Value KernelBuilder::parity(Value bytes) {
  if (level.byteMoves == ByteMoves::Vector)
    return extractBits(popCount(bytes), 0, 1, 0);
  static constexpr uint8_t parities[16] = {0, 1, 1, 0, 1, 0, 0, 1,
                                           1, 0, 0, 1, 0, 1, 1, 0};
  Value folded = arith::XOrIOp::create(*this, extractBits(bytes, 0, 4, 0),
                                       extractBits(bytes, 4, 4, 0));
  return lookUp16(parities, folded);
}

Value KernelBuilder::lookUp64(Value table, Value indices) {
  return intrinsic("llvm.x86.avx512.permvar.qi.512", table.getType(),
                   {table, indices});
}

Value KernelBuilder::lookUp32(Value table, Value indices) {
  auto type = cast<VectorType>(indices.getType());
  int64_t count = type.getNumElements();
  // Bytes [first, first + size) of the table, again and again.
  auto part = [&](int64_t first, int64_t size) -> Value {
    SmallVector<int64_t> places;
    for (int64_t i = 0; i < count; ++i)
      places.push_back(first + i % size);
    return vector::ShuffleOp::create(*this, table, table, places);
  };
  if (level.byteMoves == ByteMoves::Vector)
    return lookUp64(part(0, 32), indices);
  Value low = extractBits(indices, 0, 4, 0);
  auto half = [&](int64_t first) {
    return intrinsic(level.shuffleIntrinsic, type, {part(first, 16), low});
  };
  Value isHigh = arith::CmpIOp::create(*this, arith::CmpIPredicate::ne,
                                       extractBits(indices, 4, 1, 4),
                                       splat(type, int64_t(0)));
  return arith::SelectOp::create(*this, isHigh, half(16), half(0));
}

Value KernelBuilder::lookUp256(ArrayRef<uint8_t> table, Value indices) {
  return perRegister(indices, [&](Value part) -> Value {
    Type type = part.getType();
    // Halves the entries by the bits of the index from the highest one down.
    auto choose = [&](int64_t bit, Value low, Value high) -> Value {
      Value isSet = arith::CmpIOp::create(
          *this, arith::CmpIPredicate::ne,
          arith::AndIOp::create(*this, part,
                                splat(type, int64_t(int8_t(1 << bit)))),
          splat(type, int64_t(0)));
      return arith::SelectOp::create(*this, isSet, high, low);
    };
    if (level.byteMoves == ByteMoves::Vector) {
      auto half = [&](int64_t from) {
        return intrinsic("llvm.x86.avx512.vpermi2var.qi.512", type,
                         {repeat(table.slice(from, 64), 64), part,
                          repeat(table.slice(from + 64, 64), 64)});
      };
      return choose(7, half(0), half(128));
    }
    Value low = extractBits(part, 0, 4, 0);
    SmallVector<Value> entries;
    for (int64_t from = 0; from < 256; from += 16)
      entries.push_back(lookUp16(table.slice(from, 16), low));
    for (int64_t bit = 4; bit < 8; ++bit) {
      for (size_t i = 0; i < entries.size() / 2; ++i)
        entries[i] = choose(bit, entries[2 * i], entries[2 * i + 1]);
      entries.truncate(entries.size() / 2);
    }
    return entries.front();
  });
}

//===----------------------------------------------------------------------===//
// Floating point
//===----------------------------------------------------------------------===//

Value KernelBuilder::addf(Value a, Value b) {
  return arith::AddFOp::create(*this, a, b);
}
Value KernelBuilder::subf(Value a, Value b) {
  return arith::SubFOp::create(*this, a, b);
}
Value KernelBuilder::mulf(Value a, Value b) {
  return arith::MulFOp::create(*this, a, b);
}
Value KernelBuilder::divf(Value a, Value b) {
  return arith::DivFOp::create(*this, a, b);
}
/// Compare and select is what one machine instruction does; the IEEE maxima of
/// arith need three.
Value KernelBuilder::maxf(Value a, Value b) {
  Value greater = arith::CmpFOp::create(*this, arith::CmpFPredicate::OGT, a, b);
  return arith::SelectOp::create(*this, greater, a, b);
}

Value KernelBuilder::minf(Value a, Value b) {
  Value less = arith::CmpFOp::create(*this, arith::CmpFPredicate::OLT, a, b);
  return arith::SelectOp::create(*this, less, a, b);
}

Value KernelBuilder::fma(Value a, Value b, Value c) {
  if (level.hasFMA)
    return math::FmaOp::create(*this, a, b, c);
  return addf(mulf(a, b), c);
}

Value KernelBuilder::exp(Value x) { return math::ExpOp::create(*this, x); }

Value KernelBuilder::silu(Value x) {
  Value e = exp(arith::NegFOp::create(*this, x));
  return divf(x, addf(splat(x.getType(), 1.0), e));
}

std::pair<Value, Value> KernelBuilder::groupScale(Value largest,
                                                  int64_t largestCode) {
  Value scale = divf(largest, f32(double(largestCode)));
  Value isZero = arith::CmpFOp::create(*this, arith::CmpFPredicate::OLT, scale,
                                       f32(std::numeric_limits<float>::min()));
  return {arith::SelectOp::create(*this, isZero, f32(0), scale),
          arith::SelectOp::create(*this, isZero, f32(1), scale)};
}

/// Combines lane i with lane i + n/2 until one is left: one fixed tree on every
/// level.
static Value reduceLanes(KernelBuilder &b, Value vector,
                         function_ref<Value(Value, Value)> combine) {
  int64_t n = cast<VectorType>(vector.getType()).getNumElements();
  for (n /= 2; n > 0; n /= 2) {
    auto low = llvm::to_vector(llvm::seq<int64_t>(0, n));
    auto high = llvm::to_vector(llvm::seq<int64_t>(n, 2 * n));
    vector = combine(vector::ShuffleOp::create(b, vector, vector, low),
                     vector::ShuffleOp::create(b, vector, vector, high));
  }
  return vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{0});
}

Value KernelBuilder::sumLanes(Value vector) {
  return reduceLanes(*this, vector,
                     [&](Value a, Value b) { return addf(a, b); });
}

Value KernelBuilder::maxLanes(Value vector) {
  return reduceLanes(*this, vector,
                     [&](Value a, Value b) { return maxf(a, b); });
}

Value KernelBuilder::minLanes(Value vector) {
  return reduceLanes(*this, vector,
                     [&](Value a, Value b) { return minf(a, b); });
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

KernelBuilder::Carried
KernelBuilder::loop(Value begin, Value end, int64_t step, ValueRange init,
                    function_ref<Carried(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(*this, begin, end, i64(step), init);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(loop.getBody());
  Carried next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  // A loop without carried values has its terminator already.
  if (!init.empty())
    scf::YieldOp::create(*this, next);
  return Carried(loop.getResults());
}

void KernelBuilder::loop(Value begin, Value end, int64_t step,
                         function_ref<void(Value)> body) {
  loop(begin, end, step, ValueRange{}, [&](Value i, ValueRange) -> Carried {
    body(i);
    return {};
  });
}

void KernelBuilder::tokenLoop(int64_t most,
                              function_ref<void(Value, int64_t)> body) {
  Value begin = tokenBegin(), end = tokenEnd();
  if (most > 1) {
    Value whole = mul(div(sub(end, begin), most), most);
    Value split = add(begin, whole);
    loop(begin, split, most, [&](Value token) { body(token, most); });
    begin = split;
  }
  loop(begin, end, 1, [&](Value token) { body(token, 1); });
}

void KernelBuilder::ifThen(Value condition, function_ref<void()> body) {
  auto op = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(op.thenBlock());
  body();
}

void KernelBuilder::ifThenElse(Value condition, function_ref<void()> body,
                               function_ref<void()> otherwise) {
  auto returnNothing = [](function_ref<void()> run) {
    run();
    return Carried();
  };
  choose(
      condition, {}, [&] { return returnNothing(body); },
      [&] { return returnNothing(otherwise); });
}

KernelBuilder::Carried
KernelBuilder::choose(Value condition, TypeRange types,
                      function_ref<Carried()> body,
                      function_ref<Carried()> otherwise) {
  auto op = scf::IfOp::create(*this, types, condition,
                              /*addThenBlock=*/true, /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(*this);
  auto fill = [&](Block *block, function_ref<Carried()> run) {
    setInsertionPointToStart(block);
    Carried values = run();
    scf::YieldOp::create(*this, values);
  };
  fill(op.thenBlock(), body);
  fill(op.elseBlock(), otherwise);
  return Carried(op.getResults());
}

Value KernelBuilder::intrinsic(StringRef name, Type result,
                               ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(*this, result, getStringAttr(name),
                                       operands)
      .getResult(0);
}

Value KernelBuilder::dotAccumulate(Value sum, Value codes, Value activations) {
  return intrinsic(level.dotIntrinsic, sum.getType(),
                   {sum, codes, activations});
}
