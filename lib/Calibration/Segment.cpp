//===- Segment.cpp - Parts of a model as models of their own --------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Segment.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace llq;

/// Marks the ops that compute `value`, up to known values. Collects arguments
/// of the model.
static void markSlice(Value value, const llvm::SetVector<Value> &known,
                      llvm::DenseSet<Operation *> &ops,
                      llvm::DenseSet<Value> &used) {
  SmallVector<Value> worklist = {value};
  while (!worklist.empty()) {
    Value next = worklist.pop_back_val();
    Operation *op = next.getDefiningOp();
    if (known.contains(next) || !op)
      used.insert(next);
    else if (ops.insert(op).second)
      llvm::append_range(worklist, op->getOperands());
  }
}

Segment llq::extractSegment(func::FuncOp function,
                            const llvm::SetVector<Value> &known,
                            ArrayRef<Value> results) {
  llvm::DenseSet<Operation *> ops;
  llvm::DenseSet<Value> used;
  for (Value result : results)
    markSlice(result, known, ops, used);

  Segment segment;
  SmallVector<Value> arguments;
  for (BlockArgument argument : function.getArguments())
    if (used.contains(argument) && !known.contains(argument))
      arguments.push_back(argument);
  for (Value value : known)
    if (used.contains(value))
      segment.inputs.push_back(value);
  llvm::append_range(arguments, segment.inputs);

  OpBuilder b(function.getContext());
  segment.module = ModuleOp::create(b, function.getLoc());
  b.setInsertionPointToStart(segment.module->getBody());
  auto part = func::FuncOp::create(
      b, function.getLoc(), kForwardName,
      b.getFunctionType(TypeRange(arguments), TypeRange(results)));
  Block *body = part.addEntryBlock();
  b.setInsertionPointToStart(body);
  IRMapping mapping;
  mapping.map(arguments, body->getArguments());
  for (Operation &op : function.getBody().front())
    if (ops.contains(&op))
      b.clone(op, mapping);
  func::ReturnOp::create(
      b, function.getLoc(),
      llvm::map_to_vector(results, [&](Value v) { return mapping.lookup(v); }));
  return segment;
}

static void addLive(Value value, Operation *cut, llvm::SetVector<Value> &live) {
  Operation *op = value.getDefiningOp();
  if (!op || !op->isBeforeInBlock(cut))
    return;
  if (isa<WeightOp, QuantizedWeightOp, PositionsOp, RotaryTableOp,
          RotaryLookupOp>(op))
    return;
  if (isa<RMSNormOp, PermuteChannelsOp, QuantizeActivationOp>(op))
    return addLive(op->getOperand(0), cut, live);
  live.insert(value);
}

llvm::SetVector<Value> llq::getLiveActivations(Operation *cut) {
  llvm::SetVector<Value> live;
  for (Operation *op = cut; op; op = op->getNextNode())
    for (Value operand : op->getOperands())
      addLive(operand, cut, live);
  return live;
}
