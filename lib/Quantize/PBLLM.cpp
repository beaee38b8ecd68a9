//===- PBLLM.cpp - Few weights in 8 bits, one for all ---------------------===//
//
// Shang et al., "PB-LLM: Partially Binarized Large Language Models", arXiv
// 2310.00034. The arithmetic is in llq/Numerics/PartialBinarization.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "PBLLM.h"

#include "llq/Calibration/Calibrator.h"
#include "llq/Numerics/BitPacking.h"
#include "llq/Quantize/CompensatedMethod.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZEPBLLMPASS
#define GEN_PASS_DEF_QUANTIZEPBLLMPASS
#include "lib/Quantize/PBLLM.h.inc"

namespace {

class PartialBinarization : public CompensatedMethod {
public:
  explicit PartialBinarization(const numerics::PartialBinaryOptions &options)
      : options(options) {}

  /// Weights of the expected number in random places.
  WeightFormatInterface getFormat(const LinearLayer &layer) const override;
  FailureOr<QuantizedWeight> quantize(const LinearLayer &layer,
                                      const numerics::GPTQFactor &factor,
                                      ThreadPool &pool) override;

private:
  WeightFormatInterface getFormat(MLIRContext *context, int64_t masks,
                                  int64_t outliers) const {
    auto base = PlanesAttr::get(context, /*count=*/1, options.groupSize,
                                /*offset=*/true);
    return OutliersAttr::get(context, base, masks, outliers);
  }

  numerics::PartialBinaryOptions options;
};

} // namespace

WeightFormatInterface
PartialBinarization::getFormat(const LinearLayer &layer) const {
  double weights = double(layer.getRows()) * double(layer.getColumns());
  double outliers = weights * options.salient;
  // Bytes of masks speak of eight weights.
  double masks = weights / 8 * (1 - std::pow(1 - options.salient, 8));
  return getFormat(layer.getContext(), int64_t(masks),
                   std::max(int64_t(outliers), int64_t(masks)));
}

FailureOr<QuantizedWeight>
PartialBinarization::quantize(const LinearLayer &layer,
                              const numerics::GPTQFactor &factor,
                              ThreadPool &pool) {
  FailureOr<std::vector<float>> weights = readWeights(layer);
  if (failed(weights))
    return failure();
  int64_t rows = layer.getRows(), columns = layer.getColumns();
  int64_t groups = factor.groupCount();
  std::vector<uint8_t> codes(rows * columns), salient(rows * columns);
  std::vector<float> scales(rows * groups), offsets(rows * groups);
  std::vector<float> salientScales(rows);
  std::vector<uint8_t> salientZeros(rows);
  numerics::CompensatedLoss loss;
  if (numerics::quantizePartialBinary(
          weights->data(), rows, factor, options,
          {codes.data(), salient.data(), scales.data(), offsets.data(),
           salientScales.data(), salientZeros.data()},
          loss, pool))
    llvm_unreachable("a layer's weights are finite");
  if (failed(verifyOutputError(layer, loss.outputError)))
    return failure();

  numerics::SparseCodes sparse =
      numerics::packSparseCodes(codes.data(), salient.data(), rows, columns);
  int64_t masks = sparse.masks.size(), outliers = sparse.codes.size();
  FailureOr<QuantizedWeight> result = QuantizedWeight::create(
      layer, getFormat(layer.getContext(), masks, outliers));
  if (failed(result))
    return failure();
  // A salient weight's bit is 0.
  for (auto [code, isSalient] : llvm::zip_equal(codes, salient))
    if (isSalient)
      code = 0;
  MutableArrayRef<char> planes = result->getData(0);
  numerics::packRows(
      codes, rows, columns, 1,
      {reinterpret_cast<uint8_t *>(planes.data()), planes.size()});
  storeHalves(scales, *result, 1);
  storeHalves(offsets, *result, 2);
  size_t own = 3;
  auto store = [&](const auto &values) {
    MutableArrayRef<char> data = result->getData(own++);
    if (!values.empty())
      std::memcpy(data.data(), values.data(),
                  values.size() * sizeof(values[0]));
  };
  store(sparse.presence);
  store(sparse.masks);
  store(sparse.codes);
  store(sparse.starts);
  storeHalves(salientScales, *result, own++);
  store(salientZeros);
  double count = double(rows) * double(columns);
  result->figures = {{"objective", loss.outputError / count},
                     {"salient_share", double(outliers) / count}};
  return result;
}

namespace {
struct QuantizePBLLMPass : impl::QuantizePBLLMPassBase<QuantizePBLLMPass> {
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
    if (!(salient >= 0 && salient <= 1)) {
      emitError(module.getLoc(),
                "llq-quantize-pbllm: salient is 0 to 1, found ")
          << double(salient);
      return signalPassFailure();
    }
    compensation->factor.staticGroups = true;
    numerics::PartialBinaryOptions options;
    options.salient = salient;
    options.criterion = criterion;
    options.rounds = int(int64_t(rounds));
    options.groupSize = groupSize;
    options.binaryScale = binaryScale;
    PartialBinarization method(options);
    if (failed(quantizeCompensatedLayers(module, *compensation, method)))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
