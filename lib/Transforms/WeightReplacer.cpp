//===- WeightReplacer.cpp - Other weights in place of a model's -----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Transforms/WeightReplacer.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace llq;

TypedAttr WeightReplacer::getWeight(OpOperand &operand) {
  return operand.get().getDefiningOp<WeightOp>().getValue();
}

void WeightReplacer::replace(OpOperand &operand, TypedAttr value) {
  Operation *source = operand.get().getDefiningOp();
  OpBuilder b(source);
  auto weight = WeightOp::create(b, source->getLoc(), value);
  // Before the old one goes: they may share blobs.
  references.add(weight);
  operand.set(weight);
  if (source->use_empty())
    replaced.push_back(source);
}

WeightReplacer::~WeightReplacer() {
  for (Operation *source : replaced) {
    if (frees)
      references.erase(source);
    else
      source->erase();
  }
}
