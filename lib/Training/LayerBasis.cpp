//===- LayerBasis.cpp - The basis of a quantized layer's weight -----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LayerBasis.h"

#include "llq/Numerics/Incoherence.h"
#include "llq/Training/DecoderBlocks.h"

using namespace mlir;
using namespace llq;
using namespace llq::training;

FailureOr<LayerBasis> LayerBasis::get(LinearOp layer, WeightReader &reader) {
  LayerBasis result;
  auto type = cast<QuantizedType>(layer.getWeight().getType());
  result.rows = type.getRows();
  result.columns = type.getColumns();
  Value x = layer.getInput();
  if (auto permute = x.getDefiningOp<PermuteChannelsOp>()) {
    auto order = permute.getOrder().getValues<int32_t>();
    result.order.assign(order.begin(), order.end());
    x = permute.getInput();
  }
  if (auto rotate = x.getDefiningOp<RotateOp>(); rotate && isOfMethod(rotate)) {
    result.input = rotate.getRotation().getMatrix();
    if (auto scale = rotate.getScale()) {
      result.scales.resize(result.columns);
      if (llvm::Error error =
              reader.readRows(scale, 0, result.columns, result.scales))
        return layer.emitLayerError() << llvm::toString(std::move(error));
    }
  }
  if (layer.getResult().hasOneUse())
    if (auto rotate = dyn_cast<RotateOp>(*layer.getResult().user_begin());
        rotate && rotate.getTransposed() && isOfMethod(rotate))
      result.output = rotate.getRotation().getMatrix();
  return result;
}

void LayerBasis::enter(std::vector<float> &weights, ThreadPool &pool) const {
  numerics::IncoherentBasis basis{scales, input.get(), output.get()};
  basis.enterWeights(weights.data(), rows, columns, pool);
  if (order.empty())
    return;
  std::vector<float> row(columns);
  for (auto at = weights.begin(); at != weights.end(); at += columns) {
    std::copy_n(at, columns, row.begin());
    for (auto [to, from] : llvm::enumerate(order))
      at[to] = row[from];
  }
}

void LayerBasis::leave(std::vector<float> &weights, ThreadPool &pool) const {
  std::vector<float> row(order.empty() ? 0 : columns);
  for (auto at = weights.begin(); !order.empty() && at != weights.end();
       at += columns) {
    std::copy_n(at, columns, row.begin());
    for (auto [from, to] : llvm::enumerate(order))
      at[to] = row[from];
  }
  numerics::IncoherentBasis basis{scales, input.get(), output.get()};
  basis.leaveWeights(weights.data(), rows, columns, pool);
}
