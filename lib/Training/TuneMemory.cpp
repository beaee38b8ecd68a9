//===- TuneMemory.cpp - What training the scales takes --------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Training/TuneMemory.h"

#include "llq/Training/DecoderBlocks.h"

using namespace mlir;
using namespace llq;
using namespace llq::training;

static int64_t getColumns(Value activation) {
  auto type = dyn_cast<ShapedType>(activation.getType());
  return type && type.getRank() == 2 ? type.getDimSize(1) : 0;
}

/// Of a block: its weights, their gradients and what codes may follow, and for
/// each token of a sample all that is computed, with gradients.
static int64_t getBlockBytes(const DecoderBlock &block, int64_t longest) {
  int64_t weights = 0, columns = getColumns(block.input);
  for (LinearOp layer : block.layers)
    weights += getColumns(layer.getResult()) * getColumns(layer.getInput());
  for (Operation *op = block.layers.front();
       op && op != block.output.getDefiningOp(); op = op->getNextNode())
    if (!isa<WeightOp, QuantizedWeightOp>(op))
      for (Value result : op->getResults())
        columns += getColumns(result);
  return (3 * weights + 2 * columns * longest) * int64_t(sizeof(float));
}

CalibrationBytes llq::getTuneBytes(func::FuncOp forward, int64_t tokens,
                                   int64_t longest) {
  SmallVector<DecoderBlock> blocks = getDecoderBlocks(forward);
  if (blocks.empty())
    return {};
  int64_t most = 0;
  for (const DecoderBlock &block : blocks)
    most = std::max(most, getBlockBytes(block, longest));
  // Inputs and targets; one may be in a file and the other not.
  int64_t one =
      tokens * getColumns(blocks.front().input) * int64_t(sizeof(float));
  int64_t budget = CalibratorOptions().memoryBudget;
  int64_t inMemory = (one <= budget ? one : 0) + (2 * one <= budget ? one : 0);
  return {inMemory + most, 2 * one - inMemory};
}
