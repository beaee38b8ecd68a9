//===- LayerRewriter.cpp - Quantized weights in place of sources ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LayerRewriter.h"

#include "llq/Numerics/Float16.h"
#include "llq/Transforms/RotateLayers.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"

#include <chrono>
#include <cmath>

using namespace mlir;
using namespace llq;

LinearLayer
LayerRewriter::getLayer(const SelectedWeight &selected,
                        std::shared_ptr<const InputStatistics> statistics) {
  const WeightUse *table = selected.findTable();
  const WeightUse &use = table ? *table : selected.uses.front();
  numerics::UniformGridOptions grid = options.grid;
  grid.bits = selected.bits;
  return LinearLayer(use.op, use.name, selected.value, grid, reader,
                     std::move(statistics));
}

DictionaryAttr LayerRewriter::getProvenance(const QuantizedWeight &weight,
                                            Attribute prepared) const {
  MLIRContext *context = weight.getFormat().getContext();
  Builder b(context);
  NamedAttrList entries;
  entries.set("name", b.getStringAttr(options.method));
  entries.set("options", b.getStringAttr(options.options));
  entries.set("relative_error",
              b.getF64FloatAttr(weight.error->relativeError()));
  entries.set("rmse",
              b.getF64FloatAttr(std::sqrt(weight.error->meanSquaredError())));
  if (weight.scaleMin <= weight.scaleMax) {
    entries.set("scale_min", b.getF64FloatAttr(weight.scaleMin));
    entries.set("scale_max", b.getF64FloatAttr(weight.scaleMax));
    double count = double(weight.getRows()) * double(weight.getColumns());
    entries.set("clipped", b.getF64FloatAttr(double(weight.clipped) / count));
  }
  for (const QuantizedWeight::Figure &figure : weight.figures)
    entries.set(figure.name, b.getF64FloatAttr(figure.value));
  if (prepared)
    entries.set("prepared", prepared);
  return entries.getDictionary(context);
}

DictionaryAttr FinishedLayer::store() const {
  Builder b(type.getContext());
  NamedAttrList entries;
  entries.set("type", TypeAttr::get(type));
  entries.set("components", components);
  entries.set("method", method);
  if (order)
    entries.set("order", order);
  if (inputRotation)
    entries.set("input_rotation", inputRotation);
  if (inputScale)
    entries.set("input_scale", inputScale);
  if (outputRotation)
    entries.set("output_rotation", outputRotation);
  return entries.getDictionary(type.getContext());
}

std::optional<FinishedLayer> FinishedLayer::load(DictionaryAttr stored) {
  auto type = stored.getAs<TypeAttr>("type");
  FinishedLayer result{type ? dyn_cast<QuantizedType>(type.getValue())
                            : QuantizedType(),
                       stored.getAs<DictionaryAttr>("components"),
                       stored.getAs<DictionaryAttr>("method"),
                       stored.getAs<DenseIntElementsAttr>("order"),
                       stored.getAs<RotationAttr>("input_rotation"),
                       stored.getAs<RotationAttr>("output_rotation"),
                       stored.getAs<TypedAttr>("input_scale")};
  if (!result.type || !result.components || !result.method)
    return std::nullopt;
  return result;
}

/// The order of the inputs of `weight`, or null if that changes nothing.
static DenseIntElementsAttr getInputOrder(MLIRContext *context,
                                          const QuantizedWeight &weight) {
  ArrayRef<int32_t> order = weight.inputOrder;
  if (llvm::equal(order, llvm::seq<int32_t>(0, order.size())))
    return {};
  return Builder(context).getI32TensorAttr(order);
}

/// The scale of the inputs of `weight` as a resource, or null.
static TypedAttr storeInputScale(MLIRContext *context, StringRef name,
                                 const QuantizedWeight &weight) {
  if (weight.inputScale.empty())
    return {};
  std::vector<uint16_t> halves(weight.inputScale.size());
  numerics::encodeF16(weight.inputScale, halves);
  auto type = RankedTensorType::get({int64_t(halves.size())},
                                    Float16Type::get(context));
  return DenseResourceElementsAttr::get(
      type, (name + ".input_scale").str(),
      HeapAsmResourceBlob::allocateAndCopyInferAlign(
          ArrayRef<uint16_t>(halves)));
}

/// Whether the channels that a use of a weight reads can be changed.
static bool hasInputs(const WeightUse &use) {
  auto layer = dyn_cast<LinearOp>(use.op);
  return layer && isa<RankedTensorType>(layer.getInput().getType());
}

/// Whether a scale, offset or level in f16 of `weight` is the largest number of
/// that type: what is beyond it has become that, and weights have become
/// smaller with it.
static bool isClampedToF16(QuantizedWeight &weight) {
  for (auto [index, component] : llvm::enumerate(weight.getComponents())) {
    if (!component.type.getElementType().isF16())
      continue;
    ArrayRef<char> data = weight.getData(index);
    ArrayRef<uint16_t> halves(reinterpret_cast<const uint16_t *>(data.data()),
                              data.size() / sizeof(uint16_t));
    if (llvm::any_of(halves, [](uint16_t half) {
          // What follows are infinity and what is no number.
          return (half & 0x7fff) >= numerics::kLargestF16;
        }))
      return true;
  }
  return false;
}

FailureOr<FinishedLayer> LayerRewriter::quantize(const SelectedWeight &selected,
                                                 const LinearLayer &layer,
                                                 QuantizeLayerFn quantize) {
  auto start = std::chrono::steady_clock::now();
  FailureOr<QuantizedWeight> weight = quantize(layer);
  // A method that has filled the weight in its own way leaves that to us.
  auto nothing = [](const RowBlock &) { return llvm::Error::success(); };
  if (failed(weight) ||
      (!weight->error && failed(quantizeRowBlocks(layer, *weight, nothing))))
    return failure();
  if (isClampedToF16(*weight)) {
    InFlightDiagnostic error = layer.emitError()
                               << "has weights too large for scales in f16";
    error.attachNote() << "leave it out with except=" << layer.getName()
                       << " or quantize it with rtn(scale-type=f32)";
    return error;
  }
  std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  // Gives back the pages of the source that this layer has touched.
  reader.release();
  MLIRContext *context = layer.getContext();
  auto type = QuantizedType::get(
      context, {weight->getRows(), weight->getColumns()}, weight->getFormat());
  DenseIntElementsAttr order = getInputOrder(context, *weight);
  bool changesInputs = order || weight->inputRotation || weight->outputRotation;
  if (changesInputs && !llvm::all_of(selected.uses, hasInputs))
    return layer.emitError() << "has no inputs whose channels can be permuted "
                                "or rotated";
  DictionaryAttr method =
      getProvenance(*weight, selected.uses.front().op->getAttr(kPreparedAttr));
  return FinishedLayer{type,
                       weight->takeComponents(layer.getName()),
                       method,
                       order,
                       weight->inputRotation,
                       weight->outputRotation,
                       storeInputScale(context, layer.getName(), *weight),
                       time.count()};
}

/// Says what has become of a layer; figures are those of its `method`.
static void report(const WeightUse &use, StringRef methodName,
                   const FinishedLayer &finished) {
  auto format = cast<WeightFormatInterface>(finished.type.getFormat());
  int64_t rows = finished.type.getRows(), columns = finished.type.getColumns();
  // Refers to its category until it is reported, at the end of its life.
  std::string category = ("llq-quantize-" + methodName).str();
  auto remark = remark::analysis(
      use.op->getLoc(),
      remark::RemarkOpts::name("Quantized").category(category));
  remark << remark::metric("Layer", use.name) << remark::metric("Rows", rows)
         << remark::metric("Columns", columns)
         << remark::metric("BitsPerWeight",
                           format.getBitsPerWeight(rows, columns))
         << remark::metric("Seconds", finished.seconds);
  for (NamedAttribute entry : finished.method)
    if (auto figure = dyn_cast<FloatAttr>(entry.getValue()))
      remark << remark::metric(llvm::convertToCamelFromSnakeCase(
                                   entry.getName(), /*capitalizeFirst=*/true),
                               figure.getValueAsDouble());
}

/// The inputs of `layer` with their channels in `order`, the same for all
/// layers that ask for it.
static Value permuteInput(LinearOp layer, DenseIntElementsAttr order) {
  Value input = layer.getInput();
  for (Operation *user : input.getUsers())
    if (auto permute = dyn_cast<PermuteChannelsOp>(user);
        permute && permute.getOrder() == order &&
        permute->getBlock() == layer->getBlock() &&
        permute->isBeforeInBlock(layer))
      return permute;
  // Behind what makes the input, so that it is there for all who read it.
  OpBuilder b(layer);
  b.setInsertionPointAfterValue(input);
  return PermuteChannelsOp::create(b, layer.getLoc(), input, order);
}

void LayerRewriter::replace(const SelectedWeight &selected,
                            const FinishedLayer &finished) {
  report(selected.uses.front(), options.method, finished);
  bool keepsOriginals = module->hasAttr(kKeepOriginalsAttr);
  // One op in place of each llq.weight: there may be several of one value.
  llvm::SmallMapVector<Operation *, Value, 1> replacements;
  for (const WeightUse &each : selected.uses) {
    Operation *source = each.operand->get().getDefiningOp();
    Value &replacement = replacements[source];
    if (!replacement) {
      OpBuilder builder(source);
      replacement = QuantizedWeightOp::create(
          builder, source->getLoc(), finished.type, finished.components);
    }
    each.operand->set(replacement);
    if (auto layer = dyn_cast<LinearOp>(each.op)) {
      if (finished.inputRotation)
        layer.getInputMutable().assign(
            rotateInput(layer, finished.inputRotation, finished.inputScale));
      if (finished.order)
        layer.getInputMutable().assign(permuteInput(layer, finished.order));
      // The one row of a layer of a sketch cannot be rotated.
      if (finished.outputRotation && layer->hasAttr(kSketchAttr))
        layer->setAttr(kSketchAttr, finished.outputRotation);
      else if (finished.outputRotation)
        rotateResult(layer, finished.outputRotation, /*transposed=*/true);
    }
    each.op->setAttr("method", finished.method);
    // They were of a layer that still had its source weight.
    for (StringRef name : {kStatsAttr, kBitsAttr, kPreparedAttr})
      each.op->removeAttr(name);
    if (keepsOriginals) {
      each.op->setAttr(kOriginalAttr, selected.value);
      references.add(each.op);
    }
  }
  for (Operation *source : llvm::make_first_range(replacements))
    if (source->use_empty())
      references.erase(source);
}
