//===- Gather.cpp - Reading elements at computed positions ----------------===//
//
// Gather and its relatives. Indices may count from the end; one out of range
// is an error.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Indexing.h"

#include "Broadcast.h"
#include "Dispatch.h"
#include "Operators.h"

#include <cstring>

using namespace llq::interp;

std::optional<Tensor> llq::interp::readIndices(OpContext &context,
                                               const Tensor &indices) {
  if (!context.requireType(indices, "the index operand",
                           {ElementType::Int32, ElementType::Int64}))
    return std::nullopt;
  Result<Tensor> wide = convert(indices, ElementType::Int64);
  if (!wide)
    return context.failure(wide.message());
  return *wide;
}

bool llq::interp::normalizeIndex(OpContext &context, int64_t &index,
                                 int64_t size) {
  if (index < -size || index >= size) {
    context.fail("index ", index, " is out of range for a dimension of ", size);
    return false;
  }
  if (index < 0)
    index += size;
  return true;
}

static void evalGather(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<int64_t> axis =
      context.normalizeAxis(context.intAttribute("axis", 0), data.rank());
  std::optional<Tensor> indices = readIndices(context, context.input(1));
  if (!axis || !indices)
    return;
  auto split = data.shape().begin() + *axis;
  Shape shape(data.shape().begin(), split);
  shape.insert(shape.end(), indices->shape().begin(), indices->shape().end());
  shape.insert(shape.end(), split + 1, data.shape().end());
  std::optional<MutableTensor> out =
      context.allocate(data.type(), std::move(shape));
  if (!out)
    return;
  int64_t size = data.dim(*axis);
  int64_t outer = 1;
  for (auto it = data.shape().begin(); it != split; ++it)
    outer *= *it;
  size_t sliceBytes = elementSize(data.type());
  for (auto it = split + 1; it != data.shape().end(); ++it)
    sliceBytes *= size_t(*it);
  std::byte *to = out->data<std::byte>();
  for (int64_t row = 0; row < outer; ++row) {
    for (int64_t i = 0, e = indices->numElements(); i < e; ++i) {
      int64_t index = indices->data<int64_t>()[i];
      if (!normalizeIndex(context, index, size))
        return;
      const std::byte *from =
          data.data<std::byte>() + size_t(row * size + index) * sliceBytes;
      if (sliceBytes != 0)
        std::memcpy(to, from, sliceBytes);
      to += sliceBytes;
    }
  }
  context.setOutput(0, std::move(*out));
}

static void evalGatherElements(OpContext &context) {
  const Tensor &data = context.input(0);
  std::optional<int64_t> axis =
      context.normalizeAxis(context.intAttribute("axis", 0), data.rank());
  std::optional<Tensor> indices = readIndices(context, context.input(1));
  if (!axis || !indices ||
      !checkElementIndices(context, data.shape(), indices->shape(), *axis))
    return;
  std::optional<MutableTensor> out =
      context.allocate(data.type(), indices->shape());
  if (!out)
    return;
  visitSize(data.type(), [&]<typename T>(T) {
    forEachElementIndex(context, data.shape(), *indices, *axis,
                        [&](int64_t position, int64_t source) {
                          out->data<T>()[position] = data.data<T>()[source];
                        });
  });
  context.setOutput(0, std::move(*out));
}

static void evalGatherND(OpContext &context) {
  const Tensor &data = context.input(0);
  int64_t batchDims =
      context.opset() >= 12 ? context.intAttribute("batch_dims", 0) : 0;
  std::optional<Tensor> indices = readIndices(context, context.input(1));
  if (!indices)
    return;
  if (data.rank() == 0 || indices->rank() == 0 || batchDims < 0 ||
      batchDims >= std::min(data.rank(), indices->rank()))
    return context.fail("'batch_dims' = ", batchDims, " does not fit shapes ",
                        data.shape(), " and ", indices->shape());
  int64_t depth = indices->dim(indices->rank() - 1);
  if (depth < 1 || depth > data.rank() - batchDims)
    return context.fail("index tuples of ", depth, " do not fit shape ",
                        data.shape());
  Shape shape;
  int64_t batches = 1;
  int64_t perBatch = 1;
  for (int64_t d = 0; d + 1 < indices->rank(); ++d) {
    int64_t dim = indices->dim(d);
    if (d < batchDims && dim != data.dim(d))
      return context.fail("batch dimensions of ", data.shape(), " and ",
                          indices->shape(), " differ");
    shape.push_back(dim);
    (d < batchDims ? batches : perBatch) *= dim;
  }
  for (int64_t d = batchDims + depth; d < data.rank(); ++d)
    shape.push_back(data.dim(d));
  std::optional<MutableTensor> out =
      context.allocate(data.type(), std::move(shape));
  if (!out)
    return;
  std::vector<int64_t> strides = rowMajorStrides(data.shape());
  size_t sliceBytes =
      size_t(strides[size_t(batchDims + depth - 1)]) * elementSize(data.type());
  int64_t batchSize =
      batchDims ? strides[size_t(batchDims - 1)] : data.numElements();
  const int64_t *tuple = indices->data<int64_t>();
  std::byte *to = out->data<std::byte>();
  for (int64_t batch = 0; batch < batches; ++batch) {
    for (int64_t i = 0; i < perBatch; ++i, tuple += depth) {
      int64_t offset = batch * batchSize;
      for (int64_t d = 0; d < depth; ++d) {
        int64_t index = tuple[d];
        if (!normalizeIndex(context, index, data.dim(batchDims + d)))
          return;
        offset += index * strides[size_t(batchDims + d)];
      }
      if (sliceBytes != 0)
        std::memcpy(to,
                    data.data<std::byte>() +
                        size_t(offset) * elementSize(data.type()),
                    sliceBytes);
      to += sliceBytes;
    }
  }
  context.setOutput(0, std::move(*out));
}

constexpr Operator table[] = {
    {"Gather", 1, 2, 2, 1, evalGather},
    {"GatherElements", 11, 2, 2, 1, evalGatherElements},
    {"GatherND", 11, 2, 2, 1, evalGatherND},
    {"GatherND", 1, 2, 2, 1, evalGatherND, microsoftDomain},
};

std::span<const Operator> llq::interp::gatherOperators() { return table; }
