//===- Indexing.h - Index operands of gather and scatter -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_INTERPRETER_INDEXING_H
#define LLQ_LIB_INTERPRETER_INDEXING_H

#include "Broadcast.h"
#include "Convert.h"
#include "OpContext.h"

namespace llq::interp {

/// An i32 or i64 operand as i64.
std::optional<Tensor> readIndices(OpContext &context, const Tensor &indices);

/// Counts a negative index from the end; fails if it is out of range.
bool normalizeIndex(OpContext &context, int64_t &index, int64_t size);

/// GatherElements and ScatterElements: the indices have the data's rank and
/// are no larger than it away from `axis`.
inline bool checkElementIndices(OpContext &context, const Shape &data,
                                const Shape &indices, int64_t axis) {
  bool fits = data.size() == indices.size();
  for (size_t d = 0; fits && d < data.size(); ++d)
    fits = int64_t(d) == axis || indices[d] <= data[d];
  if (!fits)
    context.fail("indices of shape ", indices, " do not fit data of shape ",
                 data, " along axis ", axis);
  return fits;
}

/// Calls fn(position in indices, position in data) for every index of a
/// GatherElements or ScatterElements, until one is out of range.
template <typename Fn>
void forEachElementIndex(OpContext &context, const Shape &data,
                         const Tensor &indices, int64_t axis, Fn &&fn) {
  std::vector<int64_t> strides = rowMajorStrides(data);
  std::vector<int64_t> coordinate(data.size(), 0);
  for (int64_t i = 0, e = indices.numElements(); i < e; ++i) {
    int64_t index = indices.data<int64_t>()[i];
    if (!normalizeIndex(context, index, data[size_t(axis)]))
      return;
    int64_t position = index * strides[size_t(axis)];
    for (size_t d = 0; d < data.size(); ++d)
      if (int64_t(d) != axis)
        position += coordinate[d] * strides[d];
    fn(i, position);
    for (size_t d = data.size();
         d-- > 0 && ++coordinate[d] == indices.shape()[d];)
      coordinate[d] = 0;
  }
}

} // namespace llq::interp

#endif // LLQ_LIB_INTERPRETER_INDEXING_H
