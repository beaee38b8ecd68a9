//===- SliMLLM.cpp - Groups of different widths ---------------------------===//
//
// Huang et al., "SliM-LLM: Salience-Driven Mixed-Precision Quantization for
// Large Language Models", arXiv 2405.14917. The arithmetic is in
// llq/Numerics/GroupWidths.h and llq/Numerics/MixedPrecision.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "SliMLLM.h"

#include "llq/Calibration/Calibrator.h"
#include "llq/Numerics/BitPacking.h"
#include "llq/Numerics/MixedPrecision.h"
#include "llq/Quantize/CompensatedMethod.h"

#include <cmath>

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZESLIMLLMPASS
#define GEN_PASS_DEF_QUANTIZESLIMLLMPASS
#include "lib/Quantize/SliMLLM.h.inc"

namespace {

class MixedPrecision : public CompensatedMethod {
public:
  MixedPrecision(const numerics::GroupWidthOptions &widths,
                 const numerics::MixedPrecisionOptions &options)
      : widthOptions(widths), options(options) {}

  WeightFormatInterface getFormat(const LinearLayer &layer) const override {
    SmallVector<int64_t> widths;
    int64_t bits = widthOptions.bits;
    for (int64_t width = bits - 1; width <= bits + 1; ++width)
      widths.push_back(width);
    return MixedAttr::get(layer.getContext(), widths, bits * layer.getColumns(),
                          widthOptions.groupSize);
  }
  FailureOr<QuantizedWeight> quantize(const LinearLayer &layer,
                                      const numerics::GPTQFactor &factor,
                                      ThreadPool &pool) override;

private:
  numerics::GroupWidthOptions widthOptions;
  numerics::MixedPrecisionOptions options;
};

} // namespace

FailureOr<QuantizedWeight>
MixedPrecision::quantize(const LinearLayer &layer,
                         const numerics::GPTQFactor &factor, ThreadPool &pool) {
  FailureOr<QuantizedWeight> result =
      QuantizedWeight::create(layer, getFormat(layer));
  FailureOr<std::vector<float>> weights = readWeights(layer);
  if (failed(result) || failed(weights))
    return failure();
  int64_t rows = layer.getRows(), columns = layer.getColumns();
  numerics::GroupWidths chosen = numerics::chooseGroupWidths(
      weights->data(), rows, columns, layer.getStatistics()->inputs,
      numerics::groupSalience(weights->data(), rows, factor, pool),
      widthOptions, pool);

  int64_t groups = factor.groupCount();
  std::vector<uint8_t> codes(rows * columns);
  std::vector<float> scales(rows * groups), offsets(rows * groups);
  numerics::CompensatedLoss loss;
  if (numerics::quantizeMixed(
          weights->data(), rows, factor, chosen.widths, options,
          {codes.data(), scales.data(), offsets.data()}, loss, pool))
    llvm_unreachable("a layer's weights are finite");
  if (failed(verifyOutputError(layer, loss.outputError)))
    return failure();

  std::span stream(reinterpret_cast<uint8_t *>(result->getData(0).data()),
                   result->getData(0).size());
  size_t rowBytes = stream.size() / rows;
  for (int64_t r = 0; r < rows; ++r)
    numerics::packMixedCodes(std::span(codes).subspan(r * columns, columns),
                             chosen.widths, factor.groupLength(),
                             stream.subspan(r * rowBytes, rowBytes));
  storeHalves(scales, *result, 1);
  storeHalves(offsets, *result, 2);
  llvm::copy(chosen.widths, result->getData(3).data());

  double count = double(rows) * double(columns);
  result->figures = {
      {"objective", loss.outputError / count},
      {"moved_groups", double(chosen.moved)},
      {"cost_alike", chosen.costs.empty() ? 0 : chosen.costs.front()},
      {"cost", chosen.costs.empty() ? 0 : chosen.costs[chosen.moved]}};
  return result;
}

namespace {
struct QuantizeSliMLLMPass
    : impl::QuantizeSliMLLMPassBase<QuantizeSliMLLMPass> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override {
    registerCalibrationDialects(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<CompensationOptions> compensation =
        getCompensationOptions(*this, module, getGroupOptions(*this, module));
    if (failed(compensation))
      return signalPassFailure();
    compensation->factor.blockSize = blockSize;
    // Its widths have a mean that is one for all layers.
    compensation->weights.hasLayerBits = false;
    double weight = salientWeight, most = deviations;
    if (!(weight > 0 && std::isfinite(weight) && std::isfinite(most))) {
      emitError(module.getLoc(),
                "llq-quantize-slimllm: salient-weight is above "
                "0 and deviations a number, found ")
          << weight << " and " << most;
      return signalPassFailure();
    }
    compensation->calibration.sampleTokens = sampleTokens;
    numerics::GroupWidthOptions widths;
    widths.bits = compensation->weights.grid.bits;
    widths.groupSize = compensation->weights.grid.groupSize;
    widths.cost = cost;
    numerics::MixedPrecisionOptions options;
    options.salientWeight = weight;
    options.salientDeviations = most;
    MixedPrecision method(widths, options);
    if (failed(quantizeCompensatedLayers(module, *compensation, method)))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
