//===- GPTQ.cpp - Rounding with compensation of errors --------------------===//
//
// Frantar et al., "GPTQ: Accurate Post-training Quantization for Generative
// Pre-trained Transformers", arXiv 2210.17323. The maths, and where it departs
// from the authors' code, is in llq/Numerics/GPTQ.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "GPTQ.h"

#include "llq/Calibration/Calibrator.h"
#include "llq/Quantize/UniformWeight.h"
#include "llq/Support/ParallelFor.h"

#include <cmath>

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZEGPTQPASS
#define GEN_PASS_DEF_QUANTIZEGPTQPASS
#include "lib/Quantize/GPTQ.h.inc"

namespace {

/// Rows that are rounded at once: a few megabytes of a wide layer.
constexpr int64_t kRows = 512;

class GPTQ {
public:
  GPTQ(numerics::GPTQOptions options, ThreadPool &pool)
      : options(options), pool(pool) {}

  FailureOr<QuantizedWeight> operator()(const LinearLayer &layer);

private:
  /// The factor of the layer's inputs, kept for layers that read the same.
  const numerics::GPTQFactor *getFactor(const LinearLayer &layer);
  LogicalResult quantize(const LinearLayer &layer,
                         const numerics::GPTQFactor &factor,
                         QuantizedWeight &result);
  FailureOr<QuantizedWeight> round(const LinearLayer &layer);

  numerics::GPTQOptions options;
  ThreadPool &pool;
  std::optional<numerics::GPTQFactor> factor;
  /// Held, so that no other statistics can be in its place.
  std::shared_ptr<const InputStatistics> factorOf;
};

const numerics::GPTQFactor *GPTQ::getFactor(const LinearLayer &layer) {
  std::shared_ptr<const InputStatistics> statistics = layer.getStatistics();
  if (factor && factorOf == statistics)
    return &*factor;
  factor.reset();
  factorOf = statistics;
  if (statistics->secondMoment.empty()) {
    layer.emitError() << "has no second moment of its inputs, gptq needs one";
    return nullptr;
  }
  factor = numerics::GPTQFactor::create(statistics->secondMoment,
                                        layer.getColumns(), options, pool);
  if (factor)
    return &*factor;
  layer.emitError() << "has inputs whose second moment cannot be factorized";
  return nullptr;
}

void decode(UniformBlock &block, int64_t rows, int64_t columns,
            const numerics::UniformGridOptions &grid,
            std::vector<float> &weights) {
  numerics::UniformRows view = block.view();
  numerics::dequantizeRows(view.codes, view.scales, view.zeros, rows, columns,
                           grid, weights.data());
}

LogicalResult GPTQ::quantize(const LinearLayer &layer,
                             const numerics::GPTQFactor &factor,
                             QuantizedWeight &result) {
  const numerics::UniformGridOptions &grid = layer.getGrid();
  int64_t columns = layer.getColumns();
  numerics::CompensatedLoss loss;
  double nearest = 0;
  numerics::ErrorStatistics error;
  for (int64_t begin = 0; begin < layer.getRows(); begin += kRows) {
    int64_t rows = std::min(kRows, layer.getRows() - begin);
    std::vector<float> weights(rows * columns);
    if (llvm::Error failed = layer.readRows(begin, begin + rows, weights))
      return layer.emitError() << llvm::toString(std::move(failed));

    // What rounding to nearest would cost.
    UniformBlock block(rows, columns, grid);
    std::vector<float> decoded(weights.size());
    if (numerics::quantizeRows(weights.data(), rows, columns, grid,
                               block.view()))
      llvm_unreachable("a layer's weights are finite");
    decode(block, rows, columns, grid, decoded);
    for (auto [value, weight] : llvm::zip_equal(decoded, weights))
      value = weight - value;
    nearest += factor.outputError(decoded.data(), rows, pool);

    if (numerics::quantizeGPTQ(weights.data(), rows, factor, grid, block.view(),
                               loss, pool))
      llvm_unreachable("a layer's weights are finite");
    decode(block, rows, columns, grid, decoded);
    result.permuteColumns(weights);
    error.add(weights, decoded);
    storeUniformBlock(block, begin, grid, weights, result);
  }
  if (!std::isfinite(loss.outputError))
    return layer.emitError() << "overflows when errors are compensated, give "
                                "more samples or a larger damp";
  result.error = error;
  double count = double(layer.getRows()) * double(columns);
  result.figures = {{"objective_rtn", nearest / count},
                    {"objective", loss.outputError / count},
                    {"damp", factor.damp()}};
  if (size_t dead = factor.deadColumns().size())
    result.figures.push_back({"dead_channels", double(dead)});
  return success();
}

/// A layer without statistics: a table, or one of a dry run.
FailureOr<QuantizedWeight> GPTQ::round(const LinearLayer &layer) {
  FailureOr<QuantizedWeight> result = roundToNearest(layer);
  int64_t columns = layer.getColumns();
  if (failed(result) || !layer.isSketch() || !options.isStoredPermuted(columns))
    return result;
  // Any order but the identity takes the room that the one of the inputs will.
  for (int64_t j = 0; j < columns; ++j)
    result->inputOrder.push_back(int32_t((j + 1) % columns));
  return result;
}

FailureOr<QuantizedWeight> GPTQ::operator()(const LinearLayer &layer) {
  if (!layer.getStatistics())
    return round(layer);
  const numerics::GPTQFactor *found = getFactor(layer);
  if (!found)
    return failure();
  // Samples that tell nothing about any channel leave no reason for zeros.
  if (int64_t(found->deadColumns().size()) == layer.getColumns()) {
    FailureOr<QuantizedWeight> result = roundToNearest(layer);
    if (succeeded(result))
      result->figures = {{"dead_channels", double(layer.getColumns())}};
    return result;
  }
  FailureOr<QuantizedWeight> result = QuantizedWeight::create(
      layer, getUniformFormat(layer.getContext(), layer.getGrid()));
  if (failed(result))
    return failure();
  if (options.isStoredPermuted(layer.getColumns()))
    llvm::append_range(result->inputOrder, found->permutation());
  if (failed(quantize(layer, *found, *result)))
    return failure();
  return result;
}

struct QuantizeGPTQPass : impl::QuantizeGPTQPassBase<QuantizeGPTQPass> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override {
    registerCalibrationDialects(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<WeightOptions> weights = getWeightOptions(*this, module);
    if (failed(weights))
      return signalPassFailure();
    double share = damp;
    if (!(share >= 0 && share <= 1)) {
      emitError(module.getLoc(), "llq-quantize-gptq: damp is 0 to 1, found ")
          << share;
      return signalPassFailure();
    }
    double firsts = firstTokenShare;
    if (!(firsts >= 0 && firsts < 1)) {
      emitError(module.getLoc(), "llq-quantize-gptq: first-token-share is 0 to "
                                 "below 1, found ")
          << firsts;
      return signalPassFailure();
    }
    numerics::GPTQOptions options;
    options.groupSize = weights->grid.groupSize;
    options.order = actOrder ? numerics::GPTQOrder::Activation : order;
    options.staticGroups = staticGroups;
    options.damp = share;
    options.blockSize = blockSize;
    ThreadPool pool(module.getContext()->getNumThreads());
    GPTQ gptq(options, pool);
    CalibrationOptions calibration;
    calibration.inputs = inputs;
    calibration.trueSequential = trueSequential;
    calibration.firstTokenShare = firstTokenShare;
    if (failed(quantizeCalibratedLayers(module, *weights, calibration, gptq)))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
