//===- SetAccuracy.cpp - Choose between exact and int8 activations --------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Transforms/Passes.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DEF_SETACCURACYPASS
#include "llq/Transforms/Passes.h.inc"

namespace {
struct SetAccuracyPass : impl::SetAccuracyPassBase<SetAccuracyPass> {
  using Base::Base;

  void runOnOperation() override {
    if (level == AccuracyLevel::Exact)
      return;
    auto format = DynamicAttr::get(&getContext(), /*bits=*/8, /*group=*/32);
    // One for each value and block, in front of the first layer that reads it.
    llvm::DenseMap<std::pair<Value, Block *>, Value> quantized;
    getOperation().walk([&](LinearOp op) {
      auto type = dyn_cast<RankedTensorType>(op.getInput().getType());
      if (!type || !isa<QuantizedType>(op.getWeight().getType()))
        return;
      Value &input = quantized[{op.getInput(), op->getBlock()}];
      if (!input) {
        OpBuilder builder(op);
        input = QuantizeActivationOp::create(
            builder, op.getLoc(),
            QuantizedType::get(&getContext(),
                               {ShapedType::kDynamic, type.getDimSize(1)},
                               format),
            op.getInput());
      }
      op.getInputMutable().assign(input);
    });
  }
};
} // namespace
} // namespace llq
