//===- Rotate.cpp - Models in bases without outliers ----------------------===//
//
// Ashkboos et al., "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs",
// arXiv 2404.00456. Departures: one block of d channels is one head of values,
// so that nothing is rotated across heads at run time; matrices have random
// signs everywhere; the published code's subtraction of means from embeddings
// is left out, since RMS norms do not subtract them; a weight that others read
// too stays as it is, with a rotation at run time beside it.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/WeightBlob.h"
#include "llq/Transforms/FoldScales.h"
#include "llq/Transforms/Passes.h"
#include "llq/Transforms/RotateLayers.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DEF_ROTATEPASS
#include "llq/Transforms/Passes.h.inc"

namespace {

/// The residual stream: what embeddings and layers are added up to.
struct Stream {
  /// Operands, apart by whether weights can take the rotation.
  struct Operands {
    SmallVector<OpOperand *> folded, others;
  };
  Operands tables;  ///< of embeddings, which it begins at
  Operands writers; ///< of additions to it
  Operands readers; ///< what other ops read of it
};

/// What becomes of a weight.
struct RotatedWeight {
  RankedTensorType type;
  RotationAttr input, output;
};

class Rotator {
public:
  Rotator(ModuleOp module, func::FuncOp forward, int64_t seed)
      : forward(forward), seed(seed), folder(module) {}

  /// Emits an error if the model cannot be rotated (any more).
  LogicalResult verify();
  LogicalResult rotateResidual();
  LogicalResult rotateValues();
  void rotateDown();
  /// Puts the rotated weights in place.
  void finish();

private:
  void collect();
  Stream collectStream();
  bool isOwn(OpOperand &weight) const { return own.contains(&weight); }
  bool areOwn(const Site *site) const;
  const Site *findSite(Value input) const;
  bool canFoldInto(LinearOp producer) const;
  bool canFoldReader(OpOperand &reader) const;

  LogicalResult rotateStream(const Stream &stream, RotationAttr rotation);
  void rotateInputs(OpOperand &weight, RotationAttr rotation);
  void rotateInputs(const Site &site, RotationAttr rotation);
  LogicalResult rotateOutputs(LinearOp layer, RotationAttr rotation);
  /// Rotates what `operand` reads at run time, once for all that ask for it.
  void rotateOperand(OpOperand *operand, RotationAttr rotation,
                     bool transposed);
  RotatedWeight &getWeight(OpOperand &operand);
  RotationAttr choose(int64_t channels, RotationUse use) {
    return chooseRotation(forward.getContext(), channels, seed, use);
  }

  func::FuncOp forward;
  int64_t seed;
  ScaleFolder folder;
  WeightReader reader;
  SmallVector<Site> sites;
  /// Source weights in their first basis whose values one op reads: a tied pair
  /// would take twice its bytes if one of the two read another one.
  llvm::DenseSet<OpOperand *> own;
  llvm::MapVector<OpOperand *, RotatedWeight> weights;
  llvm::DenseMap<Value, Value> rotated; ///< at run time
};

} // namespace

static int64_t getChannels(Value activation) {
  return cast<ShapedType>(activation.getType()).getDimSize(1);
}

static void reportMissed(Location loc, StringRef name, int64_t channels,
                         StringRef reason) {
  remark::missed(loc, remark::RemarkOpts::name(name).category("llq-rotate"))
      << remark::metric("Channels", channels) << remark::reason("{0}", reason);
}

static void reportRotated(Location loc, StringRef what, RotationAttr rotation,
                          int64_t atRunTime) {
  remark::analysis(loc,
                   remark::RemarkOpts::name("Rotated").category("llq-rotate"))
      << remark::metric("What", what)
      << remark::metric("Kind", stringifyRotationKind(rotation.getKind()))
      << remark::metric("Size", rotation.getSize())
      << remark::metric("AtRunTime", atRunTime);
}

//===----------------------------------------------------------------------===//
// What can be rotated
//===----------------------------------------------------------------------===//

/// What has prepared a layer last.
static StringRef getLastName(ArrayAttr prepared) {
  auto last = prepared.empty()
                  ? DictionaryAttr()
                  : dyn_cast<DictionaryAttr>(prepared.getValue().back());
  auto name = last ? last.getAs<StringAttr>("name") : StringAttr();
  return name ? name.getValue() : "another rewrite";
}

static LogicalResult verifyLayer(LinearOp layer) {
  if (failed(verifyUnquantized(layer, "llq-rotate")))
    return failure();
  if (auto prepared = layer->getAttrOfType<ArrayAttr>(kPreparedAttr)) {
    InFlightDiagnostic error = layer.emitLayerError()
                               << "has been through " << getLastName(prepared)
                               << " already";
    error.attachNote() << "run llq-rotate once, in front of what scales or "
                          "quantizes";
    return error;
  }
  if (layer->hasAttr(kStatsAttr)) {
    InFlightDiagnostic error = layer.emitLayerError()
                               << "has statistics of inputs that a rotation "
                                  "changes";
    error.attachNote() << "run llq-rotate in front of llq-attach-stats";
    return error;
  }
  return success();
}

LogicalResult Rotator::verify() {
  collect();
  if (sites.empty())
    return forward->getParentOfType<ModuleOp>().emitError(
        "llq-rotate: found no llq.linear, the normal form of a model is "
        "needed");
  for (const Site &site : sites)
    for (LinearOp layer : site.layers)
      if (failed(verifyLayer(layer)))
        return failure();
  return success();
}

static bool isRotated(Attribute weight) {
  return weight.walk([](RotatedAttr) { return WalkResult::interrupt(); })
      .wasInterrupted();
}

void Rotator::collect() {
  sites = getSites(forward);
  llvm::MapVector<Attribute, SmallVector<OpOperand *, 1>> uses;
  for (Operation &op : forward.getBody().front())
    for (OpOperand &operand : op.getOpOperands())
      if (auto weight = operand.get().getDefiningOp<WeightOp>())
        uses[weight.getValue()].push_back(&operand);
  for (auto &[value, operands] : uses)
    if (operands.size() == 1 && !isRotated(value))
      own.insert(operands.front());
}

const Site *Rotator::findSite(Value input) const {
  const Site *site =
      llvm::find_if(sites, [&](const Site &s) { return s.input == input; });
  return site == sites.end() ? nullptr : site;
}

/// Whether nothing but the layers of `site` reads its input, and all of them
/// can be rotated.
bool Rotator::areOwn(const Site *site) const {
  return site && isReadByLayersOnly(*site) &&
         llvm::all_of(site->layers, [&](LinearOp layer) {
           return isOwn(layer.getWeightMutable());
         });
}

/// Whether `producer` can make its results in another basis.
bool Rotator::canFoldInto(LinearOp producer) const {
  return producer && producer->hasOneUse() &&
         isOwn(producer.getWeightMutable()) &&
         (!producer.getBias() || producer.getBias().getDefiningOp<WeightOp>());
}

bool Rotator::canFoldReader(OpOperand &reader) const {
  auto norm = dyn_cast<RMSNormOp>(reader.getOwner());
  const Site *site = norm ? findSite(norm.getResult()) : nullptr;
  return areOwn(site) && isFoldable(*site);
}

Stream Rotator::collectStream() {
  Stream stream;
  auto add = [](Stream::Operands &operands, OpOperand &operand, bool folds) {
    (folds ? operands.folded : operands.others).push_back(&operand);
  };
  llvm::DenseSet<Value> values;
  auto isIn = [&](Value value) { return values.contains(value); };
  for (Operation &op : forward.getBody().front()) {
    if (auto embedding = dyn_cast<EmbeddingOp>(op)) {
      OpOperand &table = embedding.getTableMutable();
      add(stream.tables, table, isOwn(table));
      values.insert(embedding.getResult());
      continue;
    }
    bool adds = isa<AddOp>(op) && llvm::any_of(op.getOperands(), isIn);
    for (OpOperand &operand : op.getOpOperands()) {
      if (adds && !isIn(operand.get()))
        add(stream.writers, operand,
            canFoldInto(operand.get().getDefiningOp<LinearOp>()));
      else if (!adds && isIn(operand.get()))
        add(stream.readers, operand, canFoldReader(operand));
    }
    if (adds)
      values.insert(op.getResult(0));
  }
  return stream;
}

//===----------------------------------------------------------------------===//
// Rotating
//===----------------------------------------------------------------------===//

/// The rotations of the weight that `operand` is. Layers of the decoder blocks
/// become f32, as scaled ones do: what quantizes them reads them without
/// another rounding. The embedding and the head, which mostly stay, keep their
/// type and so their bytes.
RotatedWeight &Rotator::getWeight(OpOperand &operand) {
  RotatedWeight &weight = weights[&operand];
  if (weight.type)
    return weight;
  auto source = cast<RankedTensorType>(operand.get().getType());
  auto layer = dyn_cast<LinearOp>(operand.getOwner());
  bool keepsType = !layer || layer.getName() == kHeadName;
  weight.type =
      keepsType ? source
                : RankedTensorType::get(source.getShape(),
                                        Float32Type::get(source.getContext()));
  return weight;
}

void Rotator::rotateInputs(OpOperand &weight, RotationAttr rotation) {
  getWeight(weight).input = rotation;
}

void Rotator::rotateInputs(const Site &site, RotationAttr rotation) {
  for (LinearOp layer : site.layers)
    rotateInputs(layer.getWeightMutable(), rotation);
}

LogicalResult Rotator::rotateOutputs(LinearOp layer, RotationAttr rotation) {
  getWeight(layer.getWeightMutable()).output = rotation;
  if (!layer.getBias())
    return success();
  OpOperand &bias = layer.getBiasMutable()[0];
  llvm::Expected<std::vector<float>> values =
      reader.readAll(WeightReplacer::getWeight(bias));
  if (!values)
    return layer.emitLayerError() << llvm::toString(values.takeError());
  ThreadPool pool(1);
  int64_t rows = values->size();
  rotation.getMatrix()->apply(values->data(), rows / rotation.getSize(), pool);
  folder.replace(bias, makeResource(layer.getContext(), {rows}, *values,
                                    (layer.getName() + ".bias").str()));
  return success();
}

void Rotator::rotateOperand(OpOperand *operand, RotationAttr rotation,
                            bool transposed) {
  Value &result = rotated[operand->get()];
  if (!result) {
    OpBuilder b(operand->getOwner());
    b.setInsertionPointAfterValue(operand->get());
    result = RotateOp::create(b, operand->getOwner()->getLoc(),
                              operand->get().getType(), operand->get(), Value(),
                              rotation, transposed);
  }
  operand->set(result);
}

LogicalResult Rotator::rotateResidual() {
  Stream stream = collectStream();
  auto [folded, shared] = stream.tables;
  if (folded.empty() && shared.empty()) {
    reportMissed(forward.getLoc(), "NotRotated", 0,
                 "there is no embedding that a residual stream begins at");
    return success();
  }
  OpOperand *table = folded.empty() ? shared.front() : folded.front();
  int64_t channels = getChannels(table->getOwner()->getResult(0));
  int64_t atRunTime = int64_t(shared.size() + stream.writers.others.size() +
                              stream.readers.others.size());
  RotationAttr rotation = choose(channels, atRunTime ? RotationUse::Activations
                                                     : RotationUse::Weights);
  if (!rotation) {
    reportMissed(forward.getLoc(), "NotRotated", channels,
                 "there is no orthogonal matrix for the residual stream");
    return success();
  }
  reportRotated(forward.getLoc(), "residual", rotation, atRunTime);
  return rotateStream(stream, rotation);
}

LogicalResult Rotator::rotateStream(const Stream &stream,
                                    RotationAttr rotation) {
  auto reportRunTime = [&](OpOperand *operand, StringRef reason) {
    reportMissed(operand->getOwner()->getLoc(), "NotFolded", rotation.getSize(),
                 reason);
  };
  for (OpOperand *table : stream.tables.folded)
    rotateInputs(*table, rotation);
  for (OpOperand *table : stream.tables.others) {
    reportRunTime(table, "the table is quantized, or the head's too");
    rotateResult(table->getOwner()->getResult(0), rotation,
                 /*transposed=*/false);
  }
  for (OpOperand *writer : stream.writers.folded)
    if (failed(
            rotateOutputs(writer->get().getDefiningOp<LinearOp>(), rotation)))
      return failure();
  for (OpOperand *writer : stream.writers.others) {
    reportRunTime(writer, "what is added is no layer's result with a weight of "
                          "its own that nothing else reads");
    rotateOperand(writer, rotation, /*transposed=*/false);
  }
  for (OpOperand *reader : stream.readers.folded) {
    const Site *site = findSite(reader->getOwner()->getResult(0));
    // With the types that the weights have now.
    rotateInputs(*site, rotation);
    if (failed(folder.foldGains(*site)))
      return failure();
  }
  for (OpOperand *reader : stream.readers.others) {
    reportRunTime(reader, "it is no norm read by nothing but layers with "
                          "weights of their own");
    rotateOperand(reader, rotation, /*transposed=*/true);
  }
  return success();
}

LogicalResult Rotator::rotateValues() {
  for (auto attention : forward.getOps<AttentionOp>()) {
    auto values = attention.getValue().getDefiningOp<LinearOp>();
    const Site *site = findSite(attention.getResult());
    RotationAttr rotation =
        choose(attention.getHeadDim(), RotationUse::Weights);
    if (!canFoldInto(values) || !areOwn(site) || !rotation) {
      reportMissed(attention.getLoc(), "NotRotated", attention.getHeadDim(),
                   rotation ? "its values or its result are not only those of "
                              "layers with weights of their own"
                            : "there is no orthogonal matrix for its heads");
      continue;
    }
    if (failed(rotateOutputs(values, rotation)))
      return failure();
    rotateInputs(*site, rotation);
    reportRotated(attention.getLoc(), "values", rotation, 0);
  }
  return success();
}

void Rotator::rotateDown() {
  for (auto gated : llvm::to_vector(forward.getOps<SwiGLUOp>())) {
    Value input = gated.getResult();
    const Site *site = findSite(input);
    RotationAttr rotation =
        choose(getChannels(input), RotationUse::Activations);
    if (!areOwn(site) || !rotation) {
      reportMissed(gated.getLoc(), "NotRotated", getChannels(input),
                   rotation ? "its result is not read by layers with weights "
                              "of their own only"
                            : "there is no orthogonal matrix for its channels");
      continue;
    }
    rotateInputs(*site, rotation);
    rotateResult(input, rotation, /*transposed=*/false);
    reportRotated(gated.getLoc(), "down", rotation, 1);
  }
}

void Rotator::finish() {
  for (auto &[operand, weight] : weights) {
    folder.replace(*operand,
                   RotatedAttr::get(forward.getContext(), weight.type,
                                    WeightReplacer::getWeight(*operand),
                                    weight.input, weight.output));
    if (auto layer = dyn_cast<LinearOp>(operand->getOwner()))
      recordPreparation(layer, "rotate", {{"seed", double(seed)}});
  }
}

namespace {
struct RotatePass : impl::RotatePassBase<RotatePass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    // A sketch of the layers alone: their formats stay.
    if (module->hasAttr(kSketchAttr) && !module.lookupSymbol(kForwardName))
      return;
    if (failed(rotate(module)))
      signalPassFailure();
  }

  LogicalResult rotate(ModuleOp module) {
    if (!residual && !values && !down)
      return emitError(module.getLoc(),
                       "llq-rotate: residual, values and down are all false, "
                       "one of them has to be true");
    if (module->hasAttr(kKeepOriginalsAttr))
      return emitError(module.getLoc(),
                       "llq-rotate: goes in front of llq-keep-originals, which "
                       "has kept weights that are not rotated");
    FailureOr<func::FuncOp> forward = getForward(module);
    if (failed(forward))
      return failure();
    Rotator rotator(module, *forward, seed);
    if (failed(rotator.verify()) ||
        (residual && failed(rotator.rotateResidual())) ||
        (values && failed(rotator.rotateValues())))
      return failure();
    if (down)
      rotator.rotateDown();
    rotator.finish();
    return success();
  }
};
} // namespace
} // namespace llq
