//===- DryRun.cpp - What a compilation would make -------------------------===//
//
// Two steps. A sketch, one row of each layer under its name, goes through the
// chain of methods and shows the format that each layer gets. Weights of those
// formats, without values, then take the place of the model's own, and the rest
// of the pipeline, which looks at no value, shows the sizes.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Driver/DryRun.h"
#include "dialects/LLQ/LLQ.h"
#include "llq/Calibration/Calibrator.h"
#include "llq/Packing/CPULayout.h"
#include "llq/Pipelines/Chain.h"
#include "llq/Support/WeightBlob.h"
#include "llq/Support/WeightData.h"
#include "llq/Training/TuneMemory.h"
#include "llq/Transforms/RotateLayers.h"
#include "llqrt/FileFormat.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"

using namespace mlir;
using namespace llq;

/// Code generation and the libraries, measured on small models.
static constexpr uint64_t kBaseBytes = uint64_t(192) << 20;

namespace {

/// A layer whose weight is still in its source type.
struct Layer {
  Operation *op;
  OpOperand *weight;
  WeightOp source;
};

/// What a chain has made of a layer: its weight, and, if they are rotated,
/// permuted and quantized, the basis, the order and the type of its inputs, and
/// the basis of its results.
struct SketchedLayer {
  Type weight;
  RotationAttr inputRotation;
  bool scaled = false;
  DenseIntElementsAttr order;
  QuantizedType input;
  RotationAttr outputRotation;
};

class DryRun {
public:
  explicit DryRun(ModuleOp module) : module(module) {}

  /// Puts weights of the formats that `chain` chooses in place of the sources.
  LogicalResult quantize(const Chain &chain);
  /// Notes on each layer what its weight takes at every width.
  LogicalResult setWidths(const Chain &chain);
  /// The memory of all weights that would be made or are inside the input.
  uint64_t getHeldBytes();
  uint64_t getLargestLayer() const { return largestLayer; }
  /// Whether the chain that quantized would have read calibration samples.
  bool needsSamples() const { return samples; }
  /// Whether sources would stay beside what replaces them.
  bool keepsSources() const { return sources; }

private:
  void collectLayers();
  FailureOr<OwningOpRef<ModuleOp>> makeSketch();
  /// The bytes of each layer's weight after `chain` with `bits`; 0 for those
  /// that are not quantized.
  FailureOr<SmallVector<int64_t>> getBytes(const Chain &chain, int64_t bits);
  LogicalResult replaceWeights(ModuleOp sketch);
  void surroundLayers(ArrayRef<SketchedLayer> sketched);

  ModuleOp module;
  SmallVector<Layer> layers;
  uint64_t largestLayer = 0;
  bool samples = false, sources = false;
};

} // namespace

/// Runs a pipeline given as text; its errors are diagnostics.
static LogicalResult run(ModuleOp module, StringRef pipeline) {
  std::string message;
  llvm::raw_string_ostream os(message);
  FailureOr<OpPassManager> parsed = parsePassPipeline(pipeline, os);
  if (failed(parsed))
    return module.emitError() << message;
  PassManager pm(module.getContext());
  static_cast<OpPassManager &>(pm) = std::move(*parsed);
  return pm.run(module);
}

void DryRun::collectLayers() {
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    OpOperand *weight = nullptr;
    if (auto linear = dyn_cast<LinearOp>(op))
      weight = &linear.getWeightMutable();
    else if (auto embedding = dyn_cast<EmbeddingOp>(op))
      weight = &embedding.getTableMutable();
    if (!weight)
      return;
    auto source = weight->get().getDefiningOp<WeightOp>();
    if (!source)
      return;
    layers.push_back({op, weight, source});
    if (std::optional<int64_t> bytes =
            getTensorBytes(cast<ShapedType>(source.getType())))
      largestLayer = std::max(largestLayer, uint64_t(*bytes));
  });
}

/// The format of a weight of `rows` rows whose sketch has `type`.
static WeightFormatInterface getModelFormat(QuantizedType type, int64_t rows) {
  auto format = cast<WeightFormatInterface>(type.getFormat());
  return cast<WeightFormatInterface>(format.withRows(type.getRows(), rows));
}

/// One function with the layers in their order, each with one row.
FailureOr<OwningOpRef<ModuleOp>> DryRun::makeSketch() {
  MLIRContext *context = module.getContext();
  OpBuilder b(context);
  Location loc = module.getLoc();
  OwningOpRef<ModuleOp> sketch = ModuleOp::create(loc);
  (*sketch)->setAttr(kSketchAttr, b.getUnitAttr());
  b.setInsertionPointToStart(sketch->getBody());
  auto function =
      func::FuncOp::create(b, loc, "sketch", b.getFunctionType({}, {}));
  Block *body = function.addEntryBlock();
  b.setInsertionPointToStart(body);
  // Layers that share a weight share it here too.
  DenseMap<Attribute, TypedAttr> rows;
  for (Layer &layer : layers) {
    auto type = cast<RankedTensorType>(layer.source.getType());
    int64_t columns = type.getDimSize(1);
    auto rowType = RankedTensorType::get({1, columns}, b.getF32Type());
    TypedAttr &row = rows[layer.source.getValue()];
    if (!row) {
      llvm::Expected<AsmResourceBlob> blob = allocateBlob(columns * 4);
      if (!blob)
        return module.emitError() << llvm::toString(blob.takeError());
      row = DenseResourceElementsAttr::get(rowType, "sketch", std::move(*blob));
    }
    Value weight = WeightOp::create(b, loc, rowType, row);
    auto input = [&](Type element, ArrayRef<int64_t> shape) {
      return body->addArgument(RankedTensorType::get(shape, element), loc);
    };
    constexpr int64_t any = ShapedType::kDynamic;
    if (auto linear = dyn_cast<LinearOp>(layer.op)) {
      Value bias = linear.getBias() ? input(b.getF32Type(), {1}) : Value();
      auto sketched = LinearOp::create(
          b, loc, RankedTensorType::get({any, 1}, b.getF32Type()),
          linear.getNameAttr(), input(b.getF32Type(), {any, columns}), weight,
          bias, /*method=*/DictionaryAttr());
      sketched->setAttr(kSketchAttr, b.getI64IntegerAttr(type.getDimSize(0)));
      if (Attribute bits = layer.op->getAttr(kBitsAttr))
        sketched->setAttr(kBitsAttr, bits);
    } else {
      EmbeddingOp::create(b, loc,
                          RankedTensorType::get({any, columns}, b.getF32Type()),
                          input(b.getI32Type(), {any}), weight,
                          /*method=*/DictionaryAttr());
    }
  }
  func::ReturnOp::create(b, loc);
  function.setFunctionType(b.getFunctionType(body->getArgumentTypes(), {}));
  return sketch;
}

/// What has become of the layers, in order.
static SmallVector<SketchedLayer> getLayers(ModuleOp sketch) {
  SmallVector<SketchedLayer> layers;
  sketch.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (auto embedding = dyn_cast<EmbeddingOp>(op))
      layers.emplace_back().weight = embedding.getTable().getType();
    auto linear = dyn_cast<LinearOp>(op);
    if (!linear)
      return;
    Value input = linear.getInput();
    SketchedLayer &layer = layers.emplace_back();
    layer.weight = linear.getWeight().getType();
    layer.input = dyn_cast<QuantizedType>(input.getType());
    if (auto quantize = input.getDefiningOp<QuantizeActivationOp>())
      input = quantize.getInput();
    if (auto permute = input.getDefiningOp<PermuteChannelsOp>()) {
      layer.order = permute.getOrder();
      input = permute.getInput();
    }
    if (auto rotate = input.getDefiningOp<RotateOp>()) {
      layer.inputRotation = rotate.getRotation();
      layer.scaled = bool(rotate.getScale());
    }
    layer.outputRotation = linear->getAttrOfType<RotationAttr>(kSketchAttr);
  });
  return layers;
}

/// Puts what the chain has put around the layers of the sketch around those of
/// the model: one for all layers that share it.
void DryRun::surroundLayers(ArrayRef<SketchedLayer> sketched) {
  DenseMap<std::pair<Value, Attribute>, Value> permuted;
  DenseMap<std::pair<Value, Type>, Value> quantized;
  for (auto [layer, made] : llvm::zip_equal(layers, sketched)) {
    auto linear = dyn_cast<LinearOp>(layer.op);
    if (!linear || isa<QuantizedType>(linear.getInput().getType()))
      continue;
    OpBuilder b(linear);
    if (made.inputRotation) {
      TypedAttr scale;
      if (made.scaled)
        scale = DenseResourceElementsAttr::get(
            RankedTensorType::get(
                {cast<ShapedType>(linear.getInput().getType()).getDimSize(1)},
                b.getF16Type()),
            "planned", AsmResourceBlob());
      linear.getInputMutable().assign(
          rotateInput(linear, made.inputRotation, scale));
    }
    if (made.outputRotation)
      rotateResult(linear, made.outputRotation, /*transposed=*/true);
    if (made.order) {
      Value &input = permuted[{linear.getInput(), made.order}];
      if (!input)
        input = PermuteChannelsOp::create(b, linear.getLoc(), linear.getInput(),
                                          made.order);
      linear.getInputMutable().assign(input);
    }
    if (made.input) {
      Value &input = quantized[{linear.getInput(), made.input}];
      if (!input)
        input = QuantizeActivationOp::create(b, linear.getLoc(), made.input,
                                             linear.getInput());
      linear.getInputMutable().assign(input);
    }
  }
}

LogicalResult DryRun::replaceWeights(ModuleOp sketch) {
  SmallVector<SketchedLayer> sketched = getLayers(sketch);
  if (sketched.size() != layers.size())
    return module.emitError() << "the chain of methods adds or removes layers, "
                                 "which a dry run cannot follow";
  // One weight for all layers that share a source, as methods make it.
  DenseMap<std::pair<Operation *, Attribute>, Value> made;
  for (auto [layer, result] : llvm::zip_equal(layers, sketched)) {
    auto type = dyn_cast<QuantizedType>(result.weight);
    if (!type)
      continue;
    auto source = cast<RankedTensorType>(layer.source.getType());
    int64_t n = source.getDimSize(0), k = source.getDimSize(1);
    WeightFormatInterface format = getModelFormat(type, n);
    if (failed(
            format.verifyShape([&] { return layer.op->emitOpError(); }, n, k)))
      return failure();
    Value &weight = made[{layer.source, format}];
    if (!weight) {
      OpBuilder b(layer.source);
      NamedAttrList components;
      for (const WeightComponent &component : format.getComponents(n, k))
        components.append(component.name,
                          DenseResourceElementsAttr::get(
                              component.type, "planned", AsmResourceBlob()));
      weight = QuantizedWeightOp::create(
          b, layer.op->getLoc(),
          QuantizedType::get(b.getContext(), {n, k}, format),
          components.getDictionary(b.getContext()));
    }
    layer.weight->set(weight);
    if (layer.source->use_empty())
      layer.source.erase();
  }
  surroundLayers(sketched);
  return success();
}

LogicalResult DryRun::quantize(const Chain &chain) {
  collectLayers();
  if (chain.empty() || layers.empty())
    return success();
  auto sketch = makeSketch();
  if (failed(sketch) ||
      failed(run(**sketch, "builtin.module(" + chain.getPipeline() + ")")))
    return failure();
  samples = (**sketch)->hasAttr(kSketchSamplesAttr);
  sources = (**sketch)->hasAttr(kKeepOriginalsAttr);
  return replaceWeights(**sketch);
}

FailureOr<SmallVector<int64_t>> DryRun::getBytes(const Chain &chain,
                                                 int64_t bits) {
  auto sketch = makeSketch();
  if (failed(sketch))
    return failure();
  Builder b(module.getContext());
  (**sketch).walk([&](LinearOp layer) {
    if (layer.getName() != kHeadName)
      layer->setAttr(kBitsAttr, b.getI64IntegerAttr(bits));
  });
  if (failed(run(**sketch, "builtin.module(" + chain.getPipeline() + ")")))
    return failure();
  SmallVector<int64_t> bytes;
  llvm::DenseSet<Value> permuted; // inputs, whose order counts once
  for (auto [layer, sketched] : llvm::zip_equal(layers, getLayers(**sketch))) {
    int64_t &sum = bytes.emplace_back(0);
    auto type = dyn_cast<QuantizedType>(sketched.weight);
    auto linear = dyn_cast<LinearOp>(layer.op);
    if (!type || !linear)
      continue;
    auto shape = cast<ShapedType>(layer.source.getType()).getShape();
    if (sketched.order && permuted.insert(linear.getInput()).second)
      sum += kOrderBytes * shape[1];
    if (sketched.scaled)
      sum += 4 * shape[1]; // f32
    sum += getPackedBytes(QuantizedType::get(type.getContext(), shape,
                                             getModelFormat(type, shape[0])));
  }
  return bytes;
}

LogicalResult DryRun::setWidths(const Chain &chain) {
  collectLayers();
  std::vector<SmallVector<int64_t>> widths(layers.size());
  for (int64_t bits = 2; bits <= 8; ++bits) {
    FailureOr<SmallVector<int64_t>> bytes = getBytes(chain, bits);
    if (failed(bytes))
      return failure();
    for (auto [own, each] : llvm::zip_equal(widths, *bytes))
      own.push_back(each);
  }
  Builder b(module.getContext());
  for (auto [layer, own] : llvm::zip_equal(layers, widths))
    if (own.front() && cast<LinearOp>(layer.op).getName() != kHeadName)
      layer.op->setAttr(kWidthsAttr, b.getDenseI64ArrayAttr(own));
  return success();
}

LogicalResult llq::measureWidths(ModuleOp module, const Chain &chain) {
  return DryRun(module).setWidths(chain);
}

uint64_t DryRun::getHeldBytes() {
  uint64_t bytes = 0;
  llvm::DenseSet<Attribute> seen;
  auto add = [&](Attribute value) {
    value.walk([&](DenseResourceElementsAttr resource) {
      if (seen.insert(resource).second)
        bytes += getTensorBytes(resource.getType()).value_or(0);
    });
  };
  module.walk([&](Operation *op) {
    if (auto weight = dyn_cast<WeightOp>(op))
      add(weight.getValue());
    else if (auto quantized = dyn_cast<QuantizedWeightOp>(op))
      for (NamedAttribute component : quantized.getComponents())
        add(component.getValue());
  });
  return bytes;
}

/// Of two things that take turns.
static CalibrationBytes getLargest(const CalibrationBytes &a,
                                   const CalibrationBytes &b) {
  return {std::max(a.memory, b.memory), std::max(a.file, b.file)};
}

/// The head, if it is quantized.
static LinearOp getQuantizedHead(ModuleOp module) {
  LinearOp head;
  module.walk([&](LinearOp layer) {
    if (layer.getName() == kHeadName &&
        isa<QuantizedType>(layer.getWeight().getType()))
      head = layer;
  });
  return head;
}

llvm::Expected<CompilePlan> llq::planCompile(ModuleOp module,
                                             const CompileOptions &options) {
  Chain chain;
  if (!options.quantize.empty()) {
    llvm::Expected<Chain> parsed = parseChain(options.quantize);
    if (!parsed)
      return parsed.takeError();
    chain = *parsed;
  }
  CompileOptions rest = options;
  rest.quantize.clear();
  rest.fit.clear();
  llvm::Expected<std::string> pipeline = buildPipeline(rest);
  if (!pipeline)
    return pipeline.takeError();

  CompilePlan plan;
  if (auto tokenizer =
          module->getAttrOfType<DenseResourceElementsAttr>(kTokenizerAttr))
    plan.tokenizerBytes = getTensorBytes(tokenizer.getType()).value_or(0);
  CalibrationBytes calibration;
  if (const SampleOptions &samples = options.calibration;
      !samples.file.empty() && !chain.empty())
    if (auto forward = module.lookupSymbol<func::FuncOp>(kForwardName)) {
      int64_t tokens = samples.samples * samples.length;
      calibration = getCalibrationBytes(forward, tokens, samples.length);
      if (chain.contains(kTunePassName))
        calibration = getLargest(calibration,
                                 getTuneBytes(forward, tokens, samples.length));
    }
  DryRun dryRun(module);
  // Reported as diagnostics.
  auto reported = [] { return llvm::createStringError(""); };
  // Weights that the chain would make have no values, and those that the model
  // has are not this module's own.
  module->setAttr(kSketchAttr, UnitAttr::get(module.getContext()));
  // Rotates no weight before it is read, so that the model itself can go first.
  auto [rotations, methods] = chain.splitRotations();
  if (!rotations.empty() &&
      failed(run(module, "builtin.module(" + rotations.getPipeline() + ")")))
    return reported();
  uint64_t sourceBytes = dryRun.getHeldBytes();
  if (failed(dryRun.quantize(methods)))
    return reported();
  if (!dryRun.needsSamples())
    calibration = {};
  else if (LinearOp head = getQuantizedHead(module))
    calibration.memory = std::max(calibration.memory, getLayerBytes(head));
  plan.peakBytes =
      (dryRun.keepsSources() ? sourceBytes : 0) + dryRun.getHeldBytes() +
      kBaseBytes +
      std::max<uint64_t>(dryRun.getLargestLayer(), calibration.memory);
  plan.fileBytes = calibration.file;
  if (failed(run(module, *pipeline)))
    return reported();
  FailureOr<EmitReport> measured = measureModel(module);
  if (failed(measured))
    return reported();
  plan.emit = *measured;
  plan.emit.bytes +=
      llvm::alignTo(plan.tokenizerBytes, LLQRT_SEGMENT_ALIGNMENT);
  return plan;
}
