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

/// Whether nothing but layers of `site` reads its input.
static bool isReadByLayersOnly(const Site &site) {
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

static TypedAttr getWeight(OpOperand &operand) {
  return operand.get().getDefiningOp<WeightOp>().getValue();
}

void ScaleFolder::replace(OpOperand &operand, TypedAttr value) {
  Operation *source = operand.get().getDefiningOp();
  OpBuilder b(source);
  auto weight = WeightOp::create(b, source->getLoc(), value);
  // Before the old one goes: they may share blobs.
  references.add(weight);
  operand.set(weight);
  if (source->use_empty())
    replaced.push_back(source);
}

ScaleFolder::~ScaleFolder() {
  for (Operation *source : replaced)
    references.erase(source);
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
  TypedAttr columns =
      makeResource(divisor->getContext(), {int64_t(factors.size())}, factors,
                   (name + ".columns").str());
  for (LinearOp layer : site.layers) {
    OpOperand &weight = layer.getWeightMutable();
    replace(weight, scale(getWeight(weight), /*rows=*/{}, columns));
    if (failed(divideStatistics(layer, factors)))
      return failure();
  }
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
