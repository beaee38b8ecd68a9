//===- PlanMemory.cpp - Place temporaries in one arena --------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"
#include "llq/Codegen/Passes.h"

#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace llq;

namespace llq {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "llq/Codegen/Passes.h.inc"
} // namespace llq

namespace {

/// A temporary, its size, and the first and last dispatch that touch it.
struct Interval {
  BufferOp buffer;
  int64_t bytes;
  int64_t first, last;
  int64_t offset = 0;
};

struct PlanMemoryPass : llq::impl::PlanMemoryPassBase<PlanMemoryPass> {
  void runOnOperation() override {
    for (auto program : getOperation().getOps<ProgramOp>())
      plan(program);
  }

  static void plan(ProgramOp program) {
    DenseMap<Operation *, int64_t> order;
    for (auto op : program.getOps<DispatchOp>())
      order[op] = order.size();
    SmallVector<Interval> intervals;
    for (auto op : program.getOps<BufferOp>()) {
      if (op.getKind() != BufferKind::Temporary || op.use_empty())
        continue;
      int64_t bytes =
          llvm::alignTo(op.getBytesPerToken() * program.getMaxTokens(), 64);
      Interval interval{op, bytes, int64_t(order.size()), 0};
      for (Operation *user : op->getUsers()) {
        interval.first = std::min(interval.first, order[user]);
        interval.last = std::max(interval.last, order[user]);
      }
      intervals.push_back(interval);
    }
    // Largest first, each at the lowest place that is free while it lives.
    llvm::sort(intervals, [](const Interval &a, const Interval &b) {
      return std::tie(b.bytes, a.first, a.last) <
             std::tie(a.bytes, b.first, b.last);
    });
    int64_t arena = 0;
    SmallVector<Interval *> placed;
    for (Interval &interval : intervals) {
      for (Interval *other : placed)
        if (other->first <= interval.last && interval.first <= other->last &&
            interval.offset < other->offset + other->bytes &&
            other->offset < interval.offset + interval.bytes)
          interval.offset = other->offset + other->bytes;
      // `placed` is sorted by offset, so one sweep finds the first gap.
      auto at = llvm::upper_bound(placed, &interval,
                                  [](const Interval *a, const Interval *b) {
                                    return a->offset < b->offset;
                                  });
      placed.insert(at, &interval);
      arena = std::max(arena, interval.offset + interval.bytes);
      OpBuilder b(interval.buffer);
      interval.buffer.setOffsetAttr(b.getI64IntegerAttr(interval.offset));
    }
    program.setArenaBytes(arena);
  }
};

} // namespace
