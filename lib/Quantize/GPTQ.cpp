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
#include "llq/Quantize/CompensatedMethod.h"
#include "llq/Quantize/UniformWeight.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZEGPTQPASS
#define GEN_PASS_DEF_QUANTIZEGPTQPASS
#include "lib/Quantize/GPTQ.h.inc"

namespace {

/// Rows that are rounded at once: a few megabytes of a wide layer.
constexpr int64_t kRows = 512;

class GPTQ : public CompensatedMethod {
public:
  explicit GPTQ(const numerics::GPTQOptions &options) : options(options) {}

  WeightFormatInterface getFormat(const LinearLayer &layer) const override {
    return getUniformFormat(layer.getContext(), layer.getGrid());
  }
  bool quantizesHead() const override { return true; }
  bool permutesInputs(const LinearLayer &layer) const override {
    return options.isStoredPermuted(layer.getColumns());
  }
  FailureOr<QuantizedWeight> quantize(const LinearLayer &layer,
                                      const numerics::GPTQFactor &factor,
                                      ThreadPool &pool) override;

private:
  LogicalResult quantizeRows(const LinearLayer &layer,
                             const numerics::GPTQFactor &factor,
                             QuantizedWeight &result, ThreadPool &pool);

  numerics::GPTQOptions options;
};

void decode(UniformBlock &block, int64_t rows, int64_t columns,
            const numerics::UniformGridOptions &grid,
            std::vector<float> &weights) {
  numerics::UniformRows view = block.view();
  numerics::dequantizeRows(view.codes, view.scales, view.zeros, rows, columns,
                           grid, weights.data());
}

LogicalResult GPTQ::quantizeRows(const LinearLayer &layer,
                                 const numerics::GPTQFactor &factor,
                                 QuantizedWeight &result, ThreadPool &pool) {
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
  if (failed(verifyOutputError(layer, loss.outputError)))
    return failure();
  result.error = error;
  double count = double(layer.getRows()) * double(columns);
  result.figures = {{"objective_rtn", nearest / count},
                    {"objective", loss.outputError / count}};
  return success();
}

FailureOr<QuantizedWeight> GPTQ::quantize(const LinearLayer &layer,
                                          const numerics::GPTQFactor &factor,
                                          ThreadPool &pool) {
  FailureOr<QuantizedWeight> result =
      QuantizedWeight::create(layer, getFormat(layer));
  if (failed(result))
    return failure();
  if (permutesInputs(layer))
    llvm::append_range(result->inputOrder, factor.permutation());
  if (failed(quantizeRows(layer, factor, *result, pool)))
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
    FailureOr<CompensationOptions> compensation =
        getCompensationOptions(*this, module, getWeightOptions(*this, module));
    if (failed(compensation))
      return signalPassFailure();
    compensation->factor.blockSize = blockSize;
    compensation->factor.order =
        actOrder ? numerics::GPTQOrder::Activation : order;
    compensation->factor.staticGroups = staticGroups;
    GPTQ gptq(compensation->factor);
    if (failed(quantizeCompensatedLayers(module, *compensation, gptq)))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
