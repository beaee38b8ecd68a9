//===- TrialWeight.cpp - Other weights in a layer for a while -------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/TrialWeight.h"

#include "llq/Numerics/Float16.h"
#include "llq/Support/WeightBlob.h"
#include "llq/Support/WeightData.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"

#include <cstring>

using namespace mlir;
using namespace llq;

FailureOr<TrialWeight> TrialWeight::put(LinearOp layer,
                                        ArrayRef<float> weights) {
  auto source = layer.getWeight().getDefiningOp<WeightOp>();
  auto type = cast<RankedTensorType>(source.getType());
  llvm::Expected<AsmResourceBlob> blob = allocateBlob(*getTensorBytes(type));
  if (!blob)
    return layer.emitLayerError() << llvm::toString(blob.takeError());
  OpBuilder builder(layer);
  auto trial = WeightOp::create(
      builder, source.getLoc(), type,
      DenseResourceElementsAttr::get(type, "trial", std::move(*blob)));
  layer.getWeightMutable().assign(trial);
  TrialWeight result(layer, source, trial);
  result.set(weights);
  return result;
}

void TrialWeight::set(ArrayRef<float> weights) {
  auto value = cast<DenseResourceElementsAttr>(trial.getValue());
  MutableArrayRef<char> data = value.getRawHandle().getBlob()->getMutableData();
  Type type = value.getElementType();
  if (type.isF32()) {
    std::memcpy(data.data(), weights.data(), data.size());
    return;
  }
  MutableArrayRef<uint16_t> halves(reinterpret_cast<uint16_t *>(data.data()),
                                   weights.size());
  if (type.isBF16())
    numerics::encodeBF16(weights, halves);
  else
    numerics::encodeF16(weights, halves);
}

TrialWeight::TrialWeight(TrialWeight &&other)
    : layer(other.layer), source(other.source), trial(other.trial) {
  other.layer = {};
}

TrialWeight::~TrialWeight() {
  if (!layer)
    return;
  layer.getWeightMutable().assign(source);
  TypedAttr value = trial.getValue();
  trial.erase();
  releaseWeight(value);
}
