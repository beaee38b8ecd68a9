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
