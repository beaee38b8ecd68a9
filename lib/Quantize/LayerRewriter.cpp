//===- LayerRewriter.cpp - Quantized weights in place of sources ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LayerRewriter.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/MapVector.h"

#include <cmath>

using namespace mlir;
using namespace llq;

LinearLayer
LayerRewriter::getLayer(const SelectedWeight &selected,
                        std::shared_ptr<const InputStatistics> statistics) {
  const WeightUse &use = selected.uses.front();
  numerics::UniformGridOptions grid = options.grid;
  grid.bits = selected.bits;
  return LinearLayer(use.op, use.name, selected.value, grid, reader,
                     std::move(statistics));
}

DictionaryAttr
LayerRewriter::getProvenance(MLIRContext *context,
                             const QuantizedWeight &weight) const {
  Builder b(context);
  NamedAttrList entries;
  entries.set("name", b.getStringAttr(options.method));
  entries.set("options", b.getStringAttr(options.options));
  entries.set("relative_error",
              b.getF64FloatAttr(weight.error->relativeError()));
  entries.set("rmse",
              b.getF64FloatAttr(std::sqrt(weight.error->meanSquaredError())));
  for (const QuantizedWeight::Figure &figure : weight.figures)
    entries.set(figure.name, b.getF64FloatAttr(figure.value));
  return entries.getDictionary(context);
}

LogicalResult LayerRewriter::replace(const SelectedWeight &selected,
                                     QuantizedWeight &weight) {
  // A method that has filled the weight in its own way leaves that to us.
  LinearLayer layer = getLayer(selected);
  auto nothing = [](const RowBlock &) { return llvm::Error::success(); };
  if (!weight.error && failed(quantizeRowBlocks(layer, weight, nothing)))
    return failure();

  MLIRContext *context = selected.value.getContext();
  const WeightUse &use = selected.uses.front();
  double bitsPerWeight = weight.getFormat().getBitsPerWeight(
      weight.getRows(), weight.getColumns());
  // Refers to its category until it is reported, at the end of its life.
  std::string category = "llq-quantize-" + options.method;
  auto remark = remark::analysis(
      use.op->getLoc(),
      remark::RemarkOpts::name("Quantized").category(category));
  remark << remark::metric("Layer", use.name)
         << remark::metric("BitsPerWeight", bitsPerWeight)
         << remark::metric("RelativeError", weight.error->relativeError());
  for (const QuantizedWeight::Figure &figure : weight.figures)
    remark << remark::metric(figure.name, figure.value);

  auto type = QuantizedType::get(
      context, {weight.getRows(), weight.getColumns()}, weight.getFormat());
  DictionaryAttr method = getProvenance(context, weight);
  DictionaryAttr components = weight.takeComponents(use.name);
  // One op in place of each llq.weight: there may be several of one value.
  llvm::SmallMapVector<Operation *, Value, 1> replacements;
  for (const WeightUse &each : selected.uses) {
    Operation *source = each.operand->get().getDefiningOp();
    Value &replacement = replacements[source];
    if (!replacement) {
      OpBuilder builder(source);
      replacement = QuantizedWeightOp::create(builder, source->getLoc(), type,
                                              components);
    }
    each.operand->set(replacement);
    each.op->setAttr("method", method);
    // They were of a layer that still had its source weight.
    each.op->removeAttr(kStatsAttr);
  }
  for (Operation *source : llvm::make_first_range(replacements))
    if (source->use_empty())
      references.erase(source);
  // Gives back the pages of the source that this layer has touched.
  reader.release();
  return success();
}
