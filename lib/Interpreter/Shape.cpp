//===- Shape.cpp - Shapes and constants -----------------------------------===//
//
// Operators that compute shapes, view a tensor under another shape, repeat it
// by broadcasting, or make a tensor from nothing: the shape arithmetic that
// import folds away.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Broadcast.h"
#include "Convert.h"
#include "Dispatch.h"
#include "Operators.h"

#include <algorithm>
#include <cmath>

using namespace llq::interp;

static void evalIdentity(OpContext &context) {
  context.setOutput(0, context.input(0));
}

/// Inference only: the data passes, the mask keeps everything.
static void evalDropout(OpContext &context) {
  context.ignoreAttribute("ratio");
  context.ignoreAttribute("seed");
  const Tensor &data = context.input(0);
  if (const Tensor *training = context.optionalInput(2)) {
    if (!context.requireType(*training, "training_mode", {ElementType::Bool}))
      return;
    for (int64_t i = 0, e = training->numElements(); i < e; ++i)
      if (training->data<uint8_t>()[i])
        return context.fail("training mode is not supported");
  }
  context.setOutput(0, data);
  if (!context.wantsOutput(1))
    return;
  std::optional<MutableTensor> mask =
      context.allocate(ElementType::Bool, data.shape());
  if (!mask)
    return;
  std::fill_n(mask->data<uint8_t>(), data.numElements(), 1);
  context.setOutput(1, std::move(*mask));
}

static void evalShape(OpContext &context) {
  const Tensor &data = context.input(0);
  int64_t rank = data.rank();
  auto clampAxis = [&](int64_t axis) {
    return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
  };
  int64_t begin = 0;
  int64_t end = rank;
  if (context.opset() >= 15) {
    begin = clampAxis(std::max(context.intAttribute("start", 0), -rank));
    end = clampAxis(std::max(context.intAttribute("end", rank), -rank));
  }
  end = std::max(begin, end);
  context.setOutput(
      0, Tensor::ofInts({data.shape().data() + begin, size_t(end - begin)}));
}

static void evalSize(OpContext &context) {
  context.setOutput(0, Tensor::ofInt(context.input(0).numElements()));
}

static void evalReshape(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<Shape> shape = context.intsOf(context.input(1), "the shape");
  if (!shape)
    return;
  bool allowZero =
      context.opset() >= 14 && context.intAttribute("allowzero", 0) != 0;
  int64_t inferred = -1;
  int64_t known = 1;
  for (size_t i = 0; i < shape->size(); ++i) {
    int64_t &dim = (*shape)[i];
    if (dim == 0 && !allowZero) {
      if (i >= size_t(data.rank()))
        return context.fail("dimension ", int64_t(i),
                            " of the shape copies a dimension that ",
                            data.shape(), " does not have");
      dim = data.dim(int64_t(i));
    }
    if (dim == -1) {
      if (inferred >= 0)
        return context.fail("the shape has two dimensions to infer");
      inferred = int64_t(i);
      continue;
    }
    if (dim < 0 || (dim > 0 && known > maxElements / dim))
      return context.fail("cannot reshape ", data.shape(), " to ", *shape);
    known *= dim;
  }
  if (inferred >= 0) {
    if (known == 0 || data.numElements() % known != 0)
      return context.fail("cannot reshape ", data.shape(), " to ", *shape);
    (*shape)[size_t(inferred)] = data.numElements() / known;
  }
  context.setReshaped(0, data, std::move(*shape));
}

static void evalFlatten(OpContext &context) {
  const Tensor &data = context.input(0);
  int64_t axis = context.intAttribute("axis", 1);
  if (axis < -data.rank() || axis > data.rank())
    return context.fail("axis ", axis, " is out of range for rank ",
                        data.rank());
  if (axis < 0)
    axis += data.rank();
  Shape flat = {1, 1};
  for (int64_t d = 0; d < data.rank(); ++d)
    flat[d < axis ? 0 : 1] *= data.dim(d);
  context.setReshaped(0, data, std::move(flat));
}

/// The `axes` of Squeeze and Unsqueeze: an operand since version 13, an
/// attribute before. None if absent or failed.
static std::optional<std::vector<int64_t>> axesOf(OpContext &context) {
  if (context.opset() < 13)
    return context.intsAttribute("axes");
  if (const Tensor *axes = context.optionalInput(1))
    return context.intsOf(*axes, "axes");
  return std::nullopt;
}

static void evalSqueeze(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<std::vector<int64_t>> axes = axesOf(context);
  if (context.failed())
    return;
  Shape shape;
  if (!axes) {
    for (int64_t dim : data.shape())
      if (dim != 1)
        shape.push_back(dim);
    return context.setReshaped(0, data, std::move(shape));
  }
  axes = context.normalizeAxes(*axes, data.rank());
  if (!axes)
    return;
  for (int64_t d = 0; d < data.rank(); ++d) {
    if (!std::binary_search(axes->begin(), axes->end(), d))
      shape.push_back(data.dim(d));
    else if (data.dim(d) != 1)
      return context.fail("cannot squeeze axis ", d, " of shape ",
                          data.shape());
  }
  context.setReshaped(0, data, std::move(shape));
}

static void evalUnsqueeze(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<std::vector<int64_t>> axes = axesOf(context);
  if (!axes)
    return context.fail("the axes are missing");
  axes = context.normalizeAxes(*axes, data.rank() + int64_t(axes->size()));
  if (!axes)
    return;
  Shape shape = data.shape();
  for (int64_t axis : *axes) // ascending: earlier insertions stay in place
    shape.insert(shape.begin() + axis, 1);
  context.setReshaped(0, data, std::move(shape));
}

/// Copies `data` into a broadcast result.
static void expandTo(OpContext &context, const Tensor &data,
                     const Shape &shape) {
  std::optional<MutableTensor> out = context.allocate(data.type(), shape);
  if (!out)
    return;
  StridedLoop<1> loop(shape, {broadcastStrides(data.shape(), shape)});
  visitSize(data.type(), [&]<typename T>(T) {
    loop.forEachRun([&](int64_t position, const auto &offsets,
                        const auto &steps, int64_t count) {
      const T *from = data.data<T>() + offsets[0];
      T *to = out->data<T>() + position;
      for (int64_t i = 0; i < count; ++i)
        to[i] = from[i * steps[0]];
    });
  });
  context.setOutput(0, std::move(*out));
}

static void evalExpand(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<Shape> shape = context.intsOf(context.input(1), "the shape");
  if (!shape)
    return;
  std::optional<Shape> result = broadcastShape(context, data.shape(), *shape);
  if (!result)
    return;
  if (*result == data.shape())
    return context.setOutput(0, data);
  expandTo(context, data, *result);
}

/// A one-element tensor, f32 zero by default, repeated.
static void evalConstantOfShape(OpContext &context) {
  std::optional<Shape> shape = context.intsOf(context.input(0), "the shape");
  if (!shape)
    return;
  Tensor value = Tensor::ofFloat(0.0f);
  if (const Attribute *attribute = context.attribute("value")) {
    const auto *tensor = std::get_if<Tensor>(attribute);
    if (!tensor || !*tensor || tensor->numElements() != 1)
      return context.fail("attribute 'value' must be a tensor of one element");
    value = *tensor->reshaped({});
  }
  expandTo(context, value, *shape);
}

static void evalConstant(OpContext &context) {
  if (const Attribute *value = context.attribute("value")) {
    const auto *tensor = std::get_if<Tensor>(value);
    if (!tensor || !*tensor)
      return context.fail("attribute 'value' must be a tensor");
    return context.setOutput(0, *tensor);
  }
  if (context.hasAttribute("value_int"))
    return context.setOutput(
        0, Tensor::ofInt(context.intAttribute("value_int", 0)));
  if (context.hasAttribute("value_float"))
    return context.setOutput(
        0, Tensor::ofFloat(context.floatAttribute("value_float", 0)));
  if (std::optional<std::vector<int64_t>> list =
          context.intsAttribute("value_ints"))
    return context.setOutput(0, Tensor::ofInts(*list));
  if (const Attribute *value = context.attribute("value_floats")) {
    const auto *list = std::get_if<std::vector<float>>(value);
    if (!list)
      return context.fail("attribute 'value_floats' must be a list of floats");
    Result<Tensor> tensor =
        Tensor::copyRaw(ElementType::Float32, {int64_t(list->size())},
                        list->data(), list->size() * sizeof(float));
    if (!tensor)
      return context.fail(tensor.message());
    return context.setOutput(0, std::move(*tensor));
  }
  context.fail("a value of a supported kind is missing");
}

/// Number of elements of start, start + delta, ... before limit.
template <typename T>
static std::optional<int64_t> rangeLength(OpContext &context, T start, T limit,
                                          T delta) {
  if (delta == T(0))
    return context.failure("the step is zero");
  if constexpr (std::is_integral_v<T>) {
    __int128 distance = __int128(limit) - start;
    __int128 step = delta;
    if ((distance > 0) != (step > 0) || distance == 0)
      return 0;
    // At most 2^64; a length beyond int64 is above any limit.
    __int128 length = (distance + step + (step > 0 ? -1 : 1)) / step;
    return int64_t(std::min<__int128>(length, INT64_MAX));
  } else {
    double length = std::ceil((double(limit) - double(start)) / double(delta));
    if (!(length <= double(maxElements))) // also NaN
      return context.failure("a range of ", int64_t(maxElements),
                             " or more elements");
    return std::max<int64_t>(0, int64_t(std::max(length, 0.0)));
  }
}

static void evalRange(OpContext &context) {
  context.ignoreAttribute("stash_type");
  Tensor scalars[3];
  for (unsigned i = 0; i < 3; ++i) {
    const Tensor &input = context.input(i);
    if (input.numElements() != 1)
      return context.fail("operand ", int64_t(i),
                          " must be a scalar, found shape ", input.shape());
    if (!context.requireSameType(context.input(0), "the start", input,
                                 "limit and step"))
      return;
    std::optional<Tensor> wide = context.widened(input);
    if (!wide)
      return;
    scalars[i] = *wide;
  }
  bool known = visitNumber(scalars[0].type(), [&]<typename T>(T) {
    T start = scalars[0].data<T>()[0];
    T delta = scalars[2].data<T>()[0];
    std::optional<int64_t> length =
        rangeLength(context, start, scalars[1].data<T>()[0], delta);
    std::optional<MutableTensor> out;
    if (length)
      out = context.allocate(scalars[0].type(), {*length});
    if (!out)
      return;
    for (int64_t i = 0; i < *length; ++i) {
      if constexpr (std::is_integral_v<T>)
        out->data<T>()[i] = T(uint64_t(start) + uint64_t(i) * uint64_t(delta));
      else
        out->data<T>()[i] = T(double(start) + double(i) * double(delta));
    }
    context.setOutputAs(0, std::move(*out), context.input(0).type());
  });
  if (!known)
    context.fail("ranges of type ", context.input(0).type(),
                 " are not supported");
}

constexpr Operator table[] = {
    {"Constant", 1, 0, 0, 1, evalConstant},
    {"ConstantOfShape", 9, 1, 1, 1, evalConstantOfShape},
    {"Dropout", 7, 1, 3, 2, evalDropout},
    {"Expand", 8, 2, 2, 1, evalExpand},
    {"Flatten", 1, 1, 1, 1, evalFlatten},
    {"Identity", 1, 1, 1, 1, evalIdentity},
    {"Range", 11, 3, 3, 1, evalRange},
    {"Reshape", 5, 2, 2, 1, evalReshape},
    {"Shape", 1, 1, 1, 1, evalShape},
    {"Size", 1, 1, 1, 1, evalSize},
    {"Squeeze", 1, 1, 1, 1, evalSqueeze, "", 12},
    {"Squeeze", 13, 1, 2, 1, evalSqueeze},
    {"Unsqueeze", 1, 1, 1, 1, evalUnsqueeze, "", 12},
    {"Unsqueeze", 13, 2, 2, 1, evalUnsqueeze},
};

std::span<const Operator> llq::interp::shapeOperators() { return table; }
