//===- DecoderBlocks.cpp - A model as a sequence of blocks ----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Training/DecoderBlocks.h"

#include "llq/Calibration/Calibrator.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace llq;
using namespace llq::training;

bool training::isOfMethod(RotateOp rotate) {
  return !rotate->hasAttr(kKeepOriginalsAttr);
}

/// What a method has put in front of a layer is no part of the model.
static Value skipBasis(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    auto rotate = dyn_cast<RotateOp>(op);
    if (!(rotate && isOfMethod(rotate)) &&
        !isa<PermuteChannelsOp, QuantizeActivationOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// The hidden state that a layer behind a normalization, or none, reads.
static Value getHiddenState(Value value) {
  value = skipBasis(value);
  if (auto norm = value.getDefiningOp<RMSNormOp>())
    value = norm.getInput();
  return value;
}

SmallVector<DecoderBlock> training::getDecoderBlocks(func::FuncOp forward) {
  SmallVector<DecoderBlock> blocks;
  if (forward.getNumResults() == 0)
    return blocks;
  // What follows the last block: the head, or a model's result without one.
  Value end = forward.getBody().front().getTerminator()->getOperand(0);
  for (auto layer : forward.getOps<LinearOp>()) {
    StringRef name = getBlockName(layer);
    if (name.empty()) {
      end = layer.getInput();
      continue;
    }
    if (blocks.empty() || blocks.back().name != name)
      blocks.push_back({name, getHiddenState(layer.getInput()), {}, {}});
    blocks.back().layers.push_back(layer);
  }
  Value output = getHiddenState(end);
  for (DecoderBlock &block : llvm::reverse(blocks)) {
    block.output = output;
    output = block.input;
  }
  return blocks;
}

void training::restoreOriginals(func::FuncOp forward) {
  SmallVector<Operation *> ops;
  forward.walk([&](Operation *op) {
    if (op->hasAttr(kOriginalAttr))
      ops.push_back(op);
  });
  OpBuilder b(forward.getContext());
  for (Operation *op : ops) {
    b.setInsertionPoint(op);
    auto source = WeightOp::create(b, op->getLoc(),
                                   op->getAttrOfType<TypedAttr>(kOriginalAttr));
    auto layer = dyn_cast<LinearOp>(op);
    if (!layer) {
      cast<EmbeddingOp>(op).getTableMutable().assign(source);
      continue;
    }
    layer.getWeightMutable().assign(source);
    layer.getInputMutable().assign(skipBasis(layer.getInput()));
    Value result = layer.getResult();
    if (result.hasOneUse())
      if (auto rotate = dyn_cast<RotateOp>(*result.user_begin()))
        if (rotate.getTransposed() && isOfMethod(rotate))
          rotate.getResult().replaceAllUsesWith(result);
  }
}
