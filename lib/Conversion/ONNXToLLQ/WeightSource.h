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

/// The values of a weight: exactly one of the three.
struct WeightSource {
  std::optional<WeightView> view;
  /// Values that the graph computes from constants, f32.
  Tensor computed;
  std::optional<BlockQuantizedMatrix> quantized;

  static WeightSource of(WeightView view) { return {std::move(view), {}, {}}; }
  static WeightSource of(Tensor values) { return {{}, std::move(values), {}}; }
  static WeightSource of(BlockQuantizedMatrix matrix) {
    return {{}, {}, std::move(matrix)};
  }

  /// [N, K] of a matrix, [K] of a vector.
  Shape getShape() const;
  /// Rows `[begin, begin + count)` of a matrix, or elements of a vector.
  WeightSource sliceRows(int64_t begin, int64_t count) const;
  bool operator==(const WeightSource &other) const;
};

} // namespace llq::raise

#endif // LLQ_LIB_CONVERSION_ONNXTOLLQ_WEIGHTSOURCE_H
