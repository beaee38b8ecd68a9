//===- TuneScales.cpp - Train the scales of quantized layers --------------===//
//
// Moves two sets of activations through a model, block by block: those that the
// quantized block reads and those that it is to make. Between them it trains
// the numbers of the block's formats (BlockTuner.h).
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "BlockTuner.h"
#include "LayerBasis.h"

#include "llq/Calibration/Calibrator.h"
#include "llq/Calibration/Checkpoints.h"
#include "llq/Numerics/Statistics.h"
#include "llq/Support/Globs.h"
#include "llq/Support/WeightReferences.h"
#include "llq/Training/Passes.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"

#include <chrono>
#include <cmath>

using namespace mlir;
using namespace llq::training;

namespace llq {
#define GEN_PASS_DEF_TUNESCALESPASS
#include "llq/Training/Passes.h.inc"

namespace {
constexpr StringLiteral kPassName = "llq-tune-scales";

struct ScaleOptions {
  TuneOptions tune;
  TunedCodes codes;
  CalibrationInputs inputs;
  SmallVector<std::string> only, except;
  std::string text; ///< of all, as in a pipeline
};

/// What a block has become.
struct TunedBlock {
  SmallVector<DictionaryAttr> components; ///< of each layer
  double before, after;                   ///< losses
};

class ScaleTuner {
public:
  ScaleTuner(ModuleOp module, func::FuncOp forward, const ScaleOptions &options)
      : module(module), forward(forward), options(options), references(module),
        pool(module.getContext()->getNumThreads()) {}

  LogicalResult run();

private:
  InFlightDiagnostic emitError() {
    return mlir::emitError(module.getLoc(), kPassName) << ": ";
  }
  /// The layers of each block that are trained.
  LogicalResult selectLayers();
  bool isSelected(LinearOp layer, Globs &only, Globs &except);
  LogicalResult openCheckpoints();
  LogicalResult createActivations();
  LogicalResult embed(Value output, SampleActivations &to);
  LogicalResult runBlock(const DecoderBlock &block, SampleActivations &from,
                         SampleActivations &to);
  LogicalResult addToKey(const Tape &tape);
  LogicalResult tuneBlock(size_t index);
  FailureOr<TunedBlock> tune(const DecoderBlock &block,
                             MutableArrayRef<LinearOp> layers);
  FailureOr<TunedBlock> train(BlockTuner &tuner,
                              MutableArrayRef<LinearOp> layers);
  LogicalResult replace(LinearOp layer, DictionaryAttr components, double gain);
  LogicalResult follow(TrainedWeight &weight, LinearOp layer);
  /// The values of the weight of `layer` or its original.
  template <typename Weight>
  FailureOr<std::vector<float>> readWeight(LinearOp layer, Weight weight);
  FailureOr<numerics::ErrorStatistics> getError(LinearOp layer);
  void dropOriginals();

  ModuleOp module;
  func::FuncOp forward;
  const ScaleOptions &options;
  OwningOpRef<ModuleOp> originalModule;
  Samples samples;
  SmallVector<DecoderBlock> blocks, originals;
  std::vector<SmallVector<LinearOp>> selected;
  WeightReferences references;
  WeightReader reader;
  ThreadPool pool;
  Checkpoints checkpoints;
  /// Stands for all that the block at hand is made from, if anything is kept.
  std::string key;
  std::optional<SampleActivations> inputs, targets;
};
} // namespace

//===----------------------------------------------------------------------===//
// What is trained
//===----------------------------------------------------------------------===//

/// Whether somebody has quantized `layer`; its source may have been so before.
static bool isQuantized(LinearOp layer) {
  return layer.getMethod() && isa<QuantizedType>(layer.getWeight().getType());
}

bool ScaleTuner::isSelected(LinearOp layer, Globs &only, Globs &except) {
  bool chosen = only.match(layer.getName()) || only.empty();
  chosen &= !except.match(layer.getName());
  if (!chosen || !isQuantized(layer))
    return false;
  auto weight = layer.getWeight().getDefiningOp<QuantizedWeightOp>();
  if (weight && weight->hasOneUse() && TrainedWeight::canTrain(weight))
    return true;
  remark::missed(layer.getLoc(),
                 remark::RemarkOpts::name("NotTuned").category(kPassName))
      << remark::metric("Layer", layer.getName())
      << remark::reason("its weight is shared or has no numbers to train");
  return false;
}

LogicalResult ScaleTuner::selectLayers() {
  Globs only("only"), except("except");
  auto report = [&] { return emitError(); };
  if (failed(only.compile(options.only, report)) ||
      failed(except.compile(options.except, report)))
    return failure();
  bool any = false;
  for (DecoderBlock &block : blocks) {
    if (block.input.getType() != block.output.getType())
      return block.layers.front().emitLayerError()
             << "is in a decoder block whose output is no hidden state like "
                "its input";
    SmallVector<LinearOp> &layers = selected.emplace_back();
    for (LinearOp layer : block.layers) {
      if (isa<QuantizedType>(layer.getInput().getType()))
        return layer.emitLayerError()
               << "has quantized activations, tune it in front of what "
                  "quantizes them";
      if (isQuantized(layer) && !layer->hasAttr(kOriginalAttr))
        return layer.emitLayerError()
               << "has no original weight to compare with, run "
                  "llq-keep-originals in front of what quantizes it";
      if (isSelected(layer, only, except))
        layers.push_back(layer);
    }
    any |= !layers.empty();
  }
  if (failed(only.checkAllMatched(report)) ||
      failed(except.checkAllMatched(report)))
    return failure();
  if (!any)
    return emitError() << "found no quantized layer with scales to train, it "
                          "goes behind a method, as in 'rtn(bits=2) tune'";
  return success();
}

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

LogicalResult ScaleTuner::createActivations() {
  int64_t columns =
      cast<ShapedType>(blocks.front().input.getType()).getDimSize(1);
  int64_t bytes = samples.tokens * columns * int64_t(sizeof(float)), all = 0;
  for (auto *activations : {&inputs, &targets}) {
    all += bytes;
    auto created = SampleActivations::create(
        samples, columns, all > CalibratorOptions().memoryBudget);
    if (!created)
      return emitError() << llvm::toString(created.takeError());
    activations->emplace(std::move(*created));
  }
  return success();
}

LogicalResult ScaleTuner::embed(Value output, SampleActivations &to) {
  auto tape = Tape::create(Value(), output, reader, pool);
  if (failed(tape) || failed(addToKey(**tape)))
    return failure();
  for (auto [sample, ids] : llvm::enumerate(samples.sequences)) {
    auto rows = (*tape)->forward(ids);
    if (failed(rows))
      return failure();
    to.set(sample, *rows);
  }
  return success();
}

LogicalResult ScaleTuner::runBlock(const DecoderBlock &block,
                                   SampleActivations &from,
                                   SampleActivations &to) {
  auto tape = Tape::create(block.input, block.output, reader, pool);
  if (failed(tape) || failed(addToKey(**tape)))
    return failure();
  for (size_t sample = 0; sample < from.size(); ++sample) {
    auto rows = (*tape)->forward(from.get(sample), from.getTokens(sample));
    if (failed(rows))
      return failure();
    from.release(sample);
    to.set(sample, *rows);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Checkpoints
//===----------------------------------------------------------------------===//

LogicalResult ScaleTuner::openCheckpoints() {
  FailureOr<Checkpoints> opened = Checkpoints::open(module);
  if (failed(opened))
    return failure();
  checkpoints = std::move(*opened);
  ContentKey first;
  first.add(kPassName).add("llq " LLQ_VERSION).add(options.text);
  for (ArrayRef<int32_t> ids : samples.sequences)
    first.addBytes({reinterpret_cast<const char *>(ids.data()),
                    ids.size() * sizeof(int32_t)});
  key = first.finish();
  return success();
}

/// Adds the operations of `tape` and the values of its weights.
LogicalResult ScaleTuner::addToKey(const Tape &tape) {
  if (!checkpoints)
    return success();
  AsmState names(tape.getOps().front()->getParentOp());
  ContentKey next;
  next.add(key);
  for (Operation *op : tape.getOps()) {
    if (isa<WeightOp, QuantizedWeightOp>(op)) {
      if (llvm::Error error = next.addWeight(op, reader))
        return op->emitOpError() << llvm::toString(std::move(error));
      continue;
    }
    std::string text;
    llvm::raw_string_ostream stream(text);
    op->print(stream, names);
    next.add(text);
  }
  key = next.finish();
  return success();
}

/// {`<layer>` = its components, before, after}.
static DictionaryAttr save(const TunedBlock &tuned,
                           MutableArrayRef<LinearOp> layers) {
  Builder b(layers.front()->getContext());
  NamedAttrList entries;
  for (auto [layer, components] : llvm::zip_equal(layers, tuned.components))
    entries.set(layer.getName(), components);
  entries.set("before", b.getF64FloatAttr(tuned.before));
  entries.set("after", b.getF64FloatAttr(tuned.after));
  return entries.getDictionary(b.getContext());
}

static std::optional<TunedBlock> load(DictionaryAttr stored,
                                      MutableArrayRef<LinearOp> layers) {
  auto before = stored.getAs<FloatAttr>("before");
  auto after = stored.getAs<FloatAttr>("after");
  if (!before || !after)
    return std::nullopt;
  TunedBlock tuned{{}, before.getValueAsDouble(), after.getValueAsDouble()};
  for (LinearOp layer : layers) {
    auto components = stored.getAs<DictionaryAttr>(layer.getName());
    if (!components)
      return std::nullopt;
    tuned.components.push_back(components);
  }
  return tuned;
}

//===----------------------------------------------------------------------===//
// Training
//===----------------------------------------------------------------------===//

template <typename Weight>
FailureOr<std::vector<float>> ScaleTuner::readWeight(LinearOp layer,
                                                     Weight weight) {
  auto type = cast<QuantizedType>(layer.getWeight().getType());
  std::vector<float> values(type.getRows() * type.getColumns());
  if (llvm::Error error = reader.readRows(weight, 0, type.getRows(), values))
    return layer.emitLayerError() << llvm::toString(std::move(error));
  return values;
}

/// Lets codes follow the original weights from now on.
LogicalResult ScaleTuner::follow(TrainedWeight &weight, LinearOp layer) {
  if (!weight.canEncode()) {
    remark::missed(layer.getLoc(),
                   remark::RemarkOpts::name("CodesStay").category(kPassName))
        << remark::metric("Layer", layer.getName())
        << remark::reason("its format cannot choose codes for given scales");
    return success();
  }
  auto original =
      readWeight(layer, layer->getAttrOfType<TypedAttr>(kOriginalAttr));
  auto basis = LayerBasis::get(layer, reader);
  if (failed(original) || failed(basis))
    return failure();
  basis->enter(*original, pool);
  weight.follow(std::move(*original), pool);
  return success();
}

FailureOr<TunedBlock> ScaleTuner::train(BlockTuner &tuner,
                                        MutableArrayRef<LinearOp> layers) {
  FailureOr<double> before = tuner.getLoss(*inputs, *targets);
  if (failed(before))
    return failure();
  if (options.codes == TunedCodes::Nearest)
    for (auto [layer, weight] : llvm::zip_equal(layers, tuner.getWeights()))
      if (failed(follow(weight, layer)))
        return failure();
  if (failed(tuner.train(*inputs, *targets, options.tune)))
    return failure();
  FailureOr<double> after = tuner.getLoss(*inputs, *targets);
  if (failed(after))
    return failure();
  TunedBlock result{{}, *before, *after};
  // Not a number is not below either.
  if (!(result.after < result.before)) {
    tuner.restore();
    result.after = result.before;
  }
  for (auto [layer, weight] : llvm::zip_equal(layers, tuner.getWeights())) {
    auto components = weight.store(layer.getName());
    if (!components)
      return layer.emitLayerError() << llvm::toString(components.takeError());
    result.components.push_back(*components);
  }
  return result;
}

/// What training makes of a block, or has made in an earlier run.
FailureOr<TunedBlock> ScaleTuner::tune(const DecoderBlock &block,
                                       MutableArrayRef<LinearOp> layers) {
  FailureOr<BlockTuner> tuner = BlockTuner::create(block, layers, reader, pool);
  if (failed(tuner) || failed(addToKey(tuner->getTape())))
    return failure();
  if (DictionaryAttr stored = checkpoints.load(key, module.getContext()))
    if (std::optional<TunedBlock> known = load(stored, layers))
      return *known;
  FailureOr<TunedBlock> tuned = train(*tuner, layers);
  if (succeeded(tuned))
    checkpoints.save(key, save(*tuned, layers), layers.front());
  return tuned;
}

/// The error of a layer's weight against its original, in the basis of that.
FailureOr<numerics::ErrorStatistics> ScaleTuner::getError(LinearOp layer) {
  auto original =
      readWeight(layer, layer->getAttrOfType<TypedAttr>(kOriginalAttr));
  auto values = readWeight(layer, layer.getWeight());
  auto basis = LayerBasis::get(layer, reader);
  if (failed(original) || failed(values) || failed(basis))
    return failure();
  basis->leave(*values, pool);
  numerics::ErrorStatistics statistics;
  statistics.add(*original, *values);
  return statistics;
}

LogicalResult ScaleTuner::replace(LinearOp layer, DictionaryAttr components,
                                  double gain) {
  auto before = layer.getWeight().getDefiningOp<QuantizedWeightOp>();
  OpBuilder b(before);
  auto after = QuantizedWeightOp::create(b, before.getLoc(), before.getType(),
                                         components);
  references.add(after);
  layer.getWeightMutable().assign(after);
  references.erase(before);
  FailureOr<numerics::ErrorStatistics> error = getError(layer);
  if (failed(error))
    return failure();
  NamedAttrList method(layer.getMethodAttr());
  // They speak of the numbers that are no more.
  for (StringRef stale : {"scale_min", "scale_max", "clipped"})
    method.erase(stale);
  method.set("relative_error", b.getF64FloatAttr(error->relativeError()));
  method.set("rmse", b.getF64FloatAttr(std::sqrt(error->meanSquaredError())));
  method.set("tune", b.getStringAttr(options.text));
  method.set("tune_gain", b.getF64FloatAttr(gain));
  layer.setMethodAttr(method.getDictionary(b.getContext()));
  return success();
}

LogicalResult ScaleTuner::tuneBlock(size_t index) {
  auto start = std::chrono::steady_clock::now();
  const DecoderBlock &block = blocks[index];
  bool quantizedInputs = options.inputs == CalibrationInputs::Quantized;
  // The original model's states, which may be the inputs too.
  if (failed(runBlock(originals[index], quantizedInputs ? *targets : *inputs,
                      *targets)))
    return failure();
  reader.release();
  if (MutableArrayRef<LinearOp> layers = selected[index]; !layers.empty()) {
    FailureOr<TunedBlock> tuned = tune(block, layers);
    if (failed(tuned))
      return failure();
    double gain = tuned->before > 0 ? 1 - tuned->after / tuned->before : 0;
    for (auto [layer, components] : llvm::zip_equal(layers, tuned->components))
      if (failed(replace(layer, components, gain)))
        return failure();
    std::chrono::duration<double> time =
        std::chrono::steady_clock::now() - start;
    remark::analysis(layers.front().getLoc(),
                     remark::RemarkOpts::name("Tuned").category(kPassName))
        << remark::metric("Layer", block.name.drop_back())
        << remark::metric("LossBefore", tuned->before)
        << remark::metric("LossAfter", tuned->after)
        << remark::metric("TuneGain", gain)
        << remark::metric("Seconds", time.count());
  }
  if (index + 1 == blocks.size())
    return success();
  if (!quantizedInputs)
    std::swap(*inputs, *targets);
  else if (failed(runBlock(block, *inputs, *inputs)))
    return failure();
  reader.release();
  return success();
}

void ScaleTuner::dropOriginals() {
  module.walk([&](Operation *op) {
    references.removeAttr(op, kOriginalAttr);
    op->removeAttr(kKeepOriginalsAttr);
  });
}

LogicalResult ScaleTuner::run() {
  blocks = getDecoderBlocks(forward);
  if (blocks.empty())
    return emitError() << "found no decoder block, layers are named "
                          "layers.0.self_attn.q_proj and so on";
  if (failed(selectLayers()))
    return failure();
  FailureOr<Samples> found = getSamples(module);
  if (failed(found))
    return failure();
  samples = std::move(*found);

  originalModule = module.clone();
  auto original = originalModule->lookupSymbol<func::FuncOp>(kForwardName);
  restoreOriginals(original);
  originals = getDecoderBlocks(original);
  bool quantizedInputs = options.inputs == CalibrationInputs::Quantized;
  DecoderBlock &first = quantizedInputs ? blocks.front() : originals.front();
  if (failed(openCheckpoints()) || failed(createActivations()) ||
      failed(embed(first.input, *inputs)) ||
      failed(embed(originals.front().input, *targets)))
    return failure();
  for (size_t index = 0; index < blocks.size(); ++index)
    if (failed(tuneBlock(index)))
      return failure();
  dropOriginals();
  return success();
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
struct TuneScalesPass : impl::TuneScalesPassBase<TuneScalesPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    // A dry run has no inputs, and sizes stay what they are.
    if (module->hasAttr(kSketchAttr))
      return noteSamplesOfSketch(module);
    if (!(learningRate > 0 && learningRate <= 1)) {
      double found = learningRate;
      emitError(module.getLoc(), kPassName)
          << ": learning-rate is above 0 and at most 1, found " << found;
      return signalPassFailure();
    }
    ScaleOptions options{{epochs, batch, float(double(learningRate))},
                         codes,
                         inputs,
                         {only.begin(), only.end()},
                         {except.begin(), except.end()},
                         getOptionText(*this)};
    FailureOr<func::FuncOp> forward = getForward(module);
    if (failed(forward) || failed(ScaleTuner(module, *forward, options).run()))
      signalPassFailure();
  }
};
} // namespace

} // namespace llq
