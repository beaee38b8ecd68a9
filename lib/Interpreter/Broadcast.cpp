//===- Broadcast.cpp - Multidirectional broadcasting ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Broadcast.h"

#include <algorithm>

using namespace llq::interp;

std::optional<Shape> llq::interp::broadcastShape(OpContext &context,
                                                 const Shape &a,
                                                 const Shape &b) {
  Shape result(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < result.size(); ++i) {
    int64_t dimA = i < a.size() ? a[a.size() - 1 - i] : 1;
    int64_t dimB = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (dimA != dimB && dimA != 1 && dimB != 1)
      return context.failure("shapes ", a, " and ", b, " do not broadcast");
    result[result.size() - 1 - i] = dimA == 1 ? dimB : dimA;
  }
  return result;
}

bool llq::interp::requireBroadcastTo(OpContext &context, std::string_view what,
                                     const Shape &shape, const Shape &target) {
  bool fits = shape.size() <= target.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    int64_t dim = shape[shape.size() - 1 - i];
    fits = dim == 1 || dim == target[target.size() - 1 - i];
  }
  if (!fits)
    context.fail(what, " of shape ", shape, " does not broadcast to ", target);
  return fits;
}

std::vector<int64_t> llq::interp::rowMajorStrides(const Shape &shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t d = shape.size(); d-- > 1;)
    strides[d - 1] = strides[d] * shape[d];
  return strides;
}

std::vector<int64_t> llq::interp::broadcastStrides(const Shape &shape,
                                                   const Shape &target) {
  std::vector<int64_t> own = rowMajorStrides(shape);
  std::vector<int64_t> strides(target.size(), 0);
  size_t lead = target.size() - shape.size();
  for (size_t d = 0; d < shape.size(); ++d)
    strides[lead + d] = shape[d] == 1 ? 0 : own[d];
  return strides;
}
