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
#include "CheckpointKey.h"
#include "Selection.h"

#include "llq/Calibration/CollectStatistics.h"
#include "llq/Calibration/TrialWeight.h"
#include "llq/Numerics/AWQ.h"
#include "llq/Quantize/UniformWeight.h"
#include "llq/Support/WeightBlob.h"
#include "llq/Transforms/FoldScales.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

#include <cmath>
#include <limits>
#include <map>

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZEAWQPASS
#define GEN_PASS_DEF_QUANTIZEAWQPASS
#include "lib/Quantize/AWQ.h.inc"

namespace {
struct AWQOptions {
  bool scaleSearch, clipSearch, gqa, rounds;
  AWQLoss loss;
  int64_t lossTokens, sampleTokens;
};

/// A site, those of its layers that are quantized, and what is known of it.
struct AWQSite {
  Site site;
  SmallVector<LinearOp, 3> layers;
  InputStatistics inputs;
};

/// What the search found, for the record of a layer.
struct Found {
  double alpha = 0, costRatio = 1;
  /// Channels of the site that never fire.
  double deadChannels = 0;
};

/// What the search found for a decoder block, by names of layers: a site's
/// scales go by its first layer.
struct BlockResult {
  struct Scales {
    std::vector<float> factors; ///< empty: all 1
    Found found;
  };
  std::map<std::string, Scales> scales;
  std::map<std::string, std::vector<float>> bounds;

  DictionaryAttr store(MLIRContext *context) const;
  static std::optional<BlockResult> load(DictionaryAttr stored);
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
  using Sites = MutableArrayRef<AWQSite>;
  FailureOr<SmallVector<AWQSite>>
  getChosenSites(ArrayRef<SelectedWeight> selection);
  LogicalResult collectInputs(AWQSite &site);
  LogicalResult moveTo(const AWQSite *site);
  FailureOr<std::optional<BlockResult>>
  findResult(Sites block, const AWQSite *next, std::string &key);
  /// Scales and clips the layers of a block; samples go from its first site to
  /// `next`, if there is one.
  LogicalResult runBlock(Sites block, const AWQSite *next);
  LogicalResult fold(Sites block, const BlockResult &result);
  LogicalResult apply(Sites block, const BlockResult &known);
  FailureOr<BlockResult::Scales> searchScales(const AWQSite &site);
  FailureOr<std::vector<float>>
  searchBounds(const AWQSite &site, LinearOp layer, ArrayRef<float> scales);
  numerics::UniformGridOptions getGrid(LinearOp layer) const;
  void clip(const BlockResult &result, LinearOp layer);
  FailureOr<std::vector<float>> read(LinearOp layer);

  ModuleOp module;
  func::FuncOp forward;
  const WeightOptions &options;
  AWQOptions search;
  ScaleFolder folder;
  ThreadPool pool;
  /// Bits of each chosen layer, its own or those of the options.
  llvm::DenseMap<Operation *, int64_t> bits;
  WeightReader reader;
  Checkpoints checkpoints;
  /// Null: statistics are in the layers.
  std::unique_ptr<Calibrator> calibrator;
  llvm::StringMap<Found> found;
};
} // namespace

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

numerics::UniformGridOptions AWQ::getGrid(LinearOp layer) const {
  numerics::UniformGridOptions grid = options.grid;
  grid.bits = bits.at(layer);
  return grid;
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

//===----------------------------------------------------------------------===//
// BlockResult
//===----------------------------------------------------------------------===//

DictionaryAttr BlockResult::store(MLIRContext *context) const {
  Builder b(context);
  auto makeTensor = [&](const std::string &layer, ArrayRef<float> values) {
    return makeResource(context, {int64_t(values.size())}, values, layer);
  };
  NamedAttrList scaled, clipped, result;
  for (const auto &[layer, entry] : scales) {
    NamedAttrList site;
    site.set("alpha", b.getF64FloatAttr(entry.found.alpha));
    site.set("cost_ratio", b.getF64FloatAttr(entry.found.costRatio));
    site.set("dead_channels", b.getF64FloatAttr(entry.found.deadChannels));
    if (!entry.factors.empty())
      site.set("factors", makeTensor(layer, entry.factors));
    scaled.set(layer, site.getDictionary(context));
  }
  for (const auto &[layer, values] : bounds)
    clipped.set(layer, makeTensor(layer, values));
  result.set("scales", scaled.getDictionary(context));
  result.set("bounds", clipped.getDictionary(context));
  return result.getDictionary(context);
}

std::optional<BlockResult> BlockResult::load(DictionaryAttr stored) {
  WeightReader reader;
  auto read = [&](Attribute values) {
    return llvm::cantFail(reader.readAll(cast<TypedAttr>(values)));
  };
  auto scaled = stored.getAs<DictionaryAttr>("scales");
  auto clipped = stored.getAs<DictionaryAttr>("bounds");
  if (!scaled || !clipped)
    return std::nullopt;
  BlockResult result;
  for (NamedAttribute entry : scaled) {
    auto site = cast<DictionaryAttr>(entry.getValue());
    Scales &scales = result.scales[entry.getName().str()];
    auto getNumber = [&](StringRef name) {
      auto number = site.getAs<FloatAttr>(name);
      return number ? number.getValueAsDouble() : 0.0;
    };
    scales.found = {getNumber("alpha"), getNumber("cost_ratio"),
                    getNumber("dead_channels")};
    if (Attribute factors = site.get("factors"))
      scales.factors = read(factors);
  }
  for (NamedAttribute entry : clipped)
    result.bounds[entry.getName().str()] = read(entry.getValue());
  return result;
}

//===----------------------------------------------------------------------===//
// Searches
//===----------------------------------------------------------------------===//

/// What the attention or feed-forward part that begins with `site` adds to the
/// residual stream. Null if none begins there.
static Value getPartOutput(const Site &site) {
  auto norm = site.input.getDefiningOp<RMSNormOp>();
  if (!norm)
    return {};
  Value stream = norm.getInput();
  for (Operation *user : stream.getUsers())
    if (auto add = dyn_cast<AddOp>(user))
      return add.getLhs() == stream ? add.getRhs() : add.getLhs();
  return {};
}

namespace {
/// Measures choices of scales at the output of the part that a site begins.
class PartLoss {
public:
  /// `weights` of `layers`, some of those of the site where `calibrator`
  /// stands; `output` is that of the part.
  static FailureOr<PartLoss> create(Calibrator &calibrator,
                                    ArrayRef<LinearOp> layers,
                                    ArrayRef<numerics::SiteLayer> weights,
                                    Value output, int64_t tokens);

  /// The mean square of the output's change by rounding the layers, each to its
  /// grid, with columns scaled by `scales`.
  FailureOr<double> measure(std::span<const float> scales,
                            ArrayRef<numerics::UniformGridOptions> grids,
                            ThreadPool &pool);

private:
  PartLoss(ArrayRef<numerics::SiteLayer> weights,
           std::vector<TrialWeight> trials, Calibrator::Part part,
           int64_t tokens)
      : weights(weights), trials(std::move(trials)), part(std::move(part)),
        tokens(tokens) {}
  FailureOr<std::vector<float>> run();

  ArrayRef<numerics::SiteLayer> weights;
  std::vector<TrialWeight> trials;
  Calibrator::Part part;
  int64_t tokens;
  std::vector<float> reference;
};
} // namespace

FailureOr<PartLoss> PartLoss::create(Calibrator &calibrator,
                                     ArrayRef<LinearOp> layers,
                                     ArrayRef<numerics::SiteLayer> weights,
                                     Value output, int64_t tokens) {
  std::vector<TrialWeight> trials;
  int64_t columns = calibrator.getInputColumns();
  for (auto [layer, source] : llvm::zip_equal(layers, weights)) {
    FailureOr<TrialWeight> trial = TrialWeight::put(
        layer, ArrayRef(source.weights, source.rows * columns));
    if (failed(trial))
      return failure();
    trials.push_back(std::move(*trial));
  }
  FailureOr<Calibrator::Part> part = calibrator.compile(output);
  if (failed(part))
    return failure();
  PartLoss result(weights, std::move(trials), std::move(*part), tokens);
  FailureOr<std::vector<float>> reference = result.run();
  if (failed(reference))
    return failure();
  result.reference = std::move(*reference);
  return result;
}

FailureOr<std::vector<float>> PartLoss::run() {
  std::vector<float> result;
  auto append = [&](const ActivationRows &rows) {
    rows.appendTo(result);
    return llvm::Error::success();
  };
  if (failed(part.run(append, tokens)))
    return failure();
  return result;
}

FailureOr<double>
PartLoss::measure(std::span<const float> scales,
                  ArrayRef<numerics::UniformGridOptions> grids,
                  ThreadPool &pool) {
  for (auto [trial, source, grid] : llvm::zip_equal(trials, weights, grids)) {
    std::vector<float> rounded(source.rows * scales.size());
    if (!numerics::awqRound(source, scales, grid, rounded.data(), pool))
      return std::numeric_limits<double>::infinity();
    trial.set(rounded);
  }
  if (failed(part.reloadWeights()))
    return failure();
  FailureOr<std::vector<float>> changed = run();
  if (failed(changed))
    return failure();
  double sum = 0;
  for (auto [a, b] : llvm::zip_equal(*changed, reference))
    sum += (double(a) - b) * (double(a) - b);
  return sum / double(reference.size());
}

FailureOr<BlockResult::Scales> AWQ::searchScales(const AWQSite &site) {
  BlockResult::Scales result;
  result.found.deadChannels = double(llvm::count(site.inputs.absMax, 0.0f));
  int64_t sharing = getSharing(site.site);
  if (!isFoldable(site.site) || (sharing != 1 && !search.gqa)) {
    LinearOp first = site.layers.front();
    remark::missed(
        first.getLoc(),
        remark::RemarkOpts::name("NotScaled").category("llq-quantize-awq"))
        << remark::metric("Layer", first.getName())
        << remark::reason("what is in front of it cannot take the division");
    return result;
  }
  std::vector<std::vector<float>> weights;
  SmallVector<numerics::SiteLayer, 3> layers;
  SmallVector<numerics::UniformGridOptions, 3> grids;
  int64_t columns = site.inputs.absMax.size();
  for (LinearOp layer : site.layers) {
    FailureOr<std::vector<float>> values = read(layer);
    if (failed(values))
      return failure();
    grids.push_back(getGrid(layer));
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
  std::optional<PartLoss> part;
  if (calibrator && search.loss == AWQLoss::Part)
    if (Value output = getPartOutput(site.site)) {
      FailureOr<PartLoss> created = PartLoss::create(
          *calibrator, site.layers, layers, output, search.lossTokens);
      if (failed(created))
        return failure();
      part.emplace(std::move(*created));
    }
  numerics::OutputMetric metric = getMetric(site.inputs);
  bool ran = true;
  auto getCost = [&](std::span<const float> channelScales) {
    std::vector<float> scales = repeat(channelScales);
    if (!part) {
      double sum = 0;
      for (auto [layer, grid] : llvm::zip_equal(layers, grids))
        sum += numerics::awqCost({&layer, 1}, scales, metric, grid, pool);
      return sum;
    }
    FailureOr<double> cost;
    if (ran)
      cost = part->measure(scales, grids, pool);
    ran = succeeded(cost);
    return cost.value_or(std::numeric_limits<double>::infinity());
  };
  numerics::AWQScales best = numerics::searchAWQScales(
      numerics::meanOverSharedHeads(site.inputs.meanAbs, headSize, sharing),
      getCost);
  if (!ran)
    return failure();
  double plain = best.costs[0];
  if (!std::isfinite(plain))
    return LinearOp(site.layers.front()).emitLayerError()
           << "has weights and inputs whose products overflow";
  // A cost of zero may come out as a little less.
  double cost = std::max(0.0, *llvm::min_element(best.costs));
  result.found.alpha = best.alpha;
  result.found.costRatio = plain > 0 ? cost / plain : 1.0;
  if (best.alpha > 0)
    result.factors = repeat(best.scales);
  return result;
}

FailureOr<std::vector<float>>
AWQ::searchBounds(const AWQSite &site, LinearOp layer, ArrayRef<float> scales) {
  FailureOr<std::vector<float>> weights = read(layer);
  if (failed(weights))
    return failure();
  int64_t columns = site.inputs.absMax.size();
  int64_t rows = weights->size() / columns;
  std::vector<float> bounds(rows * options.grid.groupsPerRow(columns));
  numerics::searchAWQClip(weights->data(), rows, scales, getMetric(site.inputs),
                          getGrid(layer), bounds.data(), pool);
  return bounds;
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

LogicalResult AWQ::fold(Sites block, const BlockResult &result) {
  for (AWQSite &site : block) {
    const BlockResult::Scales &scales =
        result.scales.at(site.layers.front().getName().str());
    for (LinearOp layer : site.layers) {
      found[layer.getName()] = scales.found;
      if (!search.rounds)
        recordPreparation(layer, "awq",
                          {{"alpha", scales.found.alpha},
                           {"cost_ratio", scales.found.costRatio}});
      remark::analysis(
          layer.getLoc(),
          remark::RemarkOpts::name("Scaled").category("llq-quantize-awq"))
          << remark::metric("Layer", layer.getName())
          << remark::metric("Alpha", scales.found.alpha)
          << remark::metric("CostRatio", scales.found.costRatio)
          << remark::metric("DeadChannels", scales.found.deadChannels);
    }
    if (!scales.factors.empty() &&
        failed(folder.fold(site.site, scales.factors)))
      return failure();
  }
  return success();
}

void AWQ::clip(const BlockResult &result, LinearOp layer) {
  auto bounds = result.bounds.find(layer.getName().str());
  if (bounds != result.bounds.end())
    folder.clip(layer, bounds->second, options.grid.groupSize);
}

/// Does what was found before.
LogicalResult AWQ::apply(Sites block, const BlockResult &known) {
  if (failed(fold(block, known)))
    return failure();
  for (AWQSite &site : block)
    for (LinearOp layer : site.layers)
      clip(known, layer);
  return success();
}

/// Collects the inputs of the site where the samples stand.
LogicalResult AWQ::collectInputs(AWQSite &site) {
  LinearOp first = site.layers.front();
  int64_t columns = cast<ShapedType>(first.getWeight().getType()).getDimSize(1);
  bool all = columns <= search.sampleTokens;
  FailureOr<InputStatistics> inputs =
      calibrator ? getInputStatistics(*calibrator,
                                      {all, all ? 0 : search.sampleTokens})
                 : readStatistics(first);
  if (failed(inputs))
    return failure();
  if (inputs->inputs.empty() && inputs->secondMoment.empty())
    return first.emitLayerError()
           << "has no second moment of its inputs, awq needs one";
  site.inputs = std::move(*inputs);
  return success();
}

/// What has been found for `block` before, if anything. The samples stand at
/// its first site and then at `next`; `key` stands for the result.
FailureOr<std::optional<BlockResult>>
AWQ::findResult(Sites block, const AWQSite *next, std::string &key) {
  SmallVector<std::string> inputs;
  SmallVector<LinearOp> layers;
  SmallVector<int64_t> layerBits;
  for (AWQSite &site : block) {
    llvm::append_range(layers, site.layers);
    for (LinearOp layer : site.layers)
      layerBits.push_back(bits.at(layer));
    if (!calibrator)
      continue;
    if (&site != block.begin() && failed(calibrator->moveTo(site.site)))
      return failure();
    inputs.push_back(calibrator->getKey().str());
  }
  FailureOr<std::string> found =
      getCheckpointKey(checkpoints, options, inputs, layers, layerBits);
  if (failed(found) || failed(moveTo(next)))
    return failure();
  key = *found;
  DictionaryAttr stored = checkpoints.load(key, module.getContext());
  if (!stored)
    return std::optional<BlockResult>();
  std::optional<BlockResult> result = BlockResult::load(stored);
  releaseResources(stored);
  return result;
}

LogicalResult AWQ::moveTo(const AWQSite *site) {
  return calibrator && site ? calibrator->moveTo(site->site) : success();
}

LogicalResult AWQ::runBlock(Sites block, const AWQSite *next) {
  // The samples leave the block while it is as it was.
  Calibrator::State start = calibrator ? calibrator->getState() : nullptr;
  std::string key;
  auto known = findResult(block, next, key);
  if (failed(known))
    return failure();
  if (*known)
    return apply(block, **known);
  if (calibrator)
    calibrator->setState(std::move(start));
  BlockResult result;
  for (AWQSite &site : block) {
    if (&site != block.begin() && failed(moveTo(&site)))
      return failure();
    if (failed(collectInputs(site)))
      return failure();
    FailureOr<BlockResult::Scales> scales = BlockResult::Scales();
    if (search.scaleSearch)
      scales = searchScales(site);
    if (failed(scales))
      return failure();
    result.scales[site.layers.front().getName().str()] = std::move(*scales);
  }
  if (failed(moveTo(next)))
    return failure();
  if (failed(fold(block, result)))
    return failure();
  for (AWQSite &site : block)
    for (LinearOp layer : site.layers) {
      if (!search.clipSearch || isQueryOrKey(layer))
        continue;
      FailureOr<std::vector<float>> bounds = searchBounds(
          site, layer,
          result.scales.at(site.layers.front().getName().str()).factors);
      if (failed(bounds))
        return failure();
      result.bounds[layer.getName().str()] = std::move(*bounds);
      clip(result, layer);
    }
  reader.release();
  DictionaryAttr stored = result.store(module.getContext());
  checkpoints.save(key, stored, block.front().layers.front());
  releaseResources(stored);
  return success();
}

FailureOr<SmallVector<AWQSite>>
AWQ::getChosenSites(ArrayRef<SelectedWeight> selection) {
  for (const SelectedWeight &selected : selection)
    for (const WeightUse &use : selected.uses)
      bits[use.op] = selected.bits;
  SmallVector<AWQSite> sites;
  llvm::StringSet<> names;
  for (Site &site : getSites(forward)) {
    AWQSite result{site, {}, {}};
    for (LinearOp layer : site.layers)
      if (bits.contains(layer) && layer.getName() != kHeadName) {
        // Results go by names.
        if (!names.insert(layer.getName()).second)
          return layer.emitLayerError() << "is not the only layer of this name";
        result.layers.push_back(layer);
      }
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
  FailureOr<SmallVector<AWQSite>> chosen = getChosenSites(*selection);
  if (failed(chosen))
    return failure();
  SmallVector<AWQSite> &sites = *chosen;
  bool stored = !sites.empty() && llvm::all_of(sites, [](AWQSite &site) {
    return site.layers.front()->hasAttr(kStatsAttr);
  });
  if (!stored && !sites.empty()) {
    auto created = Calibrator::create(forward, pool);
    if (failed(created))
      return failure();
    calibrator = std::move(*created);
    FailureOr<Checkpoints> opened = Checkpoints::open(module);
    if (failed(opened))
      return failure();
    checkpoints = std::move(*opened);
  }
  if (!sites.empty() && failed(moveTo(&sites.front())))
    return failure();
  for (size_t begin = 0, end; begin < sites.size(); begin = end) {
    StringRef name = getBlockName(sites[begin].site);
    for (end = begin; end < sites.size(); ++end)
      if (getBlockName(sites[end].site) != name)
        break;
    MutableArrayRef<AWQSite> block(sites);
    block = block.slice(begin, end - begin);
    if (failed(runBlock(block, end < sites.size() ? &sites[end] : nullptr)))
      return failure();
    for (AWQSite &site : block)
      site.inputs = {};
  }
  return success();
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
    if (module->hasAttr(kSketchAttr)) {
      noteSamplesOfSketch(module);
      return after == AWQRounding::None
                 ? success()
                 : quantizeLayers(module, *weights, roundToNearest);
    }
    FailureOr<func::FuncOp> forward = getForward(module);
    if (failed(forward))
      return failure();
    AWQ awq(module, *forward, *weights,
            {scaleSearch, clipSearch, gqa, after == AWQRounding::Nearest, loss,
             lossTokens, sampleTokens});
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
          if (found.deadChannels > 0)
            result->figures.push_back({"dead_channels", found.deadChannels});
          return result;
        });
  }
};
} // namespace
} // namespace llq
