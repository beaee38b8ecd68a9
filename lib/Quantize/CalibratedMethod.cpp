//===- CalibratedMethod.cpp - Methods that look at inputs -----------------===//
//
// Walks the sites of a model, gets statistics of their inputs, and quantizes
// their layers. What a method has made of a layer takes its place at once, at
// the end of its decoder block, or when the next site has been reached,
// depending on which inputs later layers are to see.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LayerRewriter.h"

#include "llq/Calibration/CollectStatistics.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"

using namespace mlir;
using namespace llq;

namespace {
/// A selected weight and the site of the layer that it is quantized for.
struct SiteWeights {
  Site site;
  SmallVector<const SelectedWeight *, 3> weights;
};

class CalibratedQuantizer {
public:
  CalibratedQuantizer(ModuleOp module, const WeightOptions &options,
                      const CalibrationOptions &calibration,
                      QuantizeLayerFn quantize)
      : module(module), options(options), calibration(calibration),
        quantize(quantize), rewriter(module, options),
        pool(module.getContext()->getNumThreads()) {}

  LogicalResult run();

private:
  /// Sites with something to quantize; `tables` are the other weights.
  LogicalResult assignSites(func::FuncOp forward,
                            ArrayRef<SelectedWeight> selection);
  LogicalResult quantizeTables();
  LogicalResult quantizeSite(const SiteWeights &site,
                             InputStatistics &&statistics);
  LogicalResult runWithStoredStatistics();
  LogicalResult runWithSamples(func::FuncOp forward);
  LogicalResult applyPending();

  ModuleOp module;
  const WeightOptions &options;
  const CalibrationOptions &calibration;
  QuantizeLayerFn quantize;
  LayerRewriter rewriter;
  ThreadPool pool;
  SmallVector<SiteWeights> sites;
  SmallVector<const SelectedWeight *> tables;
  SmallVector<std::pair<const SelectedWeight *, QuantizedWeight>, 0> pending;
};
} // namespace

LogicalResult
CalibratedQuantizer::assignSites(func::FuncOp forward,
                                 ArrayRef<SelectedWeight> selection) {
  llvm::DenseMap<Operation *, const SelectedWeight *> byLayer;
  for (const SelectedWeight &selected : selection) {
    // A table has no inputs to weigh its errors with.
    bool isTable = llvm::any_of(selected.uses, [](const WeightUse &use) {
      return isa<EmbeddingOp>(use.op);
    });
    if (isTable)
      tables.push_back(&selected);
    else if (Operation *layer = selected.uses.front().op;
             layer->getBlock() == &forward.getBody().front())
      byLayer[layer] = &selected;
    else
      return rewriter.getLayer(selected).emitError()
             << "is not in @" << kForwardName
             << ", only layers that a model runs through can be calibrated";
  }
  for (Site &site : getSites(forward)) {
    SiteWeights weights{site, {}};
    for (LinearOp layer : site.layers)
      if (const SelectedWeight *selected = byLayer.lookup(layer))
        weights.weights.push_back(selected);
    if (!weights.weights.empty())
      sites.push_back(std::move(weights));
  }
  return success();
}

LogicalResult CalibratedQuantizer::quantizeTables() {
  for (const SelectedWeight *selected : tables) {
    FailureOr<QuantizedWeight> weight = quantize(rewriter.getLayer(*selected));
    if (failed(weight) || failed(rewriter.replace(*selected, *weight)))
      return failure();
  }
  return success();
}

LogicalResult CalibratedQuantizer::quantizeSite(const SiteWeights &site,
                                                InputStatistics &&statistics) {
  auto shared = std::make_shared<const InputStatistics>(std::move(statistics));
  for (const SelectedWeight *selected : site.weights) {
    FailureOr<QuantizedWeight> weight =
        quantize(rewriter.getLayer(*selected, shared));
    if (failed(weight))
      return failure();
    pending.push_back({selected, std::move(*weight)});
  }
  return success();
}

LogicalResult CalibratedQuantizer::applyPending() {
  for (auto &[selected, weight] : pending)
    if (failed(rewriter.replace(*selected, weight)))
      return failure();
  pending.clear();
  return success();
}

LogicalResult CalibratedQuantizer::runWithStoredStatistics() {
  for (const SiteWeights &site : sites) {
    // Each layer carries its own; those of one site are the same.
    FailureOr<InputStatistics> statistics =
        readStatistics(cast<LinearOp>(site.weights.front()->uses.front().op));
    if (failed(statistics) ||
        failed(quantizeSite(site, std::move(*statistics))) ||
        failed(applyPending()))
      return failure();
  }
  return success();
}

LogicalResult CalibratedQuantizer::runWithSamples(func::FuncOp forward) {
  FailureOr<Samples> samples = getSamples(module);
  if (failed(samples))
    return failure();
  Calibrator calibrator(forward, *samples, pool);
  bool quantized = calibration.inputs == CalibrationInputs::Quantized;
  bool byBlock = quantized && !calibration.trueSequential;
  Calibrator::State blockStart;
  std::optional<StringRef> block;
  for (const SiteWeights &site : sites) {
    bool newBlock = block != getBlockName(site.site);
    block = getBlockName(site.site);
    if (byBlock && newBlock && blockStart) {
      // The block that ends here runs once more, quantized.
      if (failed(applyPending()))
        return failure();
      calibrator.setState(std::move(blockStart));
    }
    FailureOr<InputStatistics> statistics = collectStatistics(
        calibrator, site.site, calibration.secondMoment, pool);
    if (failed(statistics))
      return failure();
    if (byBlock && newBlock)
      blockStart = calibrator.getState();
    // The model has left the layers that are pending as they were.
    if (!quantized && failed(applyPending()))
      return failure();
    if (failed(quantizeSite(site, std::move(*statistics))))
      return failure();
    if (quantized && !byBlock && failed(applyPending()))
      return failure();
  }
  return applyPending();
}

LogicalResult CalibratedQuantizer::run() {
  if (module->hasAttr(kSketchAttr))
    return quantizeLayers(module, options, quantize);
  FailureOr<func::FuncOp> forward = getForward(module);
  if (failed(forward))
    return failure();
  FailureOr<SmallVector<SelectedWeight>> selection =
      selectWeights(module, options);
  if (failed(selection))
    return failure();
  if (failed(assignSites(*forward, *selection)))
    return failure();
  // Quantized inputs begin with the quantized embedding.
  bool tablesFirst = calibration.inputs == CalibrationInputs::Quantized;
  if (tablesFirst && failed(quantizeTables()))
    return failure();
  // Statistics of tests and of llq-attach-stats are in the layers; without
  // layers there is nothing to run for.
  bool stored = llvm::all_of(sites, [](const SiteWeights &site) {
    return site.weights.front()->uses.front().op->hasAttr(kStatsAttr);
  });
  if (failed(stored ? runWithStoredStatistics() : runWithSamples(*forward)))
    return failure();
  return tablesFirst ? success() : quantizeTables();
}

LogicalResult
llq::quantizeCalibratedLayers(ModuleOp module, const WeightOptions &options,
                              const CalibrationOptions &calibration,
                              QuantizeLayerFn quantize) {
  return CalibratedQuantizer(module, options, calibration, quantize).run();
}
