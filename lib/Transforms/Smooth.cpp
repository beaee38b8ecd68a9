//===- Smooth.cpp - Outliers from activations to weights ------------------===//
//
// Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization
// for Large Language Models", arXiv 2211.10438. The arithmetic is in
// llq/Numerics/SmoothQuant.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/CollectStatistics.h"
#include "llq/Numerics/SmoothQuant.h"
#include "llq/Transforms/FoldScales.h"
#include "llq/Transforms/Passes.h"

#include "mlir/IR/Remarks.h"

#include <cmath>

using namespace mlir;

namespace llq {
#define GEN_PASS_DEF_SMOOTHPASS
#include "llq/Transforms/Passes.h.inc"

namespace {
/// Strengths that a search tries: 0, 0.05, ... 1.
constexpr int kStrengths = 21;
/// Rows of a weight that are read at once.
constexpr int64_t kRows = 512;

class Smoother {
public:
  Smoother(ModuleOp module, func::FuncOp forward, SmoothingStrength strength,
           unsigned bits, int64_t sampleTokens, bool down)
      : module(module), forward(forward), strength(strength), bits(bits),
        sampleTokens(sampleTokens), down(down), folder(module),
        pool(module.getContext()->getNumThreads()) {}

  LogicalResult run();

private:
  LogicalResult collectSites();
  LogicalResult collectInputs();
  FailureOr<numerics::Smoothing> choose(const Site &site,
                                        const InputStatistics &inputs);
  numerics::Smoothing search(ArrayRef<numerics::SiteLayer> layers,
                             const InputStatistics &inputs,
                             ArrayRef<float> weightMax);

  ModuleOp module;
  func::FuncOp forward;
  SmoothingStrength strength;
  unsigned bits;
  int64_t sampleTokens;
  bool down;
  ScaleFolder folder;
  ThreadPool pool;
  WeightReader reader;
  SmallVector<Site> sites;
  std::vector<InputStatistics> inputs; ///< of each site
};
} // namespace

/// Emits an error if the scales of `site`, behind a normalization or a gate,
/// have nowhere to go.
static LogicalResult verifySite(const Site &site) {
  for (LinearOp layer : site.layers)
    if (failed(verifyUnquantized(layer, "llq-smooth")))
      return failure();
  for (Operation *user : site.input.getUsers())
    if (!llvm::is_contained(site.layers, user)) {
      InFlightDiagnostic error = site.input.getDefiningOp()->emitOpError(
          "has a result that other ops than linear layers read, its scales "
          "cannot be folded");
      error.attachNote(user->getLoc()) << "it is read here";
      return error;
    }
  if (isFoldable(site))
    return success();
  if (auto permute = site.input.getDefiningOp<PermuteChannelsOp>())
    return permute.emitOpError(
        "permutes the channels that scales would be folded into");
  if (auto rotate = site.input.getDefiningOp<RotateOp>()) {
    InFlightDiagnostic error = rotate.emitOpError(
        "rotates the channels that scales would be folded into");
    error.attachNote() << "give rotate(down=false) or smoothquant(down=false) "
                          "if it is in front of a down projection";
    return error;
  }
  if (auto gated = site.input.getDefiningOp<SwiGLUOp>())
    return gated.emitOpError(
        "multiplies what is not the result of an llq.linear "
        "with a source weight, read by nothing else");
  return site.input.getDefiningOp()->emitOpError(
      "has a weight that is not an llq.weight");
}

LogicalResult Smoother::collectSites() {
  for (Site &site : getSites(forward)) {
    bool isHead = llvm::any_of(site.layers, [](LinearOp layer) {
      return layer.getName() == kHeadName;
    });
    Value source = site.input;
    while (isa_and_nonnull<PermuteChannelsOp, RotateOp>(source.getDefiningOp()))
      source = source.getDefiningOp()->getOperand(0);
    bool smoothed = source.getDefiningOp<RMSNormOp>() ||
                    (down && source.getDefiningOp<SwiGLUOp>());
    if (isHead || !smoothed)
      continue;
    if (failed(verifySite(site)))
      return failure();
    sites.push_back(std::move(site));
  }
  if (sites.empty())
    return module.emitError(
        "llq-smooth: found no llq.linear behind an "
        "llq.rms_norm, the normal form of a model is needed");
  return success();
}

LogicalResult Smoother::collectInputs() {
  bool stored = llvm::all_of(sites, [](const Site &site) {
    return LinearOp(site.layers.front())->hasAttr(kStatsAttr);
  });
  // Statistics of a layer hold no inputs to measure a search with.
  if (stored && strength.alpha) {
    for (const Site &site : sites) {
      FailureOr<InputStatistics> found = readStatistics(site.layers.front());
      if (failed(found))
        return failure();
      inputs.push_back(std::move(*found));
    }
    return success();
  }
  auto calibrator = Calibrator::create(forward, pool);
  if (failed(calibrator))
    return failure();
  for (const Site &site : sites) {
    FailureOr<InputStatistics> found = collectStatistics(
        **calibrator, site,
        {/*secondMoment=*/false, strength.alpha ? 0 : sampleTokens});
    if (failed(found))
      return failure();
    inputs.push_back(std::move(*found));
  }
  return success();
}

FailureOr<numerics::Smoothing> Smoother::choose(const Site &site,
                                                const InputStatistics &inputs) {
  int64_t columns = inputs.absMax.size();
  std::vector<float> weightMax(columns, 0.0f);
  // A search reads the weights again and again, and needs them all.
  std::vector<std::vector<float>> weights;
  SmallVector<numerics::SiteLayer, 3> layers;
  for (LinearOp layer : site.layers) {
    TypedAttr weight = layer.getWeight().getDefiningOp<WeightOp>().getValue();
    int64_t rows = cast<ShapedType>(weight.getType()).getDimSize(0);
    int64_t step = strength.alpha ? std::min(rows, kRows) : rows;
    std::vector<float> values(step * columns);
    for (int64_t begin = 0; begin < rows; begin += step) {
      int64_t count = std::min(step, rows - begin);
      MutableArrayRef<float> block(values.data(), count * columns);
      if (llvm::Error error =
              reader.readRows(weight, begin, begin + count, block))
        return layer.emitLayerError() << llvm::toString(std::move(error));
      if (llvm::Error error = verifyFinite(block, begin, columns))
        return layer.emitLayerError() << llvm::toString(std::move(error));
      numerics::addColumnMaxima(block.data(), count, weightMax);
    }
    if (!strength.alpha) {
      layers.push_back({values.data(), rows});
      weights.push_back(std::move(values));
    }
  }
  reader.release();
  numerics::Smoothing result;
  if (strength.alpha) {
    result.alpha = *strength.alpha;
    result.factors =
        numerics::smoothingFactors(inputs.absMax, weightMax, result.alpha);
  } else {
    result = search(layers, inputs, weightMax);
  }
  for (auto [k, factor] : llvm::enumerate(result.factors))
    if (!std::isfinite(weightMax[k] * factor))
      return LinearOp(site.layers.front()).emitLayerError()
             << "has weights of up to " << weightMax[k] << " in column " << k
             << " that overflow once they are multiplied by " << factor
             << ", give a smaller alpha";
  return result;
}

/// The strength that costs least on a sample of inputs.
numerics::Smoothing Smoother::search(ArrayRef<numerics::SiteLayer> layers,
                                     const InputStatistics &inputs,
                                     ArrayRef<float> weightMax) {
  numerics::UniformGridOptions grid;
  grid.bits = bits;
  grid.groupSize = 0;
  grid.scheme = numerics::GridScheme::Signed;
  numerics::ActivationOptions activations{bits, /*isStatic=*/false};
  std::vector<double> strengths;
  for (int i = 0; i < kStrengths; ++i)
    strengths.push_back(double(i) / (kStrengths - 1));
  return numerics::searchSmoothing(
      inputs.absMax, weightMax, strengths, [&](std::span<const float> factors) {
        return numerics::smoothingCost(layers, inputs.inputs, inputs.absMax,
                                       factors, grid, activations, pool);
      });
}

LogicalResult Smoother::run() {
  if (failed(collectSites()) || failed(collectInputs()))
    return failure();
  for (auto [site, statistics] : llvm::zip_equal(sites, inputs)) {
    FailureOr<numerics::Smoothing> smoothing = choose(site, statistics);
    if (failed(smoothing) || failed(folder.fold(site, smoothing->factors)))
      return failure();
    for (LinearOp layer : site.layers)
      recordPreparation(layer, "smoothquant", {{"alpha", smoothing->alpha}});
    LinearOp layer = site.layers.front();
    double least = numerics::leastActivationMax(statistics.absMax);
    remark::analysis(
        layer.getLoc(),
        remark::RemarkOpts::name("Smoothed").category("llq-smooth"))
        << remark::metric("Layer", layer.getName())
        << remark::metric("Alpha", smoothing->alpha)
        << remark::metric("LargestFactor",
                          *llvm::max_element(smoothing->factors))
        << remark::metric("QuietChannels",
                          llvm::count_if(statistics.absMax, [&](float value) {
                            return value < least;
                          }));
  }
  return success();
}

namespace {
struct SmoothPass : impl::SmoothPassBase<SmoothPass> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override {
    registerCalibrationDialects(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    // A dry run looks at formats, which stay.
    if (module->hasAttr(kSketchAttr))
      return noteSamplesOfSketch(module);
    FailureOr<func::FuncOp> forward = getForward(module);
    if (failed(forward))
      return signalPassFailure();
    Smoother smoother(module, *forward, alpha, unsigned(int64_t(bits)),
                      sampleTokens, down);
    if (failed(smoother.run()))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
