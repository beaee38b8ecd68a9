//===- Broadcast.h - Multidirectional broadcasting -------------*- C++ -*-===//
//
// Loops over the elements of a broadcast result and of its operands. Adjacent
// dimensions that all operands walk alike are merged, so that the innermost
// loop is long.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_INTERPRETER_BROADCAST_H
#define LLQ_LIB_INTERPRETER_BROADCAST_H

#include "OpContext.h"

#include <array>

namespace llq::interp {

/// The common shape; fails if two shapes do not broadcast.
std::optional<Shape> broadcastShape(OpContext &context, const Shape &a,
                                    const Shape &b);

/// Fails unless `shape` broadcasts to `target` without changing it.
bool requireBroadcastTo(OpContext &context, std::string_view what,
                        const Shape &shape, const Shape &target);

/// Distance in elements between neighbours along each dimension of a
/// row-major tensor.
std::vector<int64_t> rowMajorStrides(const Shape &shape);

/// Strides to walk an operand of `shape` along a result of shape `target`, to
/// which it broadcasts: 0 where the operand is repeated.
std::vector<int64_t> broadcastStrides(const Shape &shape, const Shape &target);

/// A loop nest over a result with `N` operands.
template <size_t N> class StridedLoop {
public:
  using Offsets = std::array<int64_t, N>;

  StridedLoop(const Shape &shape,
              const std::array<std::vector<int64_t>, N> &operandStrides) {
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] == 1)
        continue;
      Offsets step;
      for (size_t n = 0; n < N; ++n)
        step[n] = operandStrides[n][d];
      bool mergeable = !sizes.empty();
      for (size_t n = 0; mergeable && n < N; ++n)
        mergeable = steps.back()[n] == step[n] * shape[d];
      if (mergeable) {
        sizes.back() *= shape[d];
        steps.back() = step;
      } else {
        sizes.push_back(shape[d]);
        steps.push_back(step);
      }
    }
    if (sizes.empty()) {
      sizes.push_back(1);
      steps.push_back({});
    }
  }

  /// Calls fn(first result index, operand offsets, operand steps, count) for
  /// every innermost run, in row-major order of the result.
  template <typename Fn> void forEachRun(Fn &&fn) const {
    for (int64_t size : sizes)
      if (size == 0)
        return;
    size_t inner = sizes.size() - 1;
    std::vector<int64_t> index(inner, 0);
    Offsets offsets{};
    int64_t position = 0;
    while (true) {
      fn(position, offsets, steps[inner], sizes[inner]);
      position += sizes[inner];
      size_t d = inner;
      while (d > 0) {
        --d;
        for (size_t n = 0; n < N; ++n)
          offsets[n] += steps[d][n];
        if (++index[d] < sizes[d])
          break;
        for (size_t n = 0; n < N; ++n)
          offsets[n] -= steps[d][n] * sizes[d];
        index[d] = 0;
        if (d == 0)
          return;
      }
      if (inner == 0)
        return;
    }
  }

private:
  std::vector<int64_t> sizes;
  std::vector<Offsets> steps;
};

} // namespace llq::interp

#endif // LLQ_LIB_INTERPRETER_BROADCAST_H
