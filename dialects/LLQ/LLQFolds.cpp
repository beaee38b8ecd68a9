//===- LLQFolds.cpp - Folds of the llq ops --------------------------------===//
//
// A layer takes quantized operands as they are: to spell out their values in
// front of it changes nothing.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"

using namespace mlir;
using namespace llq;

/// Replaces an operand `llq.dequantize(q)` by `q`.
static bool foldDequantize(OpOperand &operand) {
  auto dequantize = operand.get().getDefiningOp<DequantizeOp>();
  if (!dequantize)
    return false;
  operand.set(dequantize.getInput());
  return true;
}

OpFoldResult LinearOp::fold(FoldAdaptor) {
  bool folded = foldDequantize(getInputMutable());
  folded |= foldDequantize(getWeightMutable());
  return folded ? getResult() : Value();
}

OpFoldResult EmbeddingOp::fold(FoldAdaptor) {
  return foldDequantize(getTableMutable()) ? getResult() : Value();
}
