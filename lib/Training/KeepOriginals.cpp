//===- KeepOriginals.cpp - Keep source weights ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Training/Passes.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DEF_KEEPORIGINALSPASS
#include "llq/Training/Passes.h.inc"

namespace {
struct KeepOriginalsPass : impl::KeepOriginalsPassBase<KeepOriginalsPass> {
  using Base::Base;

  void runOnOperation() override {
    auto mark = UnitAttr::get(&getContext());
    getOperation()->setAttr(kKeepOriginalsAttr, mark);
    // What sources are to be read with.
    getOperation().walk(
        [&](RotateOp rotate) { rotate->setAttr(kKeepOriginalsAttr, mark); });
  }
};
} // namespace
} // namespace llq
