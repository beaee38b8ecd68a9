//===- ONNXToLLQ.cpp - Raise an imported ONNX graph to normal form --------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Conversion/Passes.h"

#include "Decoder.h"
#include "Emit.h"
#include "LengthProbe.h"
#include "RotaryModel.h"

#include "dialects/LLQ/LLQ.h"
#include "llq/Import/ONNX.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

namespace llq {
#define GEN_PASS_DEF_CONVERTONNXTOLLQPASS
#define GEN_PASS_REGISTRATION
#include "llq/Conversion/Passes.h.inc"
} // namespace llq

using namespace mlir;
using namespace llq;
using namespace llq::raise;

/// Longest sequence of a model that does not say; that of Llama 3.
static constexpr int64_t kDefaultContext = 8192;

namespace {
struct ConvertONNXToLLQPass
    : llq::impl::ConvertONNXToLLQPassBase<ConvertONNXToLLQPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto graph = module.lookupSymbol<func::FuncOp>(kGraphName);
    if (!graph || graph.isExternal() || !graph.getBody().hasOneBlock()) {
      emitError(module.getLoc()) << "has no imported graph '" << kGraphName
                                 << "': import an ONNX file first";
      return signalPassFailure();
    }
    if (failed(convert(module, graph)))
      signalPassFailure();
  }

  LogicalResult convert(ModuleOp module, func::FuncOp graph);
};
} // namespace

/// Reports why the graph cannot be raised; names the node.
static LogicalResult report(func::FuncOp graph, Operation *op,
                            StringRef message) {
  if (!op) {
    InFlightDiagnostic error = emitError(graph.getLoc()) << message;
    // Operators that are not known stand in the way as well.
    graph.walk([&](onnx::CustomOp custom) {
      error << "; node '" << onnx::getNodeName(custom) << "' is a "
            << custom.getDomain() << "." << custom.getOpType()
            << ", which LLQ does not know";
      return WalkResult::interrupt();
    });
    return error;
  }
  return emitError(op->getLoc())
         << "node '" << onnx::getNodeName(op) << "' ("
         << onnx::getOperatorName(op) << ") " << message;
}

LogicalResult ConvertONNXToLLQPass::convert(ModuleOp module,
                                            func::FuncOp graph) {
  int64_t wanted = context;
  if (wanted < 0)
    return emitError(module.getLoc()) << "option context is negative";
  WeightReader reader;
  RaisedGraph raised = raiseDecoder(graph, reader);
  if (!raised.result.decoder)
    return report(graph, raised.result.reason.op, raised.result.reason.message);
  const Decoder &decoder = *raised.result.decoder;
  Result<RotaryModel> rotary = findRotaryModel(
      decoder.rotation, decoder.headDim, raised.vectors, graph, reader);
  if (!rotary)
    return report(graph, nullptr, "the graph " + rotary.message());
  if (std::optional<Reason> reason =
          probeLengths(graph, raised, *rotary, reader))
    return report(graph, reason->op, reason->message);
  if (wanted == 0)
    wanted = rotary->tableSize ? rotary->tableSize : kDefaultContext;
  // Only positions that a table has can be looked up.
  if (rotary->frequencies.empty() && wanted > rotary->tableSize)
    return emitError(graph.getLoc())
           << "holds rotary tables for " << rotary->tableSize
           << " positions, a context of " << wanted << " is asked for";
  if (llvm::Error error = emitDecoder(module, decoder, *rotary, wanted, reader))
    return emitError(graph.getLoc()) << llvm::toString(std::move(error));

  // Free what normal form does not refer to.
  llvm::DenseSet<Attribute> kept;
  auto collect = [&](Attribute attr) {
    if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr))
      kept.insert(StringAttr::get(module.getContext(),
                                  resource.getRawHandle().getKey()));
  };
  SmallVector<TypedAttr> constants;
  module.walk([&](Operation *op) {
    if (auto weight = dyn_cast<WeightOp>(op))
      collect(weight.getValue());
    else if (auto quantized = dyn_cast<QuantizedWeightOp>(op))
      for (NamedAttribute component : quantized.getComponents())
        collect(component.getValue());
    else if (auto constant = dyn_cast<onnx::ConstantOp>(op))
      constants.push_back(constant.getValue());
  });
  graph.erase();
  for (TypedAttr constant : constants)
    if (auto resource = dyn_cast<DenseResourceElementsAttr>(constant);
        resource && !kept.contains(StringAttr::get(
                        module.getContext(), resource.getRawHandle().getKey())))
      releaseWeight(constant);
  return success();
}

void llq::buildNormalizePipeline(OpPassManager &manager,
                                 const NormalizeOptions &options) {
  ConvertONNXToLLQPassOptions convert;
  convert.context = options.context;
  manager.addPass(createConvertONNXToLLQPass(convert));
}

void llq::registerONNXToLLQPasses() {
  registerLLQConversionPasses();
  PassPipelineRegistration<NormalizeOptions>(
      "llq-normalize-pipeline", "From an imported graph to llq normal form",
      buildNormalizePipeline);
}
