//===- FoldScales.cpp - Moves scales from one op to the next --------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Transforms/FoldScales.h"

#include "llq/Calibration/InputStatistics.h"
#include "llq/Support/WeightBlob.h"

#include "mlir/IR/Builders.h"

#include <cmath>

using namespace mlir;
using namespace llq;

//===----------------------------------------------------------------------===//
// Where scales can go
//===----------------------------------------------------------------------===//

bool llq::isScalable(LinearOp layer) {
  return isa_and_nonnull<WeightOp>(layer.getWeight().getDefiningOp());
}

LogicalResult llq::verifyUnquantized(LinearOp layer, StringRef pass) {
  bool activations = isa<QuantizedType>(layer.getInput().getType());
  if (isScalable(layer) && !activations)
    return success();
  InFlightDiagnostic error =
      layer.emitLayerError()
      << (activations ? "has quantized activations" : "is quantized")
      << " already";
  error.attachNote() << "run " << pass << " in front of what quantizes";
  return error;
}

bool llq::isReadByLayersOnly(const Site &site) {
  return llvm::all_of(site.input.getUsers(), [&](Operation *user) {
    return llvm::is_contained(site.layers, user);
  });
}

/// The linear layer that makes `value` for one reader alone.
static LinearOp getOnlyProducer(Value value) {
  auto layer = value.getDefiningOp<LinearOp>();
  return layer && value.hasOneUse() ? layer : LinearOp();
}

Operation *llq::getDivisor(const Site &site) {
  Operation *op = site.input.getDefiningOp();
  if (!op || !isReadByLayersOnly(site))
    return nullptr;
  if (auto norm = dyn_cast<RMSNormOp>(op))
    return norm;
  // Not the gate, whose function is not linear.
  if (auto gated = dyn_cast<SwiGLUOp>(op))
    return getOnlyProducer(gated.getUp());
  // Attention mixes tokens, not channels.
  if (auto attention = dyn_cast<AttentionOp>(op))
    return getOnlyProducer(attention.getValue());
  return nullptr;
}

static bool isSource(Value value) {
  return !value || isa_and_nonnull<WeightOp>(value.getDefiningOp());
}

bool llq::isFoldable(const Site &site) {
  Operation *divisor = getDivisor(site);
  if (!divisor || !llvm::all_of(site.layers, isScalable))
    return false;
  if (auto layer = dyn_cast<LinearOp>(divisor))
    return isScalable(layer) && isSource(layer.getBias());
  return isSource(cast<RMSNormOp>(divisor).getWeight());
}

void llq::recordPreparation(LinearOp layer, StringRef method,
                            ArrayRef<std::pair<StringRef, double>> figures) {
  Builder b(layer.getContext());
  NamedAttrList entry;
  entry.set("name", b.getStringAttr(method));
  for (auto [name, value] : figures)
    entry.set(name, b.getF64FloatAttr(value));
  SmallVector<Attribute> all;
  if (auto earlier = layer->getAttrOfType<ArrayAttr>(kPreparedAttr))
    llvm::append_range(all, earlier);
  all.push_back(entry.getDictionary(layer.getContext()));
  layer->setAttr(kPreparedAttr, b.getArrayAttr(all));
}

//===----------------------------------------------------------------------===//
// New weights
//===----------------------------------------------------------------------===//

/// `weight` with more scales. They join what is there where that leaves the
/// order of its products.
static TypedAttr scale(TypedAttr weight, TypedAttr rows, TypedAttr columns) {
  auto scaled = dyn_cast<ScaledAttr>(weight);
  bool free = scaled && !scaled.getClip() && !(rows && scaled.getRows()) &&
              !(columns && scaled.getColumns());
  if (!free)
    return ScaledAttr::get(weight, rows, columns);
  return ScaledAttr::get(scaled.getSource(), rows ? rows : scaled.getRows(),
                         columns ? columns : scaled.getColumns());
}

//===----------------------------------------------------------------------===//
// Folding
//===----------------------------------------------------------------------===//

LogicalResult ScaleFolder::divide(RMSNormOp norm, StringRef name,
                                  ArrayRef<float> factors) {
  OpOperand &weight = norm.getWeightMutable();
  llvm::Expected<std::vector<float>> values = reader.readAll(getWeight(weight));
  if (!values)
    return norm.emitOpError() << llvm::toString(values.takeError());
  for (auto [k, value] : llvm::enumerate(*values)) {
    value /= factors[k];
    if (!std::isfinite(value))
      return norm.emitOpError("has a weight of ")
             << value << " in channel " << k << " once it is divided by "
             << factors[k];
  }
  replace(weight, makeResource(norm.getContext(), {int64_t(values->size())},
                               *values, name));
  return success();
}

LogicalResult ScaleFolder::divideRows(LinearOp layer, ArrayRef<float> factors) {
  SmallVector<float> inverse(
      llvm::map_range(factors, [](float factor) { return 1.0f / factor; }));
  MLIRContext *context = layer.getContext();
  int64_t rows = inverse.size();
  if (layer.getBias()) {
    OpOperand &bias = layer.getBiasMutable()[0];
    llvm::Expected<std::vector<float>> values = reader.readAll(getWeight(bias));
    if (!values)
      return layer.emitLayerError() << llvm::toString(values.takeError());
    for (auto [value, factor] : llvm::zip_equal(*values, inverse))
      value *= factor;
    replace(bias, makeResource(context, {rows}, *values,
                               (layer.getName() + ".bias").str()));
  }
  TypedAttr scales =
      makeResource(context, {rows}, inverse, (layer.getName() + ".rows").str());
  OpOperand &weight = layer.getWeightMutable();
  replace(weight, scale(getWeight(weight), scales, /*columns=*/{}));
  return success();
}

LogicalResult ScaleFolder::divideStatistics(LinearOp layer,
                                            ArrayRef<float> factors) {
  if (!layer->hasAttr(kStatsAttr))
    return success();
  FailureOr<InputStatistics> statistics = readStatistics(layer);
  if (failed(statistics))
    return failure();
  divideInputs(*statistics, factors);
  attachStatistics(layer, *statistics);
  return success();
}

LogicalResult ScaleFolder::fold(const Site &site, ArrayRef<float> factors) {
  assert(isFoldable(site) && "nothing divides the inputs of the site");
  StringRef name = LinearOp(site.layers.front()).getName();
  Operation *divisor = getDivisor(site);
  if (auto norm = dyn_cast<RMSNormOp>(divisor)) {
    if (failed(divide(norm, (name + ".norm").str(), factors)))
      return failure();
  } else {
    SmallVector<float> rows(factors);
    if (auto attention = site.input.getDefiningOp<AttentionOp>()) {
      // One factor for each row of a head that several heads of queries share.
      rows.clear();
      int64_t size = attention.getHeadDim();
      int64_t sharing = attention.getHeads() / attention.getKvHeads();
      for (int64_t i = 0, e = factors.size() / sharing; i < e; ++i)
        rows.push_back(factors[i / size * size * sharing + i % size]);
    }
    if (failed(divideRows(cast<LinearOp>(divisor), rows)))
      return failure();
  }
  multiplyColumns(site, factors);
  for (LinearOp layer : site.layers)
    if (failed(divideStatistics(layer, factors)))
      return failure();
  return success();
}

void ScaleFolder::multiplyColumns(const Site &site, ArrayRef<float> factors) {
  LinearOp first = site.layers.front();
  TypedAttr columns =
      makeResource(first.getContext(), {int64_t(factors.size())}, factors,
                   (first.getName() + ".columns").str());
  for (LinearOp layer : site.layers) {
    OpOperand &weight = layer.getWeightMutable();
    replace(weight, scale(getWeight(weight), /*rows=*/{}, columns));
  }
}

LogicalResult ScaleFolder::foldGains(const Site &site) {
  assert(isFoldable(site) && "layers cannot take the gains");
  auto norm = site.input.getDefiningOp<RMSNormOp>();
  OpOperand &weight = norm.getWeightMutable();
  llvm::Expected<std::vector<float>> gains = reader.readAll(getWeight(weight));
  if (!gains)
    return norm.emitOpError() << llvm::toString(gains.takeError());
  if (llvm::Error error = verifyFinite(*gains, 0, gains->size()))
    return norm.emitOpError() << llvm::toString(std::move(error));
  std::vector<float> ones(gains->size(), 1.0f);
  if (*gains == ones)
    return success();
  LinearOp first = site.layers.front();
  replace(weight, makeResource(norm.getContext(), {int64_t(ones.size())}, ones,
                               (first.getName() + ".norm").str()));
  multiplyColumns(site, *gains);
  return success();
}

void ScaleFolder::clip(LinearOp layer, ArrayRef<float> bounds, int64_t group) {
  OpOperand &weight = layer.getWeightMutable();
  TypedAttr value = getWeight(weight);
  int64_t rows = cast<ShapedType>(value.getType()).getDimSize(0);
  TypedAttr clip =
      makeResource(layer.getContext(), {rows, int64_t(bounds.size()) / rows},
                   bounds, (layer.getName() + ".clip").str());
  auto scaled = dyn_cast<ScaledAttr>(value);
  if (scaled && !scaled.getClip())
    value = ScaledAttr::get(scaled.getSource(), scaled.getRows(),
                            scaled.getColumns(), clip, group);
  else
    value = ScaledAttr::get(value, {}, {}, clip, group);
  replace(weight, value);
}
