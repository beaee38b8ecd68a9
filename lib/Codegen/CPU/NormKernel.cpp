//===- NormKernel.cpp - Normalization and quantization of rows ------------===//
//
// One work item is a token: its sum of squares, the normalized row, and, in the
// same pass over the row, its int8 codes in groups of 32.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "Kernels.h"

#include "llq/Packing/CPULayout.h"

using namespace mlir;
using namespace llq;

std::string NormKernel::getName() const {
  std::string name;
  if (norm) {
    // The bits of epsilon, so that every value has a name.
    uint32_t bits = llvm::bit_cast<uint32_t>(epsilon);
    name = "norm_" + llvm::utohexstr(bits) + "_";
  }
  return name + (quantize ? "quantize_" : "") + std::to_string(columns);
}

/// Codes, scale and code sum of 32 values: the format of QuantizedRow.
static void quantizeGroup(KernelBuilder &b, ArrayRef<Value> values, Value out,
                          Value group, const QuantizedRow &row) {
  VectorType floats = b.f32x(16), words = b.i32x(16);
  Value largest = b.splat(floats, 0.0);
  for (Value value : values)
    largest = b.maxf(largest, math::AbsFOp::create(b, value));
  auto [scale, divisor] = b.int8Scale(b.maxLanes(largest));
  Value lanes = b.broadcast(floats, divisor);
  Value sum;
  for (auto [i, value] : llvm::enumerate(values)) {
    Value rounded = math::RoundEvenOp::create(b, b.divf(value, lanes));
    sum = sum ? b.addf(sum, rounded) : rounded;
    Value codes = arith::FPToSIOp::create(b, words, rounded);
    codes = arith::TruncIOp::create(b, b.i8x(16), codes);
    b.store(codes, b.advance(out, b.mul(group, kBlockColumns)), 16 * i);
  }
  Value at = b.advance(out, b.mul(group, 4));
  b.store(scale, at, row.scales);
  b.store(b.sumLanes(sum), at, row.sums);
}

void NormKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  VectorType floats = b.f32x(16);
  int64_t next = 0;
  Value input = b.buffer(next++);
  Value weight = norm ? b.buffer(next++) : Value();
  Value output = b.buffer(next++);
  int64_t padded = getPaddedColumns(columns), stride = 4 * padded;
  QuantizedRow row(columns);

  b.loop(b.itemBegin(), b.itemEnd(), 1, [&](Value item) {
    Value token = b.add(b.tokenBegin(), item);
    Value x = b.advance(input, b.mul(token, stride));
    Value out = b.advance(output, b.mul(token, quantize ? row.bytes : stride));
    Value factor;
    if (norm) {
      // Padding is zero and adds nothing.
      Value squares =
          b.loop(b.i64(0), b.i64(padded), 16, {b.splat(floats, 0.0)},
                 [&](Value c, ValueRange sums) -> KernelBuilder::Carried {
                   Value v = b.load(floats, b.advance(x, b.mul(c, 4)));
                   return {b.fma(v, v, sums[0])};
                 })[0];
      Value mean = b.divf(b.sumLanes(squares), b.f32(double(columns)));
      Value root = math::SqrtOp::create(b, b.addf(mean, b.f32(epsilon)));
      factor = b.broadcast(floats, b.divf(b.f32(1), root));
    }
    b.loop(b.i64(0), b.i64(padded / kBlockColumns), 1, [&](Value group) {
      Value bytes = b.mul(group, 4 * kBlockColumns);
      SmallVector<Value> values;
      for (int64_t i = 0; i < kBlockColumns; i += 16) {
        Value v = b.load(floats, b.advance(x, bytes), 4 * i);
        if (norm)
          v = b.mulf(b.mulf(v, factor),
                     b.load(floats, b.advance(weight, bytes), 4 * i));
        values.push_back(v);
      }
      if (quantize)
        return quantizeGroup(b, values, out, group, row);
      for (auto [i, v] : llvm::enumerate(values))
        b.store(v, b.advance(out, bytes), 64 * i);
    });
  });
  b.finish();
}
