//===- WeightSource.cpp - Where the values of a weight come from ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "WeightSource.h"

#include "llvm/ADT/STLExtras.h"

#include <cstring>

using namespace llq::raise;

static Shape getRowMajorStrides(const Shape &shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i > 1; --i)
    strides[i - 2] = strides[i - 1] * shape[i - 1];
  return strides;
}

WeightView WeightView::of(mlir::TypedAttr data, ElementType type, Shape shape) {
  Shape strides = getRowMajorStrides(shape);
  return {data, type, 0, std::move(shape), std::move(strides)};
}

int64_t WeightView::numElements() const { return llvm::product_of(shape); }

bool WeightView::isContiguous() const {
  Shape rowMajor = getRowMajorStrides(shape);
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1 && strides[i] != rowMajor[i])
      return false;
  return true;
}

WeightView WeightView::transposed(llvm::ArrayRef<int64_t> permutation) const {
  WeightView view = *this;
  for (auto [i, from] : llvm::enumerate(permutation)) {
    view.shape[i] = shape[from];
    view.strides[i] = strides[from];
  }
  return view;
}

std::optional<WeightView> WeightView::reshaped(Shape newShape) const {
  WeightView view = *this;
  // Dimensions of size 1 come and go without moving anything.
  auto significant = [](const Shape &shape) {
    Shape kept;
    llvm::copy_if(shape, std::back_inserter(kept),
                  [](int64_t dim) { return dim != 1; });
    return kept;
  };
  if (significant(newShape) == significant(shape)) {
    Shape kept;
    for (auto [dim, stride] : llvm::zip_equal(shape, strides))
      if (dim != 1)
        kept.push_back(stride);
    view.strides.assign(newShape.size(), 1);
    size_t next = 0;
    for (size_t i = 0; i < newShape.size(); ++i)
      if (newShape[i] != 1)
        view.strides[i] = kept[next++];
  } else if (isContiguous()) {
    view.strides = getRowMajorStrides(newShape);
  } else {
    return std::nullopt;
  }
  view.shape = std::move(newShape);
  return view;
}

WeightView WeightView::sliced(size_t axis, int64_t begin, int64_t size) const {
  WeightView view = *this;
  view.offset += begin * strides[axis];
  view.shape[axis] = size;
  return view;
}

Shape WeightSource::getShape() const {
  if (view)
    return view->shape;
  if (quantized)
    return {quantized->rows, quantized->columns};
  if (dequantized)
    return dequantized->codes.shape;
  return computed.shape();
}

WeightSource WeightSource::sliceRows(int64_t begin, int64_t count) const {
  if (view)
    return of(view->sliced(0, begin, count));
  if (quantized) {
    BlockQuantizedMatrix part = *quantized;
    part.rows = count;
    part.codes = part.codes.sliced(0, begin, count);
    part.scales = part.scales.sliced(0, begin, count);
    if (part.zeros)
      part.zeros = part.zeros->sliced(0, begin, count);
    return of(std::move(part));
  }
  if (dequantized) {
    DequantizedMatrix part = *dequantized;
    part.codes = part.codes.sliced(0, begin, count);
    part.scales = part.scales.sliced(0, begin, count);
    if (part.zeros)
      part.zeros = part.zeros->sliced(0, begin, count);
    return of(std::move(part));
  }
  Shape shape = computed.shape();
  int64_t row = shape[0] ? computed.numElements() / shape[0] : 0;
  shape[0] = count;
  // A part of an f32 tensor that exists: the sizes agree by construction.
  Result<Tensor> part = Tensor::copyRaw(ElementType::Float32, shape,
                                        computed.data<float>() + begin * row,
                                        size_t(count * row) * sizeof(float));
  return of(part ? *part : Tensor());
}

bool WeightSource::operator==(const WeightSource &other) const {
  if (view != other.view || quantized != other.quantized ||
      dequantized != other.dequantized ||
      bool(computed) != bool(other.computed))
    return false;
  return !computed ||
         (computed.shape() == other.computed.shape() &&
          std::memcmp(computed.data<char>(), other.computed.data<char>(),
                      computed.sizeInBytes()) == 0);
}
