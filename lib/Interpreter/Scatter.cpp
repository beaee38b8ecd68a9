//===- Scatter.cpp - Writing elements at computed positions ---------------===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Dispatch.h"
#include "Indexing.h"
#include "Operators.h"

#include <cstring>
#include <type_traits>

using namespace llq::interp;

namespace {

/// How an update meets the element it lands on.
enum class Reduction { None, Add, Mul, Max, Min };

} // namespace

static std::optional<Reduction> reductionOf(OpContext &context) {
  if (context.opset() < 16)
    return Reduction::None;
  std::string name = context.stringAttribute("reduction", "none");
  if (name == "none")
    return Reduction::None;
  if (name == "add")
    return Reduction::Add;
  if (name == "mul")
    return Reduction::Mul;
  if (name == "max")
    return Reduction::Max;
  if (name == "min")
    return Reduction::Min;
  return context.failure("attribute 'reduction' = '", name,
                         "' is not one of none, add, mul, max, min");
}

template <typename T>
static void reduceInto(T &element, T update, Reduction how) {
  // Unsigned arithmetic of enough width: defined wrap-around.
  using Wide =
      std::conditional_t<std::is_integral_v<T>,
                         std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>,
                         T>;
  switch (how) {
  case Reduction::None:
    element = update;
    break;
  case Reduction::Add:
    element = T(Wide(element) + Wide(update));
    break;
  case Reduction::Mul:
    element = T(Wide(element) * Wide(update));
    break;
  case Reduction::Max:
    element = std::max(element, update);
    break;
  case Reduction::Min:
    element = std::min(element, update);
    break;
  }
}

/// A writable copy of `data`.
static std::optional<MutableTensor> copyOf(OpContext &context,
                                           const Tensor &data) {
  std::optional<MutableTensor> copy =
      context.allocate(data.type(), data.shape());
  if (copy && data.sizeInBytes() != 0)
    std::memcpy(copy->data<std::byte>(), data.data<std::byte>(),
                data.sizeInBytes());
  return copy;
}

/// Runs `body(tag, out, updates)` in the type to reduce in: any type of the
/// same size if elements are only moved, else the widened number type.
template <typename Body>
static void scatter(OpContext &context, const Tensor &data,
                    const Tensor &updates, Reduction how, Body &&body) {
  if (!context.requireSameType(data, "the data", updates, "the updates"))
    return;
  if (how == Reduction::None) {
    std::optional<MutableTensor> out = copyOf(context, data);
    if (!out)
      return;
    visitSize(data.type(),
              [&]<typename T>(T tag) { body(tag, *out, updates); });
    return context.setOutput(0, std::move(*out));
  }
  std::optional<Tensor> wideData = context.widened(data);
  std::optional<Tensor> wideUpdates = context.widened(updates);
  if (!wideData || !wideUpdates)
    return;
  std::optional<MutableTensor> out = copyOf(context, *wideData);
  if (!out)
    return;
  bool known = visitNumber(wideData->type(), [&]<typename T>(T tag) {
    body(tag, *out, *wideUpdates);
  });
  if (!known)
    return context.fail("reductions of type ", data.type(),
                        " are not supported");
  context.setOutputAs(0, std::move(*out), data.type());
}

/// ScatterElements, and Scatter, its older name.
static void evalScatterElements(OpContext &context) {
  const Tensor &data = context.input(0);
  const Tensor &updates = context.input(2);
  std::optional<int64_t> axis =
      context.normalizeAxis(context.intAttribute("axis", 0), data.rank());
  std::optional<Tensor> indices = readIndices(context, context.input(1));
  std::optional<Reduction> how = reductionOf(context);
  if (!axis || !indices || !how ||
      !checkElementIndices(context, data.shape(), indices->shape(), *axis) ||
      !context.requireShape(updates, "the updates", indices->shape()))
    return;
  scatter(context, data, updates, *how,
          [&]<typename T>(T, MutableTensor &out, const Tensor &values) {
            forEachElementIndex(context, data.shape(), *indices, *axis,
                                [&](int64_t i, int64_t position) {
                                  reduceInto(out.data<T>()[position],
                                             values.data<T>()[i], *how);
                                });
          });
}

static void evalScatterND(OpContext &context) {
  const Tensor &data = context.input(0);
  const Tensor &updates = context.input(2);
  std::optional<Tensor> indices = readIndices(context, context.input(1));
  std::optional<Reduction> how = reductionOf(context);
  if (!indices || !how)
    return;
  int64_t depth = indices->rank() ? indices->dim(indices->rank() - 1) : 0;
  if (depth < 1 || depth > data.rank())
    return context.fail("indices of shape ", indices->shape(),
                        " do not fit data of shape ", data.shape());
  Shape shape(indices->shape().begin(), indices->shape().end() - 1);
  shape.insert(shape.end(), data.shape().begin() + depth, data.shape().end());
  if (!context.requireShape(updates, "the updates", shape))
    return;
  std::vector<int64_t> strides = rowMajorStrides(data.shape());
  int64_t sliceSize = strides[size_t(depth - 1)];
  scatter(context, data, updates, *how,
          [&]<typename T>(T, MutableTensor &out, const Tensor &values) {
            const T *from = values.data<T>();
            const int64_t *tuple = indices->data<int64_t>();
            for (int64_t i = 0, e = indices->numElements() / depth; i < e;
                 ++i, tuple += depth, from += sliceSize) {
              int64_t offset = 0;
              for (int64_t d = 0; d < depth; ++d) {
                int64_t index = tuple[d];
                if (!normalizeIndex(context, index, data.dim(d)))
                  return;
                offset += index * strides[size_t(d)];
              }
              for (int64_t j = 0; j < sliceSize; ++j)
                reduceInto(out.data<T>()[offset + j], from[j], *how);
            }
          });
}

/// Writes an update into a cache along its sequence dimension, from a position
/// of its own for each sequence of the batch.
static void evalTensorScatter(OpContext &context) {
  const Tensor &past = context.input(0);
  const Tensor &update = context.input(1);
  std::string mode = context.stringAttribute("mode", "linear");
  if (mode != "linear" && mode != "circular")
    return context.fail("attribute 'mode' = '", mode,
                        "' is not one of linear, circular");
  std::optional<int64_t> axis =
      context.normalizeAxis(context.intAttribute("axis", -2), past.rank());
  if (!axis)
    return;
  if (*axis == 0)
    return context.fail("axis 0 is the batch, not a sequence");
  if (!context.requireSameType(past, "the cache", update, "the update"))
    return;
  Shape expected = past.shape();
  if (update.rank() == past.rank())
    expected[size_t(*axis)] = update.dim(*axis);
  if (!context.requireShape(update, "the update", expected))
    return;
  int64_t capacity = past.dim(*axis);
  int64_t length = update.dim(*axis);
  if (length > capacity)
    return context.fail("an update of ", length, " positions for a cache of ",
                        capacity);
  std::vector<int64_t> starts(size_t(past.dim(0)), 0);
  if (const Tensor *indices = context.optionalInput(2)) {
    if (!context.requireShape(*indices, "write_indices", {past.dim(0)}))
      return;
    std::optional<Tensor> wide = readIndices(context, *indices);
    if (!wide)
      return;
    starts = *wide->toInts();
  }
  for (int64_t start : starts)
    if (start < 0 || start > maxElements ||
        (mode == "linear" && start > capacity - length))
      return context.fail("write index ", start, " with ", length,
                          " positions for a cache of ", capacity);
  std::optional<MutableTensor> out = copyOf(context, past);
  if (!out || update.numElements() == 0)
    return out ? context.setOutput(0, std::move(*out)) : void();
  std::vector<int64_t> strides = rowMajorStrides(past.shape());
  size_t rowBytes = size_t(strides[size_t(*axis)]) * elementSize(past.type());
  int64_t rowsPerBatch = strides[0] / strides[size_t(*axis)] / capacity;
  const std::byte *from = update.data<std::byte>();
  for (int64_t batch = 0; batch < past.dim(0); ++batch)
    for (int64_t row = 0; row < rowsPerBatch; ++row)
      for (int64_t i = 0; i < length; ++i, from += rowBytes) {
        int64_t position = (starts[size_t(batch)] + i) % capacity;
        int64_t target = (batch * rowsPerBatch + row) * capacity + position;
        std::memcpy(out->data<std::byte>() + size_t(target) * rowBytes, from,
                    rowBytes);
      }
  context.setOutput(0, std::move(*out));
}

constexpr Operator table[] = {
    {"Scatter", 9, 3, 3, 1, evalScatterElements, "", 10},
    {"ScatterElements", 11, 3, 3, 1, evalScatterElements},
    {"ScatterND", 11, 3, 3, 1, evalScatterND},
    {"TensorScatter", 24, 2, 3, 1, evalTensorScatter},
};

std::span<const Operator> llq::interp::scatterOperators() { return table; }
