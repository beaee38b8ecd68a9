//===- BiLLM.cpp - Residual binarization, four levels ---------------------===//
//
// Huang et al., "BiLLM: Pushing the Limit of Post-Training Quantization for
// LLMs", arXiv 2402.04291. The arithmetic is in
// llq/Numerics/ResidualBinarization.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "BiLLM.h"

#include "llq/Calibration/Calibrator.h"
#include "llq/Numerics/BitPacking.h"
#include "llq/Quantize/CompensatedMethod.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZEBILLMPASS
#define GEN_PASS_DEF_QUANTIZEBILLMPASS
#include "lib/Quantize/BiLLM.h.inc"

namespace {

class ResidualBinarization : public CompensatedMethod {
public:
  ResidualBinarization(int64_t groupSize,
                       const numerics::ResidualBinaryOptions &options)
      : groupSize(groupSize), options(options) {}

  WeightFormatInterface getFormat(const LinearLayer &layer) const override {
    bool symmetric = options.terms == numerics::BinaryTerms::Scale;
    return CodebookAttr::get(layer.getContext(), /*bits=*/2, groupSize,
                             /*tables=*/2, symmetric);
  }
  bool permutesInputs(const LinearLayer &) const override { return true; }
  FailureOr<QuantizedWeight> quantize(const LinearLayer &layer,
                                      const numerics::GPTQFactor &factor,
                                      ThreadPool &pool) override;

private:
  int64_t groupSize;
  numerics::ResidualBinaryOptions options;
};

} // namespace

FailureOr<QuantizedWeight>
ResidualBinarization::quantize(const LinearLayer &layer,
                               const numerics::GPTQFactor &factor,
                               ThreadPool &pool) {
  FailureOr<QuantizedWeight> result =
      QuantizedWeight::create(layer, getFormat(layer));
  FailureOr<std::vector<float>> weights = readWeights(layer);
  if (failed(result) || failed(weights))
    return failure();
  int64_t rows = layer.getRows(), columns = layer.getColumns();
  int64_t length = factor.groupLength(), groups = factor.groupCount();
  std::vector<uint8_t> codes(rows * columns), salient(columns);
  std::vector<float> levels(rows * groups * 2 * options.listedLevels());
  numerics::CompensatedLoss loss;
  if (numerics::quantizeResidualBinary(
          weights->data(), rows, factor, options,
          {codes.data(), levels.data(), salient.data()}, loss, pool))
    llvm_unreachable("a layer's weights are finite");
  if (failed(verifyOutputError(layer, loss.outputError)))
    return failure();

  // Salient columns to the front of their group.
  int64_t count = 0;
  for (int64_t g = 0; g < groups; ++g) {
    int64_t begin = g * length, end = std::min(columns, begin + length);
    int64_t before = count;
    for (bool first : {true, false})
      for (int64_t j = begin; j < end; ++j)
        if (bool(salient[j]) == first) {
          result->inputOrder.push_back(int32_t(j));
          count += first;
        }
    result->getData(2)[g] = char(count - before);
  }
  auto *packed = reinterpret_cast<uint8_t *>(result->getData(0).data());
  size_t rowBytes = result->getData(0).size() / rows;
  std::vector<uint8_t> ordered(columns);
  for (int64_t r = 0; r < rows; ++r) {
    for (auto [to, from] : llvm::zip_equal(ordered, result->inputOrder))
      to = codes[r * columns + from];
    numerics::packCodes(ordered, 2, {packed + r * rowBytes, rowBytes});
  }
  storeHalves(levels, *result, 1);
  result->figures = {
      {"objective", loss.outputError / (double(rows) * double(columns))},
      {"salient_share", double(count) / double(columns)}};
  return result;
}

namespace {
struct QuantizeBiLLMPass : impl::QuantizeBiLLMPassBase<QuantizeBiLLMPass> {
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
    compensation->factor.staticGroups = true;
    // Blocks are groups; with one group, whatever its columns.
    compensation->factor.blockSize =
        groupSize ? int64_t(groupSize) : std::numeric_limits<int32_t>::max();
    numerics::ResidualBinaryOptions options;
    options.criterion = criterion;
    options.salientSearch = salientSearch;
    options.salientColumns = salientColumns;
    options.splitSearch = splitSearch;
    options.terms = terms;
    options.weightedLevels = weightedLevels;
    options.compensation = this->compensation;
    ResidualBinarization method(groupSize, options);
    if (failed(quantizeCompensatedLayers(module, *compensation, method)))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
