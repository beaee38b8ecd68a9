//===- WeightSource.h - Where the values of a weight come from --*- C++ -*-===//
//
// Weights are followed through transposes, reshapes and slices as views, so
// that raising a model never reads them.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CONVERSION_ONNXTOLLQ_WEIGHTSOURCE_H
#define LLQ_LIB_CONVERSION_ONNXTOLLQ_WEIGHTSOURCE_H

#include "llq/Interpreter/Interpreter.h"
#include "llq/Support/WeightData.h"

#include "mlir/IR/BuiltinAttributeInterfaces.h"
#include "mlir/IR/Operation.h"

#include <optional>

namespace llq::raise {

using interp::ElementType;
using interp::Error;
using interp::Result;
using interp::Shape;
using interp::Tensor;

/// A strided view of a constant of the graph: element (i, j, ...) is element
/// `offset + i * strides[0] + j * strides[1] + ...` of its data.
struct WeightView {
  mlir::TypedAttr data;
  ElementType type;
  int64_t offset = 0;
  Shape shape, strides;

  /// A whole constant in row-major order.
  static WeightView of(mlir::TypedAttr data, ElementType type, Shape shape);

  bool operator==(const WeightView &) const = default;

  int64_t numElements() const;
  /// Whether the elements are contiguous and in row-major order.
  bool isContiguous() const;
  WeightView transposed(llvm::ArrayRef<int64_t> permutation) const;
  /// The same elements under another shape; none where that needs a copy.
  std::optional<WeightView> reshaped(Shape shape) const;
  /// Elements `[begin, begin + size)` along `axis`.
  WeightView sliced(size_t axis, int64_t begin, int64_t size) const;
};

/// A matrix `[rows, columns]` in onnxruntime's blockwise form: `blocks` per
/// row, each of `block` codes of `bits` bits, low bits first.
struct BlockQuantizedMatrix {
  int64_t rows = 0, columns = 0, bits = 0, block = 0;
  /// [rows, blocks * block * bits / 8] bytes, [rows, blocks] scales.
  WeightView codes, scales;
  /// [rows, ceil(blocks * bits / 8)] bytes of codes, or [rows, blocks] floats;
  /// without them every zero point is the middle code.
  std::optional<WeightView> zeros;

  bool operator==(const BlockQuantizedMatrix &) const = default;
  int64_t numBlocks() const { return (columns + block - 1) / block; }
};

/// A matrix of small integers as DequantizeLinear takes it: each `block`
/// elements along `blockAxis` share a scale, and a zero point, which is 0 where
/// there are none.
struct DequantizedMatrix {
  /// `scales` and `zeros` have a block where `codes` have `block` elements.
  WeightView codes, scales;
  std::optional<WeightView> zeros;
  unsigned blockAxis = 1;
  int64_t block = 0;

  bool operator==(const DequantizedMatrix &) const = default;
  DequantizedMatrix transposed() const;
};

/// Its values in row-major order.
llvm::Expected<std::vector<float>> dequantize(const DequantizedMatrix &matrix,
                                              WeightReader &reader);

/// Rows in the uniform format: codes and zero points packed, none of these
/// where all are the middle code.
struct UniformRows {
  unsigned bits = 0;
  std::vector<uint8_t> codes, zeros;
  std::vector<float> scales;
};
/// The same matrix, whose blocks lie along the columns.
llvm::Expected<UniformRows> packUniform(const DequantizedMatrix &matrix,
                                        WeightReader &reader);

/// The values of a weight: exactly one of the four.
struct WeightSource {
  std::optional<WeightView> view;
  /// Values that the graph computes from constants, f32.
  Tensor computed;
  std::optional<BlockQuantizedMatrix> quantized;
  std::optional<DequantizedMatrix> dequantized;

  static WeightSource of(WeightView view) {
    return {std::move(view), {}, {}, {}};
  }
  static WeightSource of(Tensor values) {
    return {{}, std::move(values), {}, {}};
  }
  static WeightSource of(BlockQuantizedMatrix matrix) {
    return {{}, {}, std::move(matrix), {}};
  }
  static WeightSource of(DequantizedMatrix matrix) {
    return {{}, {}, {}, std::move(matrix)};
  }

  /// [N, K] of a matrix, [K] of a vector.
  Shape getShape() const;
  /// Rows `[begin, begin + count)` of a matrix, or elements of a vector.
  WeightSource sliceRows(int64_t begin, int64_t count) const;
  bool operator==(const WeightSource &other) const;
};

} // namespace llq::raise

#endif // LLQ_LIB_CONVERSION_ONNXTOLLQ_WEIGHTSOURCE_H
