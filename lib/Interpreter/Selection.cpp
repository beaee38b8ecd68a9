//===- Selection.cpp - TopK, NonZero and OneHot ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Broadcast.h"
#include "Convert.h"
#include "Dispatch.h"
#include "Operators.h"

#include <algorithm>
#include <numeric>

using namespace llq::interp;

/// Equal values rank by index, so results do not depend on the sort.
static void evalTopK(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<int64_t> axis =
      context.normalizeAxis(context.intAttribute("axis", -1), data.rank());
  bool largest =
      context.opset() < 11 || context.intAttribute("largest", 1) != 0;
  context.ignoreAttribute("sorted"); // sorted results satisfy either value
  std::optional<int64_t> k =
      context.opset() < 10
          ? std::optional<int64_t>(context.intAttribute("k", -1))
      : context.optionalInput(1) ? context.intOf(*context.optionalInput(1), "k")
                                 : std::nullopt;
  std::optional<Tensor> wide = context.widened(data);
  if (!axis || !wide)
    return;
  int64_t length = data.dim(*axis);
  if (!k || *k < 0 || *k > length)
    return context.fail("k = ", k.value_or(-1), " of ", length, " elements");
  Shape shape = data.shape();
  shape[size_t(*axis)] = *k;
  std::optional<MutableTensor> values = context.allocate(wide->type(), shape);
  std::optional<MutableTensor> indices =
      context.allocate(ElementType::Int64, shape);
  if (!values || !indices)
    return;
  int64_t stride = rowMajorStrides(data.shape())[size_t(*axis)];
  bool known = visitNumber(wide->type(), [&]<typename T>(T) {
    std::vector<int64_t> order(static_cast<size_t>(length));
    for (int64_t i = 0, e = data.numElements(); i < e; ++i) {
      if (i / stride % length != 0)
        continue; // not the first of its row
      const T *from = wide->data<T>() + i;
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort(order.begin(), order.begin() + *k, order.end(),
                        [&](int64_t a, int64_t b) {
                          T x = from[a * stride];
                          T y = from[b * stride];
                          // NaN ranks as the largest, which keeps the order
                          // strict and weak.
                          bool xIsNaN = x != x;
                          bool yIsNaN = y != y;
                          if (xIsNaN || yIsNaN)
                            return xIsNaN == yIsNaN ? a < b : xIsNaN == largest;
                          if (x != y)
                            return largest ? x > y : x < y;
                          return a < b;
                        });
      int64_t to = i / (stride * length) * stride * *k + i % stride;
      for (int64_t j = 0; j < *k; ++j) {
        values->data<T>()[to + j * stride] = from[order[size_t(j)] * stride];
        indices->data<int64_t>()[to + j * stride] = order[size_t(j)];
      }
    }
  });
  if (!known)
    return context.fail("operands of type ", data.type(), " are not supported");
  context.setOutputAs(0, std::move(*values), data.type());
  context.setOutput(1, std::move(*indices));
}

/// Coordinates [rank, count] of the elements that are not zero.
static void evalNonZero(OpContext &context) {
  const Tensor &data = context.input(0);
  Result<Tensor> truth = convert(data, ElementType::Bool);
  if (!truth)
    return context.fail(truth.message());
  const uint8_t *isSet = truth->data<uint8_t>();
  int64_t count = 0;
  for (int64_t i = 0, e = data.numElements(); i < e; ++i)
    count += isSet[i] != 0;
  std::optional<MutableTensor> out =
      context.allocate(ElementType::Int64, {data.rank(), count});
  if (!out)
    return;
  std::vector<int64_t> strides = rowMajorStrides(data.shape());
  int64_t column = 0;
  for (int64_t i = 0, e = data.numElements(); i < e; ++i) {
    if (!isSet[i])
      continue;
    for (int64_t d = 0; d < data.rank(); ++d)
      out->data<int64_t>()[d * count + column] =
          i / strides[size_t(d)] % data.dim(d);
    ++column;
  }
  context.setOutput(0, std::move(*out));
}

static void evalOneHot(OpContext &context) {
  const Tensor &values = context.input(2);
  Result<Tensor> indices = convert(context.input(0), ElementType::Int64);
  Result<Tensor> depthTensor = convert(context.input(1), ElementType::Int64);
  if (!indices || !depthTensor)
    return context.fail("out of memory");
  std::optional<int64_t> depth = context.intOf(*depthTensor, "the depth");
  std::optional<int64_t> axis = context.normalizeAxis(
      context.intAttribute("axis", -1), indices->rank() + 1);
  if (!depth || !axis || !context.requireShape(values, "the values", {2}))
    return;
  if (*depth < 1)
    return context.fail("the depth is ", *depth);
  Shape shape = indices->shape();
  shape.insert(shape.begin() + *axis, *depth);
  std::optional<MutableTensor> out =
      context.allocate(values.type(), std::move(shape));
  if (!out)
    return;
  int64_t inner = 1;
  for (int64_t d = *axis; d < indices->rank(); ++d)
    inner *= indices->dim(d);
  visitSize(values.type(), [&]<typename T>(T) {
    std::fill_n(out->data<T>(), out->numElements(), values.data<T>()[0]);
    for (int64_t i = 0, e = indices->numElements(); i < e; ++i) {
      int64_t index = indices->data<int64_t>()[i];
      if (index < -*depth || index >= *depth)
        continue; // out of range: all off, as specified
      index += index < 0 ? *depth : 0;
      out->data<T>()[(i / inner * *depth + index) * inner + i % inner] =
          values.data<T>()[1];
    }
  });
  context.setOutput(0, std::move(*out));
}

constexpr Operator table[] = {
    {"NonZero", 9, 1, 1, 1, evalNonZero},
    {"OneHot", 9, 3, 3, 1, evalOneHot},
    {"TopK", 1, 1, 1, 2, evalTopK, "", 9},
    {"TopK", 10, 2, 2, 2, evalTopK},
};

std::span<const Operator> llq::interp::selectionOperators() { return table; }
