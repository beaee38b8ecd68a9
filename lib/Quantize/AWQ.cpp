//===- AWQ.cpp - Scales and clip bounds from activations ------------------===//
//
// Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression
// and Acceleration", arXiv 2306.00978. The maths, and where it departs from the
// authors' code, is in llq/Numerics/AWQ.h.
//
// A block's weights become scaled and clipped ones once the samples have left
// the block, so that they run through the model as it was. Rounding comes last.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "AWQ.h"
#include "Selection.h"

#include "llq/Calibration/CollectStatistics.h"
#include "llq/Numerics/AWQ.h"
#include "llq/Quantize/UniformWeight.h"
#include "llq/Transforms/FoldScales.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZEAWQPASS
#define GEN_PASS_DEF_QUANTIZEAWQPASS
#include "lib/Quantize/AWQ.h.inc"

namespace {
struct AWQOptions {
  bool scaleSearch, clipSearch, gqa, rounds;
  int64_t sampleTokens;
};

/// A site, those of its layers that are quantized, and what is known of it.
struct AWQSite {
  Site site;
  SmallVector<LinearOp, 3> layers;
  InputStatistics inputs;
  std::vector<float> scales; ///< empty: all 1
};

/// What the search found, for the record of a layer.
struct Found {
  double alpha = 0, costRatio = 1;
};

class AWQ {
public:
  AWQ(ModuleOp module, func::FuncOp forward, const WeightOptions &options,
      const AWQOptions &search)
      : module(module), forward(forward), options(options), search(search),
        folder(module), pool(module.getContext()->getNumThreads()) {}

  /// Puts scaled and clipped weights in place of the chosen ones.
  LogicalResult run();

  Found getFound(StringRef layer) const { return found.lookup(layer); }

private:
  SmallVector<AWQSite> getChosenSites(ArrayRef<SelectedWeight> selection);
  LogicalResult finishBlock();
  LogicalResult searchScales(AWQSite &site);
  LogicalResult clip(const AWQSite &site, LinearOp layer);
  FailureOr<std::vector<float>> read(LinearOp layer);

  ModuleOp module;
  func::FuncOp forward;
  const WeightOptions &options;
  AWQOptions search;
  ScaleFolder folder;
  ThreadPool pool;
  WeightReader reader;
  SmallVector<AWQSite> block; ///< the sites of the present block
  llvm::StringMap<Found> found;
};
} // namespace

static InFlightDiagnostic emitLayerError(LinearOp layer) {
  return layer.emitOpError("\"") << layer.getName() << "\" ";
}

/// Whether `layer` makes the queries or keys of attention.
static bool isQueryOrKey(LinearOp layer) {
  return llvm::any_of(layer->getUses(), [](OpOperand &use) {
    auto attention = dyn_cast<AttentionOp>(use.getOwner());
    return isa<RopeOp>(use.getOwner()) ||
           (attention && use.get() != attention.getValue());
  });
}

/// How many heads of queries in front of `site` share one of values.
static int64_t getSharing(const Site &site) {
  auto attention = site.input.getDefiningOp<AttentionOp>();
  return attention ? attention.getHeads() / attention.getKvHeads() : 1;
}

static numerics::OutputMetric getMetric(const InputStatistics &inputs) {
  int64_t channels = inputs.absMax.size();
  return inputs.inputs.empty()
             ? numerics::OutputMetric::ofSecondMoment(inputs.secondMoment,
                                                      channels)
             : numerics::OutputMetric::ofInputs(inputs.inputs, channels);
}

/// The weights of `layer` as they are by now.
FailureOr<std::vector<float>> AWQ::read(LinearOp layer) {
  LinearLayer source(layer, layer.getName(),
                     layer.getWeight().getDefiningOp<WeightOp>().getValue(),
                     options.grid, reader);
  std::vector<float> weights(source.getRows() * source.getColumns());
  if (llvm::Error error = source.readRows(0, source.getRows(), weights))
    return source.emitError() << llvm::toString(std::move(error));
  return weights;
}

LogicalResult AWQ::searchScales(AWQSite &site) {
  int64_t sharing = getSharing(site.site);
  if (!isFoldable(site.site) || (sharing != 1 && !search.gqa)) {
    LinearOp first = site.layers.front();
    remark::missed(
        first.getLoc(),
        remark::RemarkOpts::name("NotScaled").category("llq-quantize-awq"))
        << remark::metric("Layer", first.getName())
        << remark::reason("what is in front of it cannot take the division");
    return success();
  }
  std::vector<std::vector<float>> weights;
  SmallVector<numerics::SiteLayer, 3> layers;
  int64_t columns = site.inputs.absMax.size();
  for (LinearOp layer : site.layers) {
    FailureOr<std::vector<float>> values = read(layer);
    if (failed(values))
      return failure();
    layers.push_back({values->data(), int64_t(values->size()) / columns});
    weights.push_back(std::move(*values));
  }
  // One scale for each channel of a head of values, whoever reads it.
  int64_t headSize = columns;
  if (sharing != 1)
    headSize = site.site.input.getDefiningOp<AttentionOp>().getHeadDim();
  auto repeat = [&](std::span<const float> scales) {
    return numerics::repeatHeads(scales, headSize, sharing);
  };
  numerics::OutputMetric metric = getMetric(site.inputs);
  numerics::AWQScales best = numerics::searchAWQScales(
      numerics::meanOverSharedHeads(site.inputs.meanAbs, headSize, sharing),
      [&](std::span<const float> scales) {
        return numerics::awqCost(layers, repeat(scales), metric, options.grid,
                                 pool);
      });
  double cost = *llvm::min_element(best.costs);
  for (LinearOp layer : site.layers)
    found[layer.getName()] = {best.alpha,
                              best.costs[0] > 0 ? cost / best.costs[0] : 1.0};
  if (best.alpha > 0)
    site.scales = repeat(best.scales);
  return success();
}

LogicalResult AWQ::clip(const AWQSite &site, LinearOp layer) {
  FailureOr<std::vector<float>> weights = read(layer);
  if (failed(weights))
    return failure();
  int64_t columns = site.inputs.absMax.size();
  int64_t rows = weights->size() / columns;
  std::vector<float> bounds(rows * options.grid.groupsPerRow(columns));
  numerics::searchAWQClip(weights->data(), rows, site.scales,
                          getMetric(site.inputs), options.grid, bounds.data(),
                          pool);
  folder.clip(layer, bounds, options.grid.groupSize);
  return success();
}

/// Scales and clips the layers of the present block, which samples have left.
LogicalResult AWQ::finishBlock() {
  if (search.scaleSearch)
    for (AWQSite &site : block)
      if (failed(searchScales(site)))
        return failure();
  for (AWQSite &site : block)
    if (!site.scales.empty() && failed(folder.fold(site.site, site.scales)))
      return failure();
  if (search.clipSearch)
    for (AWQSite &site : block)
      for (LinearOp layer : site.layers)
        if (!isQueryOrKey(layer) && failed(clip(site, layer)))
          return failure();
  block.clear();
  reader.release();
  return success();
}

SmallVector<AWQSite> AWQ::getChosenSites(ArrayRef<SelectedWeight> selection) {
  llvm::DenseSet<Operation *> chosen;
  for (const SelectedWeight &selected : selection)
    for (const WeightUse &use : selected.uses)
      chosen.insert(use.op);
  SmallVector<AWQSite> sites;
  for (Site &site : getSites(forward)) {
    AWQSite result{site, {}, {}, {}};
    for (LinearOp layer : site.layers)
      if (chosen.contains(layer) && layer.getName() != kHeadName)
        result.layers.push_back(layer);
    if (!result.layers.empty())
      sites.push_back(std::move(result));
  }
  return sites;
}

LogicalResult AWQ::run() {
  FailureOr<SmallVector<SelectedWeight>> selection =
      selectWeights(module, options, /*report=*/!search.rounds);
  if (failed(selection))
    return failure();
  SmallVector<AWQSite> sites = getChosenSites(*selection);
  bool stored = !sites.empty() && llvm::all_of(sites, [](AWQSite &site) {
    return site.layers.front()->hasAttr(kStatsAttr);
  });
  FailureOr<Samples> samples = Samples();
  std::optional<Calibrator> calibrator;
  if (!stored && !sites.empty()) {
    samples = getSamples(module);
    if (failed(samples))
      return failure();
    calibrator.emplace(forward, *samples, pool);
  }
  std::optional<StringRef> name;
  for (AWQSite &site : sites) {
    LinearOp first = site.layers.front();
    int64_t columns =
        cast<ShapedType>(first.getWeight().getType()).getDimSize(1);
    bool all = columns <= search.sampleTokens;
    FailureOr<InputStatistics> inputs =
        stored ? readStatistics(first)
               : collectStatistics(*calibrator, site.site, all, pool,
                                   all ? 0 : search.sampleTokens);
    if (failed(inputs))
      return failure();
    if (inputs->inputs.empty() && inputs->secondMoment.empty())
      return emitLayerError(first)
             << "has no second moment of its inputs, awq needs one";
    site.inputs = std::move(*inputs);
    StringRef blockName = getBlockName(site.site);
    if (name && *name != blockName && failed(finishBlock()))
      return failure();
    name = blockName;
    block.push_back(std::move(site));
  }
  return finishBlock();
}

namespace {
struct QuantizeAWQPass : impl::QuantizeAWQPassBase<QuantizeAWQPass> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override {
    registerCalibrationDialects(registry);
  }

  void runOnOperation() override {
    if (failed(quantize(getOperation())))
      signalPassFailure();
  }

  LogicalResult quantize(ModuleOp module) {
    FailureOr<WeightOptions> weights = getWeightOptions(*this, module);
    if (failed(weights))
      return failure();
    AWQRounding after = rounding;
    if (after == AWQRounding::None &&
        (weights->embeddingBits || weights->headBits))
      return emitError(module.getLoc(),
                       "llq-quantize-awq: rounding=none rounds neither the "
                       "embedding nor the head, give embedding-bits and "
                       "head-bits to the method that follows");
    if (module->hasAttr(kSketchAttr))
      return after == AWQRounding::None
                 ? success()
                 : quantizeLayers(module, *weights, roundToNearest);
    FailureOr<func::FuncOp> forward = getForward(module);
    if (failed(forward))
      return failure();
    AWQ awq(module, *forward, *weights,
            {scaleSearch, clipSearch, gqa, after == AWQRounding::Nearest,
             sampleTokens});
    if (failed(awq.run()))
      return failure();
    if (after == AWQRounding::None)
      return success();
    return quantizeLayers(
        module, *weights,
        [&](const LinearLayer &layer) -> FailureOr<QuantizedWeight> {
          FailureOr<QuantizedWeight> result = roundToNearest(layer);
          if (failed(result))
            return failure();
          Found found = awq.getFound(layer.getName());
          result->figures = {{"alpha", found.alpha},
                             {"cost_ratio", found.costRatio}};
          return result;
        });
  }
};
} // namespace
} // namespace llq
