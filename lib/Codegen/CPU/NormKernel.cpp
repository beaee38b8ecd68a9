//===- NormKernel.cpp - Normalization and quantization of rows ------------===//
//
// One work item is a token: its sum of squares, the normalized row, and, in the
// same pass over the row, its codes in groups of 32. A scale of the whole token
// takes a pass to find it first. A permutation changes only from where the
// values of a group are loaded, so it is exact and no pass of its own.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "Kernels.h"

#include "llq/Packing/CPULayout.h"

using namespace mlir;
using namespace llq;
using Kind = ActivationType::Kind;

std::string NormKernel::getName() const {
  std::string name;
  if (norm) {
    // The bits of epsilon, so that every value has a name.
    uint32_t bits = llvm::bit_cast<uint32_t>(epsilon);
    name = "norm_" + llvm::utohexstr(bits) + "_";
  }
  if (permute)
    name += "permute_";
  if (result.isQuantized())
    name += "quantize_" + result.getName() + "_";
  return name + std::to_string(columns);
}

namespace {

/// Emits the body of a kernel.
class NormEmitter {
public:
  NormEmitter(KernelBuilder &b, const NormKernel &kernel)
      : b(b), kernel(kernel), padded(getPaddedColumns(kernel.columns)),
        row(kernel.columns), tokenRow(kernel.columns) {}

  void emit();

private:
  void emitToken(Value token);
  /// 32 values of a group of the row `x`, permuted and normalized.
  SmallVector<Value> getValues(Value x, Value group);
  /// Adds the magnitudes of `values` to the maxima of 16 lanes.
  Value getLargest(ArrayRef<Value> values, Value largest);
  /// Stores the codes of `values` (already divided by their scale) and returns
  /// their sum in 16 lanes.
  Value storeCodes(ArrayRef<Value> values, Value out, Value group);
  void quantizeGroup(ArrayRef<Value> values, Value out, Value group);
  void quantizeToken(Value x, Value out);

  KernelBuilder &b;
  const NormKernel &kernel;
  int64_t padded;
  QuantizedRow row;
  TokenRow tokenRow;
  Value input, weight, order, staticScale, output;
  Value factor; // of the current token
};

} // namespace

SmallVector<Value> NormEmitter::getValues(Value x, Value group) {
  VectorType floats = b.f32x(16);
  Value bytes = b.mul(group, 4 * kBlockColumns);
  SmallVector<Value> values;
  for (int64_t i = 0; i < kBlockColumns; i += 16) {
    Value channels;
    if (kernel.permute) {
      Value at = b.advance(order, b.mul(group, kOrderBytes * kBlockColumns));
      channels = arith::ExtUIOp::create(
          b, b.i32x(16), b.load(b.i16x(16), at, kOrderBytes * i));
      // Numbers from a damaged file read nothing beyond the row.
      channels =
          arith::MinUIOp::create(b, channels, b.splat(b.i32x(16), padded - 1));
    }
    auto load = [&](Value row) {
      return channels ? b.gather(floats, row, channels)
                      : b.load(floats, b.advance(row, bytes), 4 * i);
    };
    Value v = load(x);
    if (kernel.norm)
      v = b.mulf(b.mulf(v, factor), load(weight));
    values.push_back(v);
  }
  return values;
}

Value NormEmitter::getLargest(ArrayRef<Value> values, Value largest) {
  for (Value value : values)
    largest = b.maxf(largest, math::AbsFOp::create(b, value));
  return largest;
}

Value NormEmitter::storeCodes(ArrayRef<Value> values, Value out, Value group) {
  VectorType words = b.i32x(16);
  Value sum;
  for (auto [i, value] : llvm::enumerate(values)) {
    Value rounded = math::RoundEvenOp::create(b, value);
    sum = sum ? b.addf(sum, rounded) : rounded;
    Value codes = arith::FPToSIOp::create(b, words, rounded);
    codes = arith::TruncIOp::create(b, b.i8x(16), codes);
    b.store(codes, b.advance(out, b.mul(group, kBlockColumns)), 16 * i);
  }
  return sum;
}

/// Codes, scale and code sum of 32 values: the format of QuantizedRow.
void NormEmitter::quantizeGroup(ArrayRef<Value> values, Value out,
                                Value group) {
  VectorType floats = b.f32x(16);
  Value largest = getLargest(values, b.splat(floats, 0.0));
  auto [scale, divisor] =
      b.groupScale(b.maxLanes(largest), kernel.result.getLargestCode());
  Value lanes = b.broadcast(floats, divisor);
  SmallVector<Value> divided;
  for (Value value : values)
    divided.push_back(b.divf(value, lanes));
  Value sum = storeCodes(divided, out, group);
  Value at = b.advance(out, b.mul(group, 4));
  b.store(scale, at, row.scales);
  b.store(b.sumLanes(sum), at, row.sums);
}

/// A whole row as numerics::quantizeActivations makes it, in the format of
/// TokenRow.
void NormEmitter::quantizeToken(Value x, Value out) {
  VectorType floats = b.f32x(16);
  Value groups = b.i64(padded / kBlockColumns), none = b.i64(0);
  double most = double(kernel.result.getLargestCode());
  Value scale;
  if (kernel.result.kind == Kind::Static) {
    scale = b.load(b.getF32Type(), staticScale);
  } else {
    Value largest =
        b.loop(none, groups, 1, {b.splat(floats, 0.0)},
               [&](Value group, ValueRange so) -> KernelBuilder::Carried {
                 return {getLargest(getValues(x, group), so[0])};
               })[0];
    // The floor keeps a token of zeros away from a division by zero.
    scale = b.divf(b.maxf(b.maxLanes(largest), b.f32(1e-5)), b.f32(most));
  }
  b.store(scale, out, tokenRow.scale);

  Value divisor = b.broadcast(floats, scale);
  Value highest = b.splat(floats, most), lowest = b.splat(floats, -most);
  Value zero = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
  b.store(zero, out, tokenRow.sums);
  b.loop(none, groups, 1, {zero},
         [&](Value group, ValueRange before) -> KernelBuilder::Carried {
           SmallVector<Value> divided;
           for (Value value : getValues(x, group))
             divided.push_back(
                 b.minf(b.maxf(b.divf(value, divisor), lowest), highest));
           // At most 32 * 127, exact in f32.
           Value sum = b.sumLanes(storeCodes(divided, out, group));
           Value total = arith::AddIOp::create(
               b, before[0], arith::FPToSIOp::create(b, b.getI32Type(), sum));
           b.store(total, b.advance(out, b.mul(group, 4)), tokenRow.sums + 4);
           return {total};
         });
}

void NormEmitter::emitToken(Value token) {
  VectorType floats = b.f32x(16);
  Value x = b.advance(input, b.mul(token, 4 * padded));
  Value out = b.advance(
      output, b.mul(token, kernel.result.getRowBytes(kernel.columns)));
  if (kernel.norm) {
    // Padding is zero and adds nothing.
    Value squares =
        b.loop(b.i64(0), b.i64(padded), 16, {b.splat(floats, 0.0)},
               [&](Value c, ValueRange sums) -> KernelBuilder::Carried {
                 Value v = b.load(floats, b.advance(x, b.mul(c, 4)));
                 return {b.fma(v, v, sums[0])};
               })[0];
    Value mean = b.divf(b.sumLanes(squares), b.f32(double(kernel.columns)));
    Value root = math::SqrtOp::create(b, b.addf(mean, b.f32(kernel.epsilon)));
    factor = b.broadcast(floats, b.divf(b.f32(1), root));
  }
  if (kernel.result.hasOneScale())
    return quantizeToken(x, out);
  b.loop(b.i64(0), b.i64(padded / kBlockColumns), 1, [&](Value group) {
    SmallVector<Value> values = getValues(x, group);
    if (kernel.result.isQuantized())
      return quantizeGroup(values, out, group);
    Value bytes = b.mul(group, 4 * kBlockColumns);
    for (auto [i, v] : llvm::enumerate(values))
      b.store(v, b.advance(out, bytes), 64 * i);
  });
}

void NormEmitter::emit() {
  int64_t next = 0;
  input = b.buffer(next++);
  if (kernel.norm || kernel.permute) {
    weight = b.buffer(next++);
    order = kernel.norm ? b.advance(weight, 4 * padded) : weight;
  }
  if (kernel.result.kind == Kind::Static)
    staticScale = b.buffer(next++);
  output = b.buffer(next++);
  b.loop(b.itemBegin(), b.itemEnd(), 1,
         [&](Value item) { emitToken(b.add(b.tokenBegin(), item)); });
}

void NormKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  NormEmitter(b, *this).emit();
  b.finish();
}
