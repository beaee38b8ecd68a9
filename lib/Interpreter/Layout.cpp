//===- Layout.cpp - Operators that rearrange elements ---------------------===//
//
// Concatenation, splitting, slicing, permutation, tiling, padding and
// triangles. Elements are moved by size, whatever their type.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Broadcast.h"
#include "Convert.h"
#include "Dispatch.h"
#include "Operators.h"

#include <algorithm>
#include <cstring>
#include <numeric>

using namespace llq::interp;

/// Product of the dimensions [begin, end) of a valid shape.
static int64_t product(const Shape &shape, int64_t begin, int64_t end) {
  int64_t count = 1;
  for (int64_t d = begin; d < end; ++d)
    count *= shape[size_t(d)];
  return count;
}

/// Copies a strided view of `data` that starts `offset` elements in.
static void copyStrided(OpContext &context, unsigned index, const Tensor &data,
                        int64_t offset, Shape shape,
                        const std::vector<int64_t> &strides) {
  std::optional<MutableTensor> out =
      context.allocate(data.type(), std::move(shape));
  if (!out)
    return;
  StridedLoop<1> loop(out->shape(), {strides});
  visitSize(data.type(), [&]<typename T>(T) {
    loop.forEachRun([&](int64_t position, const auto &offsets,
                        const auto &steps, int64_t count) {
      const T *from = data.data<T>() + offset + offsets[0];
      T *to = out->data<T>() + position;
      for (int64_t i = 0; i < count; ++i)
        to[i] = from[i * steps[0]];
    });
  });
  context.setOutput(index, std::move(*out));
}

static void evalConcat(OpContext &context) {
  const Tensor &first = context.input(0);
  if (!context.hasAttribute("axis"))
    return context.fail("attribute 'axis' is missing");
  std::optional<int64_t> axis =
      context.normalizeAxis(context.intAttribute("axis", 0), first.rank());
  if (!axis)
    return;
  Shape shape = first.shape();
  for (unsigned i = 1; i < context.numInputs(); ++i) {
    const Tensor *next = context.optionalInput(i);
    if (!next)
      return context.fail("operand ", int64_t(i), " is missing");
    if (!context.requireSameType(first, "the first operand", *next,
                                 "the others"))
      return;
    Shape expected = first.shape();
    if (next->rank() == first.rank())
      expected[size_t(*axis)] = next->dim(*axis);
    if (next->shape() != expected)
      return context.fail("cannot concatenate ", first.shape(), " and ",
                          next->shape(), " along axis ", *axis);
    // Both are within 2^40, and there are fewer than 2^22 operands.
    shape[size_t(*axis)] += next->dim(*axis);
  }
  std::optional<MutableTensor> out = context.allocate(first.type(), shape);
  if (!out)
    return;
  int64_t outer = product(shape, 0, *axis);
  size_t rowBytes =
      size_t(product(shape, *axis, first.rank())) * elementSize(first.type());
  size_t column = 0;
  for (unsigned i = 0; i < context.numInputs(); ++i) {
    const Tensor &part = context.input(i);
    size_t bytes = size_t(product(part.shape(), *axis, part.rank())) *
                   elementSize(part.type());
    for (int64_t row = 0; row < outer && bytes != 0; ++row)
      std::memcpy(out->data<std::byte>() + size_t(row) * rowBytes + column,
                  part.data<std::byte>() + size_t(row) * bytes, bytes);
    column += bytes;
  }
  context.setOutput(0, std::move(*out));
}

/// The sizes of Split's parts along a dimension of `size` elements.
static std::optional<std::vector<int64_t>> splitSizes(OpContext &context,
                                                      int64_t size) {
  std::optional<std::vector<int64_t>> sizes;
  if (context.opset() < 13)
    sizes = context.intsAttribute("split");
  else if (const Tensor *split = context.optionalInput(1))
    sizes = context.intsOf(*split, "the sizes");
  if (context.failed())
    return std::nullopt;
  int64_t parts = int64_t(context.numOutputs());
  if (context.opset() >= 18 && context.hasAttribute("num_outputs")) {
    parts = context.intAttribute("num_outputs", 0);
    if (sizes)
      return context.failure("sizes and 'num_outputs' exclude each other");
    if (parts < 1 || parts < int64_t(context.numOutputs()))
      return context.failure("'num_outputs' = ", parts, " for a node with ",
                             int64_t(context.numOutputs()), " outputs");
  }
  if (sizes) {
    int64_t rest = size;
    for (int64_t part : *sizes) {
      if (part < 0 || part > rest)
        return context.failure("parts ", *sizes, " do not add up to ", size);
      rest -= part;
    }
    if (rest != 0 || sizes->size() < context.numOutputs())
      return context.failure("parts ", *sizes, " do not make ",
                             int64_t(context.numOutputs()), " outputs of ",
                             size, " in total");
    return sizes;
  }
  // Equal parts; since version 18 the last one may be smaller.
  if (context.opset() < 18 && size % parts != 0)
    return context.failure("cannot split ", size, " into ", parts,
                           " equal parts");
  int64_t chunk = size / parts + (size % parts != 0);
  std::vector<int64_t> equal;
  for (int64_t i = 0; i < int64_t(context.numOutputs()); ++i)
    equal.push_back(std::clamp<int64_t>(size - i * chunk, 0, chunk));
  return equal;
}

static void evalSplit(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<int64_t> axis =
      context.normalizeAxis(context.intAttribute("axis", 0), data.rank());
  if (!axis || context.numOutputs() == 0)
    return;
  std::optional<std::vector<int64_t>> sizes =
      splitSizes(context, data.dim(*axis));
  if (!sizes)
    return;
  std::vector<int64_t> strides = rowMajorStrides(data.shape());
  int64_t begin = 0;
  for (unsigned i = 0; i < context.numOutputs() && !context.failed(); ++i) {
    Shape shape = data.shape();
    shape[size_t(*axis)] = (*sizes)[i];
    copyStrided(context, i, data, begin * strides[size_t(*axis)],
                std::move(shape), strides);
    begin += (*sizes)[i];
  }
}

/// Slice along some axes; the lists have equal lengths.
static void slice(OpContext &context, const std::vector<int64_t> &starts,
                  const std::vector<int64_t> &ends, std::vector<int64_t> axes,
                  const std::vector<int64_t> &steps) {
  const Tensor &data = context.input(0);
  if (starts.size() != ends.size() || starts.size() != axes.size() ||
      starts.size() != steps.size())
    return context.fail("starts, ends, axes and steps have different lengths");
  if (!context.normalizeAxes(axes, data.rank()))
    return; // out of range or named twice
  Shape shape = data.shape();
  std::vector<int64_t> strides = rowMajorStrides(data.shape());
  int64_t offset = 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    size_t axis = size_t(axes[i] < 0 ? axes[i] + data.rank() : axes[i]);
    int64_t size = shape[axis];
    int64_t step = steps[i];
    if (step == 0)
      return context.fail("the step along axis ", int64_t(axis), " is zero");
    // Positions count from the end if negative, then clamp to the dimension;
    // walking backwards, one before the first is a legal end.
    auto clampTo = [&](int64_t position, int64_t low, int64_t high) {
      if (position < 0)
        position += size;
      return std::clamp(position, low, high);
    };
    int64_t length = 0;
    int64_t start = 0;
    if (step > 0) {
      start = clampTo(starts[i], 0, size);
      int64_t end = clampTo(ends[i], 0, size);
      if (end > start)
        length = (end - start - 1) / step + 1;
    } else {
      start = clampTo(starts[i], size ? 0 : -1, size - 1);
      int64_t end = clampTo(ends[i], -1, size - 1);
      if (start > end) // -(step + 1) cannot overflow where -step could
        length = (start - end - 1) / (-(step + 1) + uint64_t(1)) + 1;
    }
    shape[axis] = length;
    if (length == 0)
      continue;
    offset += start * strides[axis];
    // With one element the step is never taken, and may be huge.
    strides[axis] *= length > 1 ? step : 1;
  }
  if (shape == data.shape() && offset == 0 &&
      strides == rowMajorStrides(data.shape()))
    return context.setOutput(0, data);
  copyStrided(context, 0, data, offset, std::move(shape), strides);
}

static std::vector<int64_t> iota(size_t count) {
  std::vector<int64_t> list(count);
  std::iota(list.begin(), list.end(), 0);
  return list;
}

static void evalSlice(OpContext &context) {
  std::optional<std::vector<int64_t>> starts =
      context.intsOf(context.input(1), "starts");
  std::optional<std::vector<int64_t>> ends =
      context.intsOf(context.input(2), "ends");
  if (!starts || !ends)
    return;
  std::optional<std::vector<int64_t>> axes = iota(starts->size());
  if (const Tensor *operand = context.optionalInput(3))
    axes = context.intsOf(*operand, "axes");
  std::optional<std::vector<int64_t>> steps =
      std::vector<int64_t>(starts->size(), 1);
  if (const Tensor *operand = context.optionalInput(4))
    steps = context.intsOf(*operand, "steps");
  if (axes && steps)
    slice(context, *starts, *ends, *axes, *steps);
}

/// Slice of version 1: everything is an attribute.
static void evalSliceOfAttributes(OpContext &context) {
  std::optional<std::vector<int64_t>> starts = context.intsAttribute("starts");
  std::optional<std::vector<int64_t>> ends = context.intsAttribute("ends");
  if (!starts || !ends)
    return context.fail("attributes 'starts' and 'ends' are needed");
  std::vector<int64_t> axes =
      context.intsAttribute("axes").value_or(iota(starts->size()));
  if (!context.failed())
    slice(context, *starts, *ends, axes,
          std::vector<int64_t>(starts->size(), 1));
}

static void evalTranspose(OpContext &context) {
  const Tensor &data = context.input(0);
  std::vector<int64_t> order = iota(size_t(data.rank()));
  std::reverse(order.begin(), order.end());
  order = context.intsAttribute("perm").value_or(order);
  if (context.failed())
    return;
  std::vector<int64_t> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  if (sorted != iota(size_t(data.rank())))
    return context.fail(order, " is not a permutation of the axes of ",
                        data.shape());
  std::vector<int64_t> own = rowMajorStrides(data.shape());
  std::vector<int64_t> strides;
  Shape shape;
  for (int64_t axis : order) {
    shape.push_back(data.dim(axis));
    strides.push_back(own[size_t(axis)]);
  }
  copyStrided(context, 0, data, 0, std::move(shape), strides);
}

static void evalTile(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<std::vector<int64_t>> repeats =
      context.intsOf(context.input(1), "the repeats");
  if (!repeats)
    return;
  if (int64_t(repeats->size()) != data.rank())
    return context.fail("repeats ", *repeats, " do not fit shape ",
                        data.shape());
  // A view [r0, d0, r1, d1, ...] with stride 0 along the repeats.
  std::vector<int64_t> own = rowMajorStrides(data.shape());
  Shape shape;
  Shape interleaved;
  std::vector<int64_t> strides;
  for (size_t d = 0; d < repeats->size(); ++d) {
    int64_t repeat = (*repeats)[d];
    int64_t dim = data.shape()[d];
    if (repeat < 0 || (dim > 0 && repeat > maxElements / dim))
      return context.fail("cannot tile ", data.shape(), " by ", *repeats);
    shape.push_back(repeat * dim);
    interleaved.insert(interleaved.end(), {repeat, dim});
    strides.insert(strides.end(), {0, own[d]});
  }
  std::optional<MutableTensor> out =
      context.allocate(data.type(), std::move(shape));
  if (!out)
    return;
  StridedLoop<1> loop(interleaved, {strides});
  visitSize(data.type(), [&]<typename T>(T) {
    loop.forEachRun([&](int64_t position, const auto &offsets,
                        const auto &steps, int64_t count) {
      const T *from = data.data<T>() + offsets[0];
      for (int64_t i = 0; i < count; ++i)
        out->data<T>()[position + i] = from[i * steps[0]];
    });
  });
  context.setOutput(0, std::move(*out));
}

/// Where Pad reads result position `i` of a dimension with `size` elements
/// and `before` padding; -1 for the constant.
static int64_t padSource(int64_t i, int64_t before, int64_t size,
                         std::string_view mode) {
  int64_t position = i - before;
  if (position >= 0 && position < size)
    return position;
  if (mode == "constant")
    return -1;
  if (mode == "edge")
    return position < 0 ? 0 : size - 1;
  int64_t period = mode == "wrap" ? size : std::max<int64_t>(1, 2 * (size - 1));
  position = ((position % period) + period) % period;
  return position < size ? position : period - position;
}

static void pad(OpContext &context, const std::vector<int64_t> &pads,
                const std::vector<int64_t> &axes, const Tensor *value,
                const std::string &mode) {
  const Tensor &data = context.input(0);
  if (mode != "constant" && mode != "edge" && mode != "reflect" &&
      mode != "wrap")
    return context.fail("attribute 'mode' = '", mode,
                        "' is not one of constant, edge, reflect, wrap");
  if (pads.size() != 2 * axes.size())
    return context.fail("pads ", pads, " must have two entries per axis");
  if (!context.normalizeAxes(axes, data.rank()))
    return;
  if (value && (value->type() != data.type() || value->numElements() != 1))
    return context.fail("the padding value must be one element of type ",
                        data.type());
  Shape before(size_t(data.rank()), 0);
  Shape shape = data.shape();
  for (size_t i = 0; i < axes.size(); ++i) {
    size_t axis = size_t(axes[i] < 0 ? axes[i] + data.rank() : axes[i]);
    int64_t low = pads[i];
    int64_t high = pads[i + axes.size()];
    if (std::max(low, high) > maxElements || std::min(low, high) < -maxElements)
      return context.fail("pads ", pads, " are out of range");
    before[axis] = low;
    shape[axis] += low + high;
    if (shape[axis] > 0 && data.dim(int64_t(axis)) == 0 && mode != "constant")
      return context.fail("cannot pad an empty dimension in mode ", mode);
  }
  std::optional<MutableTensor> out = context.allocate(data.type(), shape);
  if (!out)
    return;
  std::vector<int64_t> strides = rowMajorStrides(data.shape());
  std::vector<int64_t> index(shape.size(), 0);
  visitSize(data.type(), [&]<typename T>(T) {
    T fill = value ? value->data<T>()[0] : T(0);
    for (int64_t i = 0, e = out->numElements(); i < e; ++i) {
      int64_t source = 0;
      for (size_t d = 0; d < shape.size() && source >= 0; ++d) {
        int64_t position =
            padSource(index[d], before[d], data.shape()[d], mode);
        source = position < 0 ? -1 : source + position * strides[d];
      }
      out->data<T>()[i] = source < 0 ? fill : data.data<T>()[source];
      for (size_t d = shape.size(); d-- > 0 && ++index[d] == shape[d];)
        index[d] = 0;
    }
  });
  context.setOutput(0, std::move(*out));
}

static void evalPad(OpContext &context) {
  const Tensor &data = context.input(0);
  std::string mode = context.stringAttribute("mode", "constant");
  std::optional<std::vector<int64_t>> pads =
      context.intsOf(context.input(1), "the pads");
  std::optional<std::vector<int64_t>> axes = iota(size_t(data.rank()));
  if (const Tensor *operand = context.optionalInput(3))
    axes = context.intsOf(*operand, "axes");
  if (pads && axes)
    pad(context, *pads, *axes, context.optionalInput(2), mode);
}

static void evalPadOfAttributes(OpContext &context) {
  const Tensor &data = context.input(0);
  std::string mode = context.stringAttribute("mode", "constant");
  std::optional<std::vector<int64_t>> pads = context.intsAttribute("pads");
  Result<Tensor> value = convert(
      Tensor::ofFloat(context.floatAttribute("value", 0.0f)), data.type());
  if (!pads || !value)
    return context.fail("attribute 'pads' is missing");
  pad(context, *pads, iota(size_t(data.rank())), &*value, mode);
}

static void evalTrilu(OpContext &context) {
  const Tensor &data = context.input(0);
  bool upper = context.intAttribute("upper", 1) != 0;
  int64_t diagonal = 0;
  if (const Tensor *k = context.optionalInput(1)) {
    std::optional<int64_t> value = context.intOf(*k, "the diagonal");
    if (!value)
      return;
    diagonal = std::clamp(*value, -maxElements, maxElements);
  }
  if (data.rank() < 2)
    return context.fail("found shape ", data.shape(), ", need rank 2 or more");
  std::optional<MutableTensor> out =
      context.allocate(data.type(), data.shape());
  if (!out)
    return;
  int64_t rows = data.dim(data.rank() - 2);
  int64_t columns = data.dim(data.rank() - 1);
  visitSize(data.type(), [&]<typename T>(T) {
    for (int64_t i = 0, e = data.numElements(); i < e; ++i) {
      int64_t distance = i % columns - i / columns % rows;
      if (upper ? distance >= diagonal : distance <= diagonal)
        out->data<T>()[i] = data.data<T>()[i];
    }
  });
  context.setOutput(0, std::move(*out));
}

constexpr Operator table[] = {
    {"Concat", 4, 1, variadic, 1, evalConcat},
    {"Pad", 2, 1, 1, 1, evalPadOfAttributes, "", 10},
    {"Pad", 11, 2, 4, 1, evalPad},
    {"Slice", 1, 1, 1, 1, evalSliceOfAttributes, "", 9},
    {"Slice", 10, 3, 5, 1, evalSlice},
    {"Split", 2, 1, 1, variadic, evalSplit, "", 12},
    {"Split", 13, 1, 2, variadic, evalSplit},
    {"Tile", 6, 2, 2, 1, evalTile},
    {"Transpose", 1, 1, 1, 1, evalTranspose},
    {"Trilu", 14, 1, 2, 1, evalTrilu},
    {"Trilu", 1, 1, 2, 1, evalTrilu, microsoftDomain},
};

std::span<const Operator> llq::interp::layoutOperators() { return table; }
