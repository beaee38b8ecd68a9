//===- Activations.cpp - Integer activations ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/Globs.h"

#include "llq/Calibration/CollectStatistics.h"
#include "llq/Numerics/ActivationGrid.h"
#include "llq/Quantize/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DEF_QUANTIZEACTIVATIONSPASS
#include "lib/Quantize/Activations.h.inc"

namespace {

constexpr StringLiteral kCategory = "llq-quantize-activations";

/// Below it, largest inputs are far from those of other texts: on the bundled
/// model, perplexity is 1177 after 1 token, 113 after 8, and 109 from 16 on.
constexpr int64_t kLeastTokens = 16;

struct QuantizeActivationsPass
    : impl::QuantizeActivationsPassBase<QuantizeActivationsPass> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override {
    Base::getDependentDialects(registry);
    registerCalibrationDialects(registry);
  }

  void runOnOperation() override {
    if (failed(quantize()))
      signalPassFailure();
  }

private:
  using Layers = SmallVector<LinearOp>;

  InFlightDiagnostic emitOptionError() {
    return getOperation().emitError(kCategory) << ": ";
  }
  LogicalResult quantize();
  /// The layers that the options choose, in network order.
  FailureOr<Layers> selectLayers();
  /// The format of each input of `layers`.
  LogicalResult chooseFormats(ArrayRef<LinearOp> layers);
  FailureOr<Attribute> getStaticFormat(FailureOr<InputStatistics> statistics);
  LogicalResult calibrate(ArrayRef<LinearOp> layers);

  llvm::DenseMap<Value, Attribute> formats;
};

} // namespace

FailureOr<QuantizeActivationsPass::Layers>
QuantizeActivationsPass::selectLayers() {
  auto emitError = [&] { return emitOptionError(); };
  Globs onlyGlobs("only"), exceptGlobs("except");
  if (failed(onlyGlobs.compile(llvm::to_vector(only), emitError)) ||
      failed(exceptGlobs.compile(llvm::to_vector(except), emitError)))
    return failure();
  Layers layers;
  // Every glob meets every layer, so that one which matches none is found.
  auto visit = [&](LinearOp op) -> LogicalResult {
    bool named = onlyGlobs.match(op.getName());
    bool excluded = exceptGlobs.match(op.getName());
    bool chosen = onlyGlobs.empty() ? op.getName() != kHeadName : named;
    bool quantizable = isa<QuantizedType>(op.getWeight().getType());
    if (named && !excluded && !quantizable) {
      InFlightDiagnostic error = op.emitLayerError()
                                 << "has a weight that is not quantized";
      error.attachNote() << "integer products need quantized weights: put a "
                            "method that quantizes it, such as rtn, in front "
                            "of activations";
      return error;
    }
    if (!chosen || excluded || !quantizable) {
      remark::missed(
          op.getLoc(),
          remark::RemarkOpts::name("NotQuantized").category(kCategory))
          << remark::metric("Layer", op.getName())
          << remark::reason("its inputs stay f32");
      return success();
    }
    if (auto type = dyn_cast<QuantizedType>(op.getInput().getType())) {
      InFlightDiagnostic error = op.emitLayerError()
                                 << "has quantized inputs already, as "
                                 << type.getFormat();
      error.attachNote() << "exclude it with except=" << op.getName();
      return error;
    }
    layers.push_back(op);
    return success();
  };
  auto result = getOperation().walk([&](LinearOp op) {
    return failed(visit(op)) ? WalkResult::interrupt() : WalkResult::advance();
  });
  if (result.wasInterrupted() || failed(onlyGlobs.checkAllMatched(emitError)) ||
      failed(exceptGlobs.checkAllMatched(emitError)))
    return failure();
  if (layers.empty()) {
    InFlightDiagnostic error = emitOptionError()
                               << "found no layer with a quantized weight";
    error.attachNote() << "quantize weights first, as in 'rtn(bits=8,"
                          "group-size=0,scheme=signed) activations(bits=8)'";
    return error;
  }
  return layers;
}

FailureOr<Attribute> QuantizeActivationsPass::getStaticFormat(
    FailureOr<InputStatistics> statistics) {
  if (failed(statistics))
    return failure();
  if (statistics->tokens < kLeastTokens) {
    InFlightDiagnostic error = emitOptionError()
                               << "per=tensor needs at least " << kLeastTokens
                               << " calibration tokens, found "
                               << statistics->tokens;
    error.attachNote() << "give more or longer samples, or per=token";
    return error;
  }
  int64_t width = bits;
  float absMax = *llvm::max_element(statistics->absMax);
  Builder b(&getContext());
  return Attribute(StaticAttr::get(
      &getContext(), width,
      b.getF32FloatAttr(numerics::activationScale(absMax, unsigned(width)))));
}

/// Static scales from the module's samples, run through the model as it is.
LogicalResult QuantizeActivationsPass::calibrate(ArrayRef<LinearOp> layers) {
  ModuleOp module = getOperation();
  FailureOr<func::FuncOp> forward = getForward(module);
  if (failed(forward))
    return failure();
  for (LinearOp layer : layers)
    if (failed(verifyIsIn(*forward, layer)))
      return failure();
  ThreadPool pool(module.getContext()->getNumThreads());
  auto calibrator = Calibrator::create(*forward, pool);
  if (failed(calibrator))
    return failure();
  for (const Site &site : getSites(*forward)) {
    if (!llvm::any_of(site.layers, [&](LinearOp layer) {
          return llvm::is_contained(layers, layer);
        }))
      continue;
    FailureOr<Attribute> format =
        getStaticFormat(collectStatistics(**calibrator, site, {}));
    if (failed(format))
      return failure();
    formats[site.input] = *format;
  }
  return success();
}

LogicalResult
QuantizeActivationsPass::chooseFormats(ArrayRef<LinearOp> layers) {
  int64_t width = bits;
  // A dry run has no inputs: any scale takes as much room.
  bool sketch = getOperation()->hasAttr(kSketchAttr);
  if (per == ActivationScale::Token || sketch) {
    Attribute format = DynamicAttr::get(&getContext(), width, /*group=*/0);
    if (per == ActivationScale::Tensor) {
      format = StaticAttr::get(&getContext(), width,
                               Builder(&getContext()).getF32FloatAttr(1));
      noteSamplesOfSketch(getOperation());
    }
    for (LinearOp layer : layers)
      formats[layer.getInput()] = format;
    return success();
  }
  // Statistics of tests and of llq-attach-stats are in the layers; those of
  // layers that read the same are the same.
  llvm::DenseMap<Value, LinearOp> carriers;
  for (LinearOp layer : layers)
    if (layer->hasAttr(kStatsAttr))
      carriers.try_emplace(layer.getInput(), layer);
  bool stored = llvm::all_of(layers, [&](LinearOp layer) {
    return carriers.contains(layer.getInput());
  });
  if (!stored)
    return calibrate(layers);
  for (LinearOp layer : layers) {
    Attribute &format = formats[layer.getInput()];
    if (format)
      continue;
    FailureOr<Attribute> chosen =
        getStaticFormat(readStatistics(carriers.lookup(layer.getInput())));
    if (failed(chosen))
      return failure();
    format = *chosen;
  }
  return success();
}

LogicalResult QuantizeActivationsPass::quantize() {
  formats.clear();
  FailureOr<Layers> layers = selectLayers();
  if (failed(layers) || failed(chooseFormats(*layers)))
    return failure();
  // One for each value and block, in front of the first layer that reads it.
  llvm::DenseMap<std::pair<Value, Block *>, Value> quantized;
  for (LinearOp op : *layers) {
    Value &input = quantized[{op.getInput(), op->getBlock()}];
    if (!input) {
      OpBuilder builder(op);
      int64_t columns = cast<ShapedType>(op.getInput().getType()).getDimSize(1);
      input = QuantizeActivationOp::create(
          builder, op.getLoc(),
          QuantizedType::get(&getContext(), {ShapedType::kDynamic, columns},
                             formats.lookup(op.getInput())),
          op.getInput());
    }
    op.getInputMutable().assign(input);
  }
  return success();
}

} // namespace llq
