//===- CalibratedMethod.cpp - Methods that look at inputs -----------------===//
//
// Walks the sites of a model, gets statistics of their inputs, and quantizes
// their layers. What a method has made of a layer takes its place at once, at
// the end of its decoder block, or at the end of the model, depending on which
// inputs later layers are to see.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CheckpointKey.h"
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
  /// `getStatistics` is called once, if a layer is not finished already.
  using GetStatistics = function_ref<FailureOr<InputStatistics>()>;
  LogicalResult quantizeSite(const SiteWeights &site,
                             GetStatistics getStatistics);
  LogicalResult runWithStoredStatistics();
  LogicalResult runWithSamples(func::FuncOp forward);
  void applyPending();

  ModuleOp module;
  const WeightOptions &options;
  const CalibrationOptions &calibration;
  QuantizeLayerFn quantize;
  LayerRewriter rewriter;
  Checkpoints checkpoints;
  ThreadPool pool;
  SmallVector<SiteWeights> sites;
  SmallVector<const SelectedWeight *> tables;
  /// Of the site at hand (Calibrator::getKey).
  std::string inputsKey;
  SmallVector<std::pair<const SelectedWeight *, FinishedLayer>, 0> pending;
};
} // namespace

LogicalResult
CalibratedQuantizer::assignSites(func::FuncOp forward,
                                 ArrayRef<SelectedWeight> selection) {
  llvm::DenseMap<Operation *, const SelectedWeight *> byLayer;
  for (const SelectedWeight &selected : selection) {
    if (selected.findTable()) {
      tables.push_back(&selected);
      continue;
    }
    auto layer = cast<LinearOp>(selected.uses.front().op);
    if (failed(verifyIsIn(forward, layer)))
      return failure();
    byLayer[layer] = &selected;
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
    FailureOr<FinishedLayer> finished =
        rewriter.quantize(*selected, rewriter.getLayer(*selected), quantize);
    if (failed(finished))
      return failure();
    rewriter.replace(*selected, *finished);
  }
  return success();
}

LogicalResult CalibratedQuantizer::quantizeSite(const SiteWeights &site,
                                                GetStatistics getStatistics) {
  std::shared_ptr<const InputStatistics> shared;
  for (const SelectedWeight *selected : site.weights) {
    auto layer = cast<LinearOp>(selected->uses.front().op);
    FailureOr<std::string> key = getCheckpointKey(
        checkpoints, options, inputsKey, layer, selected->bits);
    if (failed(key))
      return failure();
    std::optional<FinishedLayer> known;
    if (DictionaryAttr stored = checkpoints.load(*key, module.getContext()))
      known = FinishedLayer::load(stored);
    if (known) {
      pending.push_back({selected, *known});
      continue;
    }
    if (!shared) {
      FailureOr<InputStatistics> statistics = getStatistics();
      if (failed(statistics))
        return failure();
      shared = std::make_shared<const InputStatistics>(std::move(*statistics));
    }
    FailureOr<FinishedLayer> finished = rewriter.quantize(
        *selected, rewriter.getLayer(*selected, shared), quantize);
    if (failed(finished))
      return failure();
    checkpoints.save(*key, finished->store(), layer);
    pending.push_back({selected, *finished});
  }
  return success();
}

void CalibratedQuantizer::applyPending() {
  for (auto &[selected, finished] : pending)
    rewriter.replace(*selected, finished);
  pending.clear();
}

LogicalResult CalibratedQuantizer::runWithStoredStatistics() {
  for (const SiteWeights &site : sites) {
    // Each layer carries its own; those of one site are the same.
    auto first = cast<LinearOp>(site.weights.front()->uses.front().op);
    if (failed(quantizeSite(site, [&] { return readStatistics(first); })))
      return failure();
  }
  applyPending();
  return success();
}

LogicalResult CalibratedQuantizer::runWithSamples(func::FuncOp forward) {
  auto created = Calibrator::create(forward, pool);
  if (failed(created))
    return failure();
  Calibrator &calibrator = **created;
  FailureOr<Checkpoints> opened = Checkpoints::open(module);
  if (failed(opened))
    return failure();
  checkpoints = std::move(*opened);

  bool quantized = calibration.inputs == CalibrationInputs::Quantized;
  bool byBlock = quantized && !calibration.trueSequential;
  Calibrator::State blockStart;
  std::optional<StringRef> block;
  for (const SiteWeights &site : sites) {
    bool newBlock = block != getBlockName(site.site);
    block = getBlockName(site.site);
    if (byBlock && newBlock && blockStart) {
      // The block that ends here runs once more, quantized.
      applyPending();
      calibrator.setState(std::move(blockStart));
    }
    if (failed(calibrator.moveTo(site.site)))
      return failure();
    if (byBlock && newBlock)
      blockStart = calibrator.getState();
    inputsKey = calibrator.getKey().str();
    if (failed(quantizeSite(site, [&] {
          return getInputStatistics(calibrator, {calibration.secondMoment,
                                                 calibration.sampleTokens,
                                                 calibration.firstTokenShare});
        })))
      return failure();
    if (quantized && !byBlock)
      applyPending();
  }
  // Original layers that samples have not yet run through stay until here.
  applyPending();
  return success();
}

LogicalResult CalibratedQuantizer::run() {
  if (module->hasAttr(kSketchAttr)) {
    noteSamplesOfSketch(module);
    return quantizeLayers(module, options, quantize);
  }
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
