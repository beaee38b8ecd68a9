//===- RTN.cpp - Round-to-nearest -----------------------------------------===//
//
// The shortest method, kept short on purpose: read it before writing another.
// The arithmetic is in llq/Numerics/UniformGrid.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/Calibrator.h"
#include "llq/Numerics/ImportanceGrid.h"
#include "llq/Quantize/UniformWeight.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZERTNPASS
#define GEN_PASS_DEF_QUANTIZERTNPASS
#include "lib/Quantize/RTN.h.inc"

namespace {
/// Rounds a layer on the grids that its inputs make best.
FailureOr<QuantizedWeight> roundByImportance(const LinearLayer &layer) {
  ArrayRef<float> importance;
  if (layer.getStatistics())
    importance = layer.getStatistics()->meanSquare;
  FailureOr<QuantizedWeight> weight = quantizeUniform(
      layer, [&](const RowBlock &rows, const numerics::UniformRows &result) {
        return numerics::quantizeRowsByImportance(
            rows.weights.data(), rows.rows(), rows.columns,
            {importance.data(), importance.size()}, layer.getGrid(), result);
      });
  int64_t dead = llvm::count(importance, 0.0f);
  if (succeeded(weight) && dead)
    weight->figures = {{"dead_channels", double(dead)}};
  return weight;
}

struct QuantizeRTNPass : impl::QuantizeRTNPassBase<QuantizeRTNPass> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override {
    registerCalibrationDialects(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<WeightOptions> options = getWeightOptions(*this, module);
    if (failed(options))
      return signalPassFailure();
    CalibrationOptions inputs{/*secondMoment=*/false,
                              CalibrationInputs::Original};
    LogicalResult result =
        importance ? quantizeCalibratedLayers(module, *options, inputs,
                                              roundByImportance)
                   : quantizeLayers(module, *options, roundToNearest);
    if (failed(result))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
