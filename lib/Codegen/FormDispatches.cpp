//===- FormDispatches.cpp - Group ops that one kernel computes ------------===//
//
// Fusion is decided here, once, for every target: what stands in one
// `llq.region` is one kernel (or, for attention, two).
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"
#include "llq/Codegen/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llq;

namespace llq {
#define GEN_PASS_DEF_FORMDISPATCHESPASS
#include "llq/Codegen/Passes.h.inc"
} // namespace llq

namespace {

/// What two linear layers need in common to be one product: the input, the
/// columns and format of the weight, and whether there is a bias.
struct ProductKey {
  Value input;
  Attribute formatOrType;
  bool bias;
  bool operator==(const ProductKey &) const = default;
};

class Former {
public:
  explicit Former(Block &block) : block(block) {}
  void run();

private:
  void hoistWeights();
  void fuseGated();
  void fuseProducts();
  void fuseResiduals();
  void fuseRows();
  void formRow(Operation *last);
  void fuseAttention();
  void wrapRest();
  /// Moves `ops` (in block order) into one region in front of `position`.
  void form(ArrayRef<Operation *> ops, Operation *position);
  static bool isFree(Operation *op) {
    return op && isa<func::FuncOp>(op->getParentOp());
  }

  Block &block;
};

} // namespace

static ProductKey getProductKey(LinearOp op) {
  Type type = op.getWeight().getType();
  Attribute format;
  if (auto quantized = dyn_cast<QuantizedType>(type))
    format =
        cast<WeightFormatInterface>(quantized.getFormat()).getKernelFormat();
  else
    format = TypeAttr::get(cast<ShapedType>(type).getElementType());
  return {op.getInput(), format, bool(op.getBias())};
}

void Former::form(ArrayRef<Operation *> ops, Operation *position) {
  // Results that something outside the group uses.
  SmallVector<Value> results;
  for (Operation *op : ops)
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) {
            return !llvm::is_contained(ops, user);
          }))
        results.push_back(result);
  OpBuilder b(position);
  auto region = RegionOp::create(
      b, ops.back()->getLoc(),
      llvm::map_to_vector(results, [](Value v) { return v.getType(); }));
  Block *body = b.createBlock(&region.getBody());
  b.setInsertionPointToEnd(body);
  auto yield = YieldOp::create(b, region.getLoc(), results);
  for (auto [result, replacement] : llvm::zip(results, region.getResults()))
    result.replaceUsesWithIf(replacement, [&](OpOperand &use) {
      return use.getOwner() != yield &&
             !llvm::is_contained(ops, use.getOwner());
    });
  for (Operation *op : ops)
    op->moveBefore(yield);
}

/// Weights depend on nothing: at the top they never stand in the way.
void Former::hoistWeights() {
  Operation *first = &block.front();
  for (Operation &op : llvm::make_early_inc_range(block))
    if (isa<WeightOp, QuantizedWeightOp>(op))
      op.moveBefore(first);
}

void Former::fuseGated() {
  for (auto op : llvm::make_early_inc_range(block.getOps<SwiGLUOp>())) {
    auto gate = op.getGate().getDefiningOp<LinearOp>();
    auto up = op.getUp().getDefiningOp<LinearOp>();
    if (!gate || !up || gate == up || !gate->hasOneUse() || !up->hasOneUse() ||
        !isFree(gate) || !isFree(up) || gate.getBias() || up.getBias() ||
        !(getProductKey(gate) == getProductKey(up)))
      continue;
    Operation *first = gate->isBeforeInBlock(up) ? gate : up;
    form({gate, up, op}, first);
  }
}

/// Whether the result may be columns of a wider row, and the layer may be
/// computed where another one is.
static bool canShareProduct(LinearOp op) {
  auto isConstant = [](Value value) {
    return !value ||
           isa_and_nonnull<WeightOp, QuantizedWeightOp>(value.getDefiningOp());
  };
  return isConstant(op.getWeight()) && isConstant(op.getBias()) &&
         llvm::all_of(op->getUsers(), [](Operation *user) {
           return isa<RopeOp, AttentionOp, SwiGLUOp>(user);
         });
}

void Former::fuseProducts() {
  SmallVector<std::pair<ProductKey, SmallVector<Operation *>>> groups;
  for (auto op : block.getOps<LinearOp>()) {
    if (!canShareProduct(op))
      continue;
    ProductKey key = getProductKey(op);
    auto *group =
        llvm::find_if(groups, [&](auto &g) { return g.first == key; });
    if (group == groups.end()) {
      groups.push_back({key, {op}});
      continue;
    }
    group->second.push_back(op);
  }
  for (auto &[key, ops] : groups)
    if (ops.size() > 1)
      form(ops, ops.front());
}

void Former::fuseResiduals() {
  for (auto op : llvm::make_early_inc_range(block.getOps<AddOp>())) {
    for (Value operand : {op.getLhs(), op.getRhs()}) {
      auto linear = operand.getDefiningOp<LinearOp>();
      if (!linear || !linear->hasOneUse() || !isFree(linear))
        continue;
      form({linear, op}, op);
      break;
    }
  }
}

/// Place of `op` in what one kernel does to a row, 0 if it has none.
static int getRowStage(Operation *op) {
  return llvm::TypeSwitch<Operation *, int>(op)
      .Case([](RMSNormOp) { return 1; })
      .Case([](PermuteChannelsOp) { return 2; })
      .Case([](QuantizeActivationOp) { return 3; })
      .Default(0);
}

/// Forms a region of `last` and the stages in front of it that nothing else
/// reads.
void Former::formRow(Operation *last) {
  SmallVector<Operation *> ops = {last};
  while (Operation *op = ops.front()->getOperand(0).getDefiningOp()) {
    int stage = getRowStage(op);
    if (stage == 0 || stage >= getRowStage(ops.front()) || !op->hasOneUse() ||
        !isFree(op))
      break;
    ops.insert(ops.begin(), op);
  }
  form(ops, last);
}

void Former::fuseRows() {
  for (auto op :
       llvm::make_early_inc_range(block.getOps<QuantizeActivationOp>()))
    formRow(op);
  for (auto op : llvm::make_early_inc_range(block.getOps<PermuteChannelsOp>()))
    formRow(op);
}

void Former::fuseAttention() {
  for (auto op : llvm::make_early_inc_range(block.getOps<AttentionOp>())) {
    SmallVector<Operation *> ops;
    for (Value operand : {op.getQuery(), op.getKey()})
      if (auto rope = operand.getDefiningOp<RopeOp>();
          rope && rope->hasOneUse() && isFree(rope))
        ops.push_back(rope);
    // Both are rotated by the same table, or none is fused.
    if (ops.size() == 2 &&
        (cast<RopeOp>(ops[0]).getCos() != cast<RopeOp>(ops[1]).getCos() ||
         cast<RopeOp>(ops[0]).getInterleaved() !=
             cast<RopeOp>(ops[1]).getInterleaved()))
      ops.clear();
    ops.push_back(op);
    form(ops, op);
  }
}

void Former::wrapRest() {
  for (Operation &op : llvm::make_early_inc_range(block))
    if (!isa<WeightOp, QuantizedWeightOp, RegionOp>(op) &&
        !op.hasTrait<OpTrait::IsTerminator>())
      form({&op}, &op);
}

void Former::run() {
  hoistWeights();
  fuseGated();
  fuseProducts();
  fuseResiduals();
  fuseRows();
  fuseAttention();
  wrapRest();
}

namespace {
struct FormDispatchesPass
    : llq::impl::FormDispatchesPassBase<FormDispatchesPass> {
  void runOnOperation() override {
    auto forward = getOperation().lookupSymbol<func::FuncOp>(kForwardName);
    if (!forward || !llvm::hasSingleElement(forward.getBody())) {
      getOperation().emitError("has no function @forward of one block");
      return signalPassFailure();
    }
    Former(forward.getBody().front()).run();
  }
};
} // namespace
