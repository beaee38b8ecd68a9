//===- Ternary.cpp - A method outside of the tree -------------------------===//
//
// A whole quantization method as a plugin of llq-opt: it uses the dialect and
// the method framework of the tool that loads it. Written like a method of
// lib/Quantize, except for the entry point at the end.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Quantize/UniformWeight.h"

#include "mlir/Tools/Plugins/PassPlugin.h"
#include "llvm/Config/llvm-config.h"

#include <cmath>

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZETERNARYPASS
#define GEN_PASS_DEF_QUANTIZETERNARYPASS
#include "Ternary.h.inc"
#define GEN_PASS_REGISTRATION
#include "Ternary.h.inc"

/// Codes and scale of one row.
static void ternarize(ArrayRef<float> row, double threshold,
                      MutableArrayRef<uint8_t> codes, float &scale) {
  double sum = 0;
  for (float weight : row)
    sum += std::fabs(weight);
  double limit = threshold * sum / double(row.size());

  double kept = 0;
  int64_t count = 0;
  for (auto [weight, code] : llvm::zip_equal(row, codes)) {
    bool large = std::fabs(weight) > limit;
    code = !large ? 2 : weight > 0 ? 3 : 1;
    kept += large ? std::fabs(weight) : 0;
    count += large;
  }
  scale = count ? float(kept / double(count)) : 1.0f;
  scale = numerics::roundScale(scale, numerics::ScaleType::F16);
}

namespace {
struct QuantizeTernaryPass
    : impl::QuantizeTernaryPassBase<QuantizeTernaryPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<WeightOptions> options = getLayerOptions(*this, getOperation());
    if (failed(options))
      return signalPassFailure();
    options->grid.bits = 2;
    options->grid.groupSize = 0;
    options->grid.scheme = numerics::GridScheme::Signed;

    double limit = threshold;
    auto quantize =
        [&](const LinearLayer &layer) -> FailureOr<QuantizedWeight> {
      const numerics::UniformGridOptions &grid = layer.getGrid();
      FailureOr<QuantizedWeight> result = QuantizedWeight::create(
          layer, getUniformFormat(layer.getContext(), grid));
      if (failed(result))
        return failure();
      auto quantizeRows = [&](const RowBlock &rows) -> llvm::Error {
        UniformBlock block(rows.rows(), rows.columns, grid);
        MutableArrayRef<uint8_t> codes(block.codes);
        for (int64_t row = 0; row < rows.rows(); ++row)
          ternarize(rows.weights.slice(row * rows.columns, rows.columns), limit,
                    codes.slice(row * rows.columns, rows.columns),
                    block.scales[row]);
        storeUniformBlock(block, rows.begin, grid, rows.weights, *result);
        return llvm::Error::success();
      };
      if (failed(quantizeRowBlocks(layer, *result, quantizeRows)))
        return failure();
      return result;
    };
    if (failed(quantizeLayers(getOperation(), *options, quantize)))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq

extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT PassPluginLibraryInfo
mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "llq-ternary", LLVM_VERSION_STRING,
          llq::registerQuantizeTernaryPass};
}
