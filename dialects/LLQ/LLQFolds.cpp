//===- LLQFolds.cpp - Folds of the llq ops --------------------------------===//
//
// A layer takes quantized operands as they are: to spell out their values in
// front of it changes nothing. Permutations compose.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"

#include "mlir/IR/Builders.h"

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

OpFoldResult PermuteChannelsOp::fold(FoldAdaptor) {
  auto order = getOrder().getValues<int32_t>();
  bool identity = llvm::all_of(llvm::enumerate(order), [](auto entry) {
    return int64_t(entry.value()) == int64_t(entry.index());
  });
  if (identity)
    return getInput();
  auto first = getInput().getDefiningOp<PermuteChannelsOp>();
  if (!first)
    return {};
  auto firstOrder = first.getOrder().getValues<int32_t>();
  auto composed = llvm::map_to_vector(
      order, [&](int32_t channel) { return firstOrder[channel]; });
  setOrderAttr(Builder(getContext()).getI32TensorAttr(composed));
  getInputMutable().assign(first.getInput());
  return getResult();
}
