//===- VerifyStages.cpp - Check the normal form of each stage -------------===//
//
// Passes are written against these forms, not against each other: what holds
// here is not checked again, and what does not is reported here, by name.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace llq;

namespace llq {
#define GEN_PASS_DEF_VERIFYNORMALPASS
#define GEN_PASS_DEF_VERIFYQUANTIZEDPASS
#include "llq/Transforms/Passes.h.inc"
} // namespace llq

namespace {
enum class Stage { Normal, Quantized };

class StageVerifier {
public:
  StageVerifier(ModuleOp module, Stage stage) : module(module), stage(stage) {}

  LogicalResult run();

private:
  FailureOr<func::FuncOp> verifyInterface();
  LogicalResult verifyOp(Operation *op);
  LogicalResult verifyLinear(LinearOp op);
  LogicalResult verifyAttention(AttentionOp op);

  ModuleOp module;
  Stage stage;
  ArchitectureAttr architecture;
  llvm::StringMap<Location> layerNames;
  int64_t attentions = 0;
};
} // namespace

/// Checks the architecture and the signature of @forward.
FailureOr<func::FuncOp> StageVerifier::verifyInterface() {
  architecture = module->getAttrOfType<ArchitectureAttr>(kArchitectureAttr);
  if (!architecture)
    return module.emitError("module has no attribute ")
           << kArchitectureAttr << " of a model";
  auto forward = module.lookupSymbol<func::FuncOp>(kForwardName);
  if (!forward || !llvm::hasSingleElement(forward.getBody()))
    return module.emitError("module has no function @")
           << kForwardName << " of one block";

  Builder b(module.getContext());
  int64_t columns = architecture.getVocab() ? architecture.getVocab()
                                            : architecture.getHidden();
  Type ids = RankedTensorType::get({ShapedType::kDynamic}, b.getI32Type());
  Type result =
      RankedTensorType::get({ShapedType::kDynamic, columns}, b.getF32Type());
  FunctionType expected = b.getFunctionType({ids, b.getIndexType()}, {result});
  if (forward.getFunctionType() != expected)
    return forward.emitOpError("has type ")
           << forward.getFunctionType() << ", its architecture needs "
           << expected;
  return forward;
}

LogicalResult StageVerifier::verifyLinear(LinearOp op) {
  if (op.getName().empty())
    return op.emitOpError("has no name");
  auto [entry, isNew] = layerNames.try_emplace(op.getName(), op.getLoc());
  if (!isNew) {
    InFlightDiagnostic error = op.emitLayerError()
                               << "is not the only layer of "
                               << "this name";
    error.attachNote(entry->second) << "another one is here";
    return error;
  }
  if (isa<QuantizedType>(op.getInput().getType()) &&
      !isa<QuantizedType>(op.getWeight().getType()))
    return op.emitLayerError()
           << "has quantized activations and a weight that is not quantized";
  return success();
}

LogicalResult StageVerifier::verifyAttention(AttentionOp op) {
  if (int64_t(op.getLayer()) != attentions)
    return op.emitOpError("is the attention of layer ")
           << int64_t(op.getLayer()) << ", expected layer " << attentions;
  ++attentions;
  if (int64_t(op.getHeads()) != architecture.getHeads() ||
      int64_t(op.getKvHeads()) != architecture.getKvHeads() ||
      op.getHeadDim() != architecture.getHeadDim())
    return op.emitOpError("has ")
           << op.getHeads() << " heads and " << op.getKvHeads()
           << " kv_heads of " << op.getHeadDim() << ", the architecture has "
           << architecture.getHeads() << " and " << architecture.getKvHeads()
           << " of " << architecture.getHeadDim();
  return success();
}

LogicalResult StageVerifier::verifyOp(Operation *op) {
  if (auto linear = dyn_cast<LinearOp>(op))
    return verifyLinear(linear);
  if (auto attention = dyn_cast<AttentionOp>(op))
    return verifyAttention(attention);
  if (auto quantize = dyn_cast<QuantizeActivationOp>(op)) {
    if (stage == Stage::Normal)
      return op->emitOpError("does not belong to the normal form");
    for (Operation *user : quantize->getUsers())
      if (!isa<LinearOp>(user))
        return user->emitOpError("has quantized activations as input, only "
                                 "llq.linear may have them");
    return success();
  }
  if (isa<PermuteChannelsOp, RotateOp>(op) && stage == Stage::Quantized)
    return success();
  // Nothing else makes a weight, so every weight operand is one of the first
  // two.
  if (isa<WeightOp, QuantizedWeightOp, EmbeddingOp, RMSNormOp, PositionsOp,
          RotaryTableOp, RotaryLookupOp, RopeOp, SwiGLUOp, AddOp,
          func::ReturnOp>(op))
    return success();
  return op->emitOpError("does not belong to the ")
         << (stage == Stage::Normal ? "normal" : "quantized") << " form";
}

LogicalResult StageVerifier::run() {
  FailureOr<func::FuncOp> forward = verifyInterface();
  if (failed(forward))
    return failure();
  for (Operation &op : forward->getBody().front())
    if (failed(verifyOp(&op)))
      return failure();
  if (attentions != architecture.getLayers())
    return forward->emitOpError("has ")
           << attentions << " attentions, its architecture has "
           << architecture.getLayers() << " layers";
  return success();
}

namespace {
struct VerifyNormalPass : llq::impl::VerifyNormalPassBase<VerifyNormalPass> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    if (failed(StageVerifier(getOperation(), Stage::Normal).run()))
      signalPassFailure();
  }
};

struct VerifyQuantizedPass
    : llq::impl::VerifyQuantizedPassBase<VerifyQuantizedPass> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    if (failed(StageVerifier(getOperation(), Stage::Quantized).run()))
      signalPassFailure();
  }
};
} // namespace
