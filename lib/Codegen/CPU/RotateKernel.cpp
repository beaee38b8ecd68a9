//===- RotateKernel.cpp - Rows in another orthogonal basis ----------------===//
//
// A Hadamard transform in butterflies: the first four levels within vectors of
// 16, the others between vectors, then the sums of H_m between runs (see
// llq/Numerics/Hadamard.h). A Kronecker product as two small matrix products
// between two permutations.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"
#include "Kernels.h"

#include "llq/Numerics/Hadamard.h"
#include "llq/Numerics/Rotation.h"
#include "llq/Packing/CPULayout.h"

#include <cmath>

using namespace mlir;
using namespace llq;

static constexpr int64_t kLanes = 16;

std::string RotateKernel::getName() const {
  std::string name = "rotate_";
  name += stringifyRotationKind(kind);
  name += std::to_string(size) + "_" + std::to_string(columns);
  if (scaled)
    name += "_scaled";
  if (hasSigns)
    name += "_signs";
  if (transposed)
    name += "_transposed";
  return name;
}

/// Columns of the matrix that a row of a Kronecker rotation is, padded.
static int64_t getPaddedFactor(int64_t q) { return llvm::alignTo(q, kLanes); }

int64_t RotateKernel::getScratchBytes() const {
  if (kind != RotationKind::Kronecker)
    return 0;
  auto [p, q] = numerics::splitKronecker(size);
  return 2 * p * getPaddedFactor(q) * 4;
}

LogicalResult
RotateKernel::verify(function_ref<InFlightDiagnostic()> emitError) const {
  if (kind == RotationKind::Kronecker) {
    auto [p, q] = numerics::splitKronecker(size);
    if (p * getPaddedFactor(q) > kMostPermutedColumns)
      return emitError() << "the cpu target holds " << p << " times " << q
                         << " channels of a rotation only up to "
                         << kMostPermutedColumns;
    return success();
  }
  if (int64_t run = size / numerics::hadamardOrder(size); run < kLanes)
    return emitError()
           << "the cpu target needs Hadamard transforms whose power "
              "of two is at least "
           << kLanes << ", found " << run;
  return success();
}

SmallVector<Attribute> RotateKernel::getTables(Builder &b, int64_t seed) const {
  if (kind == RotationKind::Hadamard) {
    if (!hasSigns)
      return {};
    return {b.getDenseF32ArrayAttr(numerics::randomSigns(size, seed))};
  }
  numerics::KroneckerTables tables =
      numerics::randomKroneckerTables(size, seed);
  int64_t p = tables.p, q = tables.q, padded = getPaddedFactor(q);
  // V = P_out (A x B) P_in, V^T = P_in^T (A^T x B^T) P_out^T.
  auto invert = [](const std::vector<int32_t> &order) {
    std::vector<int32_t> inverse(order.size());
    for (auto [i, j] : llvm::enumerate(order))
      inverse[j] = int32_t(i);
    return inverse;
  };
  std::vector<int32_t> first =
      transposed ? invert(tables.outputOrder) : tables.inputOrder;
  std::vector<int32_t> last =
      transposed ? invert(tables.inputOrder) : tables.outputOrder;
  std::vector<int16_t> gather(p * padded), scatter(p * q);
  for (int64_t i = 0; i < size; ++i) {
    gather[i / q * padded + i % q] = int16_t(first[i]);
    scatter[i] = int16_t(last[i] / q * padded + last[i] % q);
  }
  // z becomes left z right^T: the right factor is read by columns.
  std::vector<float> left(p * p), right(q * padded);
  for (int64_t i = 0; i < p; ++i)
    for (int64_t k = 0; k < p; ++k)
      left[i * p + k] = tables.left[transposed ? k * p + i : i * p + k];
  for (int64_t i = 0; i < q; ++i)
    for (int64_t j = 0; j < q; ++j)
      right[j * padded + i] = tables.right[transposed ? j * q + i : i * q + j];
  auto indices = [&](ArrayRef<int16_t> values) {
    auto type =
        RankedTensorType::get({int64_t(values.size())}, b.getIntegerType(16));
    return DenseElementsAttr::get(type, values);
  };
  return {b.getDenseF32ArrayAttr(left), b.getDenseF32ArrayAttr(right),
          indices(gather), indices(scatter)};
}

namespace {

class RotateEmitter {
public:
  RotateEmitter(KernelBuilder &b, const RotateKernel &kernel)
      : b(b), kernel(kernel), floats(b.f32x(kLanes)) {}

  void emit();

private:
  /// Rotates the channels from `x` to `y`, those of `scale` in front.
  void hadamard(Value x, Value scale, Value y);
  void kronecker(Value x, Value scale, Value y);

  /// Calls `body` with the bytes in front of every 16 of `count` floats.
  void forVectors(int64_t count, function_ref<void(Value bytes)> body);
  Value load(Value pointer, Value bytes) {
    return b.load(floats, b.advance(pointer, bytes));
  }
  void store(Value value, Value pointer, Value bytes) {
    b.store(value, b.advance(pointer, bytes));
  }
  /// Lane i and lane i ^ distance: their sum, or its negative difference.
  Value butterfly(Value vector, int64_t distance);
  /// 16 channels of x whose numbers are at `order`.
  Value gather(Value x, Value order, int64_t most);

  KernelBuilder &b;
  const RotateKernel &kernel;
  VectorType floats;
  Value tables;
};

} // namespace

void RotateEmitter::forVectors(int64_t count, function_ref<void(Value)> body) {
  b.loop(b.i64(0), b.i64(count * 4), kLanes * 4, body);
}

Value RotateEmitter::butterfly(Value vector, int64_t distance) {
  SmallVector<int64_t> partners;
  SmallVector<float> signs;
  for (int64_t i = 0; i < kLanes; ++i) {
    partners.push_back(i ^ distance);
    signs.push_back(i & distance ? -1.0f : 1.0f);
  }
  Value sign = arith::ConstantOp::create(
      b, DenseElementsAttr::get(floats, ArrayRef(signs)));
  Value other = vector::ShuffleOp::create(b, vector, vector, partners);
  return b.addf(other, b.mulf(vector, sign));
}

void RotateEmitter::hadamard(Value x, Value scale, Value y) {
  int64_t order = numerics::hadamardOrder(kernel.size);
  int64_t run = kernel.size / order;
  Value factor = b.splat(floats, 1 / std::sqrt(double(kernel.size)));
  forVectors(kernel.size, [&](Value at) {
    Value value = b.mulf(load(x, at), factor);
    if (scale)
      value = b.mulf(value, load(scale, at));
    if (kernel.hasSigns && !kernel.transposed)
      value = b.mulf(value, load(tables, at));
    for (int64_t distance = 1; distance < kLanes; distance *= 2)
      value = butterfly(value, distance);
    store(value, y, at);
  });
  for (int64_t distance = kLanes; distance < run; distance *= 2)
    b.loop(b.i64(0), b.i64(kernel.size * 4), distance * 8, [&](Value first) {
      Value low = b.advance(y, first), high = b.advance(low, distance * 4);
      forVectors(distance, [&](Value at) {
        Value l = load(low, at), h = load(high, at);
        store(b.addf(l, h), low, at);
        store(b.subf(l, h), high, at);
      });
    });
  if (order > 1) {
    std::vector<int8_t> matrix = numerics::hadamardMatrix(order);
    forVectors(run, [&](Value at) {
      SmallVector<Value> given;
      for (int64_t j = 0; j < order; ++j)
        given.push_back(load(b.advance(y, j * run * 4), at));
      for (int64_t i = 0; i < order; ++i) {
        Value sum;
        for (int64_t j = 0; j < order; ++j) {
          bool isPlus = matrix[i * order + j] > 0;
          if (!sum)
            sum = isPlus ? given[j] : arith::NegFOp::create(b, given[j]);
          else
            sum = isPlus ? b.addf(sum, given[j]) : b.subf(sum, given[j]);
        }
        store(sum, b.advance(y, i * run * 4), at);
      }
    });
  }
  if (kernel.hasSigns && kernel.transposed)
    forVectors(kernel.size, [&](Value at) {
      store(b.mulf(load(y, at), load(tables, at)), y, at);
    });
}

Value RotateEmitter::gather(Value x, Value order, int64_t most) {
  Value channels =
      arith::ExtUIOp::create(b, b.i32x(kLanes), b.load(b.i16x(kLanes), order));
  // Numbers from a damaged file read nothing beyond the row.
  channels =
      arith::MinUIOp::create(b, channels, b.splat(b.i32x(kLanes), most - 1));
  return b.gather(floats, x, channels);
}

void RotateEmitter::kronecker(Value x, Value scale, Value y) {
  auto [p, q] = numerics::splitKronecker(kernel.size);
  int64_t padded = getPaddedFactor(q);
  auto aligned = [](int64_t floats) {
    return llvm::alignTo(floats, kBlockColumns);
  };
  Value left = tables;
  Value right = b.advance(left, aligned(p * p) * 4);
  Value first = b.advance(right, aligned(q * padded) * 4);
  Value last = b.advance(first, aligned(p * padded) * kOrderBytes);
  Value z = b.scratch(), product = b.advance(z, p * padded * 4);

  forVectors(p * padded, [&](Value at) {
    Value order = b.advance(first, b.div(at, 4 / kOrderBytes));
    Value value = gather(x, order, kernel.size);
    if (scale)
      value = b.mulf(value, gather(scale, order, kernel.size));
    store(value, z, at);
  });
  // out[rows, padded] = a[rows, inner] times b[inner, padded].
  auto multiply = [&](Value out, Value a, int64_t stride, Value right,
                      int64_t inner) {
    b.loop(b.i64(0), b.i64(p), 1, [&](Value row) {
      Value factors = b.advance(a, b.mul(row, stride * 4));
      Value to = b.advance(out, b.mul(row, padded * 4));
      forVectors(padded, [&](Value at) {
        Value sum = b.loop(
            b.i64(0), b.i64(inner), 1, b.splat(floats, 0.0),
            [&](Value j, ValueRange carried) {
              Value factor =
                  b.loadBroadcast(floats, b.advance(factors, b.mul(j, 4)));
              Value values = load(b.advance(right, b.mul(j, padded * 4)), at);
              return KernelBuilder::Carried{b.fma(factor, values, carried[0])};
            })[0];
        store(sum, to, at);
      });
    });
  };
  multiply(product, z, padded, right, q);
  multiply(z, left, p, product, p);

  // What is left of the last vector is not a whole one.
  int64_t whole = kernel.size / kLanes * kLanes;
  if (whole)
    forVectors(whole, [&](Value at) {
      Value order = b.advance(last, b.div(at, 4 / kOrderBytes));
      store(gather(z, order, p * padded), y, at);
    });
  for (int64_t i = whole; i < kernel.size; ++i) {
    Value index = arith::ExtUIOp::create(
        b, b.getI64Type(), b.load(b.getI16Type(), last, i * kOrderBytes));
    index = b.min(index, b.i64(p * padded - 1));
    b.store(b.load(b.getF32Type(), b.advance(z, b.mul(index, 4))), y, i * 4);
  }
}

void RotateEmitter::emit() {
  int64_t padded = getPaddedColumns(kernel.columns), next = 0;
  Value input = b.buffer(next++), scale;
  if (kernel.scaled)
    scale = b.buffer(next++);
  if (kernel.hasTables())
    tables = b.buffer(next++);
  Value output = b.buffer(next++);
  b.loop(b.itemBegin(), b.itemEnd(), 1, [&](Value item) {
    Value row = b.mul(b.add(b.tokenBegin(), item), padded * 4);
    Value x = b.advance(input, row), y = b.advance(output, row);
    b.loop(b.i64(0), b.i64(kernel.columns * 4), kernel.size * 4,
           [&](Value block) {
             Value from = scale ? b.advance(scale, block) : Value();
             Value here = b.advance(x, block), to = b.advance(y, block);
             if (kernel.kind == RotationKind::Hadamard)
               hadamard(here, from, to);
             else
               kronecker(here, from, to);
           });
    for (int64_t c = kernel.columns; c < padded; ++c)
      b.store(b.f32(0), y, c * 4);
  });
}

void RotateKernel::emit(ModuleOp module, const CPULevel &level) const {
  KernelBuilder b(module, getName(), level);
  RotateEmitter(b, *this).emit();
  b.finish();
}
