//===- FoldPermutations.cpp - Permutations of channels into weights -------===//
//
// Rows of a weight in another order are as many bytes and the same products, so
// what permutes the results of a layer can be had for nothing.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/WeightBlob.h"
#include "llq/Support/WeightData.h"
#include "llq/Support/WeightReferences.h"
#include "llq/Transforms/Passes.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Remarks.h"

#include <cstring>

using namespace mlir;

namespace llq {
#define GEN_PASS_DEF_FOLDPERMUTATIONSPASS
#include "llq/Transforms/Passes.h.inc"

namespace {
class PermutationFolder {
public:
  explicit PermutationFolder(ModuleOp module)
      : hasValues(!module->hasAttr(kSketchAttr)), references(module) {}

  /// Folds `permute` into what makes its input, if that is possible.
  LogicalResult fold(PermuteChannelsOp permute);

private:
  LogicalResult permuteResult(Operation *op, DenseIntElementsAttr order);
  LogicalResult permuteRows(OpOperand &weight, DenseIntElementsAttr order);
  FailureOr<TypedAttr> permuteRows(LinearOp layer, TypedAttr data,
                                   DenseIntElementsAttr order, StringRef name);

  bool hasValues; ///< of weights: there are none in a dry run
  WeightReferences references;
  WeightReader reader;
};
} // namespace

/// Whether the rows of a weight or bias can be stored in another order.
static bool hasMovableRows(Value weight) {
  if (!weight)
    return true;
  if (auto quantized = weight.getDefiningOp<QuantizedWeightOp>())
    return cast<WeightFormatInterface>(quantized.getType().getFormat())
        .hasIndependentRows();
  auto source = weight.getDefiningOp<WeightOp>();
  return source && isa<DenseResourceElementsAttr>(source.getValue());
}

/// Whether `op` can make its result in another order, for the one op that reads
/// it.
static bool canPermute(Operation *op) {
  if (!op || !op->hasOneUse())
    return false;
  if (auto layer = dyn_cast<LinearOp>(op))
    return hasMovableRows(layer.getWeight()) && hasMovableRows(layer.getBias());
  return isa<SwiGLUOp>(op) && llvm::all_of(op->getOperands(), [](Value value) {
           return canPermute(value.getDefiningOp());
         });
}

/// `data` with its rows in `order`.
FailureOr<TypedAttr> PermutationFolder::permuteRows(LinearOp layer,
                                                    TypedAttr data,
                                                    DenseIntElementsAttr order,
                                                    StringRef name) {
  auto type = cast<RankedTensorType>(data.getType());
  llvm::Expected<ArrayRef<char>> source = reader.getBytes(data);
  if (!source)
    return layer.emitLayerError() << llvm::toString(source.takeError());
  llvm::Expected<AsmResourceBlob> blob = allocateBlob(source->size());
  if (!blob)
    return layer.emitLayerError() << llvm::toString(blob.takeError());
  char *to = blob->getMutableData().data();
  size_t bytes = source->size() / type.getDimSize(0);
  for (int32_t row : order.getValues<int32_t>()) {
    std::memcpy(to, source->data() + row * bytes, bytes);
    to += bytes;
  }
  return TypedAttr(
      DenseResourceElementsAttr::get(type, name, std::move(*blob)));
}

/// Puts a weight with its rows in `order` in place of the one that `operand`
/// is.
LogicalResult PermutationFolder::permuteRows(OpOperand &operand,
                                             DenseIntElementsAttr order) {
  auto layer = cast<LinearOp>(operand.getOwner());
  Operation *source = operand.get().getDefiningOp();
  OpBuilder b(source);
  Operation *permuted;
  if (auto weight = dyn_cast<WeightOp>(source)) {
    auto data = cast<DenseResourceElementsAttr>(weight.getValue());
    FailureOr<TypedAttr> value =
        permuteRows(layer, data, order, data.getRawHandle().getKey());
    if (failed(value))
      return failure();
    permuted = WeightOp::create(b, source->getLoc(), *value);
  } else {
    auto quantized = cast<QuantizedWeightOp>(source);
    QuantizedType type = quantized.getType();
    NamedAttrList components;
    for (const WeightComponent &component :
         cast<WeightFormatInterface>(type.getFormat())
             .getComponents(type.getRows(), type.getColumns())) {
      auto data = quantized.getComponents().getAs<TypedAttr>(component.name);
      FailureOr<TypedAttr> value = data;
      if (component.hasRows)
        value = permuteRows(layer, data, order,
                            (layer.getName() + "." + component.name).str());
      if (failed(value))
        return failure();
      components.append(component.name, *value);
    }
    permuted =
        QuantizedWeightOp::create(b, source->getLoc(), quantized.getType(),
                                  components.getDictionary(b.getContext()));
  }
  references.add(permuted);
  operand.set(permuted->getResult(0));
  if (source->use_empty())
    references.erase(source);
  return success();
}

LogicalResult PermutationFolder::permuteResult(Operation *op,
                                               DenseIntElementsAttr order) {
  if (auto gated = dyn_cast<SwiGLUOp>(op)) {
    for (Value operand : gated->getOperands())
      if (failed(permuteResult(operand.getDefiningOp(), order)))
        return failure();
    return success();
  }
  if (!hasValues)
    return success();
  auto layer = cast<LinearOp>(op);
  if (failed(permuteRows(layer.getWeightMutable(), order)))
    return failure();
  if (layer.getBias())
    return permuteRows(layer.getBiasMutable()[0], order);
  return success();
}

LogicalResult PermutationFolder::fold(PermuteChannelsOp permute) {
  // One behind another takes the place of both; the identity goes.
  auto first = permute.getInput().getDefiningOp<PermuteChannelsOp>();
  SmallVector<OpFoldResult, 1> folded;
  while (folded.empty() && succeeded(permute->fold(folded)))
    ;
  if (!folded.empty()) {
    permute.replaceAllUsesWith(cast<Value>(folded.front()));
    permute.erase();
  }
  if (first && first->use_empty())
    first.erase();
  if (!folded.empty())
    return success();

  Operation *producer = permute.getInput().getDefiningOp();
  if (!canPermute(producer)) {
    remark::missed(
        permute.getLoc(),
        remark::RemarkOpts::name("NotFolded").category("llq-fold-permutations"))
        << remark::metric("Channels", int64_t(permute.getOrder().size()))
        << remark::reason("what makes the channels cannot make them in another "
                          "order, or others read them");
    return success();
  }
  if (failed(permuteResult(producer, permute.getOrder())))
    return failure();
  permute.replaceAllUsesWith(permute.getInput());
  permute.erase();
  return success();
}

namespace {
struct FoldPermutationsPass
    : impl::FoldPermutationsPassBase<FoldPermutationsPass> {
  void runOnOperation() override {
    SmallVector<PermuteChannelsOp> permutes;
    getOperation().walk(
        [&](PermuteChannelsOp permute) { permutes.push_back(permute); });
    if (permutes.empty())
      return markAllAnalysesPreserved();
    PermutationFolder folder(getOperation());
    for (PermuteChannelsOp permute : permutes)
      if (failed(folder.fold(permute)))
        return signalPassFailure();
  }
};
} // namespace
} // namespace llq
