//===- DBLLM.cpp - Weights as sums of two bit planes ----------------------===//
//
// Chen et al., "DB-LLM: Accurate Dual-Binarization for Efficient LLMs", arXiv
// 2402.11960. The arithmetic is in llq/Numerics/DualBinarization.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/Calibrator.h"
#include "llq/Numerics/BitPacking.h"
#include "llq/Numerics/DualBinarization.h"
#include "llq/Quantize/CompensatedMethod.h"
#include "llq/Quantize/UniformWeight.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZEDBLLMPASS
#define GEN_PASS_DEF_QUANTIZEDBLLMPASS
#include "lib/Quantize/DBLLM.h.inc"

namespace {

PlanesAttr getPlanesFormat(const LinearLayer &layer, int64_t group) {
  return PlanesAttr::get(layer.getContext(), /*count=*/2, group,
                         /*offset=*/false);
}

/// Codes and scales of a block of rows, before they are stored.
struct DualBlock {
  DualBlock(int64_t rows, int64_t columns, int64_t groups)
      : columns(columns), codes(rows * columns), scales(rows * groups * 2) {}

  numerics::DualBinaryRows view() { return {codes.data(), scales.data()}; }

  /// Writes the rows, from `begin` of the matrix on.
  void store(int64_t begin, QuantizedWeight &weight) const;

  int64_t columns;
  std::vector<uint8_t> codes;
  std::vector<float> scales;
};

void DualBlock::store(int64_t begin, QuantizedWeight &weight) const {
  int64_t rows = codes.size() / columns;
  int64_t planeBytes = numerics::packedRowBytes(columns, 1);
  auto *planes = reinterpret_cast<uint8_t *>(weight.getData(0).data());
  std::vector<uint8_t> bits(columns);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t p = 0; p < 2; ++p) {
      for (int64_t j = 0; j < columns; ++j)
        bits[j] = (codes[r * columns + j] >> p) & 1;
      numerics::packCodes(
          bits, 1,
          {planes + ((begin + r) * 2 + p) * planeBytes, size_t(planeBytes)});
    }
  storeHalves(scales, weight, 1, begin * int64_t(scales.size()) / rows);
}

class DualBinarization : public CompensatedMethod {
public:
  DualBinarization(const numerics::DualBinaryOptions &options, bool refit)
      : options(options), refit(refit) {}

  WeightFormatInterface getFormat(const LinearLayer &layer) const override {
    return getPlanesFormat(layer, options.groupSize);
  }
  FailureOr<QuantizedWeight> quantize(const LinearLayer &layer,
                                      const numerics::GPTQFactor &factor,
                                      ThreadPool &pool) override;
  /// Without data.
  FailureOr<QuantizedWeight> quantize(const LinearLayer &layer);

private:
  /// Rows that are quantized at once: a few megabytes of a wide layer.
  static constexpr int64_t kRows = 512;

  numerics::DualBinaryOptions options;
  bool refit;
};

} // namespace

FailureOr<QuantizedWeight>
DualBinarization::quantize(const LinearLayer &layer,
                           const numerics::GPTQFactor &factor,
                           ThreadPool &pool) {
  FailureOr<QuantizedWeight> result =
      QuantizedWeight::create(layer, getFormat(layer));
  if (failed(result))
    return failure();
  int64_t columns = layer.getColumns();
  numerics::CompensatedLoss loss;
  double gained = 0;
  for (int64_t begin = 0; begin < layer.getRows(); begin += kRows) {
    int64_t rows = std::min(kRows, layer.getRows() - begin);
    std::vector<float> weights(rows * columns);
    if (llvm::Error failed = layer.readRows(begin, begin + rows, weights))
      return layer.emitError() << llvm::toString(std::move(failed));
    DualBlock block(rows, columns, factor.groupCount());
    if (numerics::quantizeDualBinary(weights.data(), rows, factor, options,
                                     block.view(), loss, pool))
      llvm_unreachable("a layer's weights are finite");
    if (refit)
      gained += numerics::refitDualScales(
          weights.data(), rows, columns, layer.getStatistics()->secondMoment,
          factor.addedToDiagonal(), options, block.view(), pool);
    block.store(begin, *result);
  }
  if (failed(verifyOutputError(layer, loss.outputError)))
    return failure();
  double count = double(layer.getRows()) * double(columns);
  result->figures = {{"objective", (loss.outputError - gained) / count}};
  if (refit)
    result->figures.push_back({"refit_gain", gained / count});
  return result;
}

FailureOr<QuantizedWeight>
DualBinarization::quantize(const LinearLayer &layer) {
  FailureOr<QuantizedWeight> result =
      QuantizedWeight::create(layer, getFormat(layer));
  if (failed(result))
    return failure();
  auto quantizeRows = [&](const RowBlock &rows) -> llvm::Error {
    DualBlock block(rows.rows(), rows.columns,
                    layer.getGrid().groupsPerRow(rows.columns));
    if (numerics::quantizeDualBinary(rows.weights.data(), rows.rows(),
                                     rows.columns, options, block.view()))
      llvm_unreachable("a layer's weights are finite");
    block.store(rows.begin, *result);
    return llvm::Error::success();
  };
  if (failed(quantizeRowBlocks(layer, *result, quantizeRows)))
    return failure();
  return result;
}

namespace {
struct QuantizeDBLLMPass : impl::QuantizeDBLLMPassBase<QuantizeDBLLMPass> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override {
    registerCalibrationDialects(registry);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<CompensationOptions> compensation =
        getCompensationOptions(*this, module, int64_t(groupSize));
    if (failed(compensation))
      return signalPassFailure();
    compensation->factor.blockSize = blockSize;
    numerics::DualBinaryOptions options;
    options.groupSize = groupSize;
    options.start =
        search ? numerics::DualStart::Search : numerics::DualStart::Largest;
    options.rounds = int(int64_t(rounds));
    DualBinarization method(options, refit);
    LogicalResult result =
        compensate ? quantizeCompensatedLayers(module, *compensation, method)
                   : quantizeLayers(module, compensation->weights,
                                    [&](const LinearLayer &layer) {
                                      return method.quantize(layer);
                                    });
    if (failed(result))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
