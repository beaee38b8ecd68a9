//===- SetCache.cpp - Choose the type of the KV cache ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Transforms/Passes.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DEF_SETCACHEPASS
#include "llq/Transforms/Passes.h.inc"

namespace {
struct SetCachePass : impl::SetCachePassBase<SetCachePass> {
  using Base::Base;

  void runOnOperation() override {
    CacheType cache = type;
    auto isQuantized = [](QuantizeActivationOp) {
      return WalkResult::interrupt();
    };
    if (quantizedOnly && !getOperation().walk(isQuantized).wasInterrupted())
      return;
    getOperation().walk([&](AttentionOp op) { op.setCache(cache); });
  }
};
} // namespace
} // namespace llq
