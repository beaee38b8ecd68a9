//===- HQQ.cpp - Half-quadratic zero points -------------------------------===//
//
// Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning
// Models" (Mobius Labs, 2023). The maths is in llq/Numerics/HQQ.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/HQQ.h"
#include "llq/Quantize/UniformWeight.h"

#include <cmath>

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZEHQQPASS
#define GEN_PASS_DEF_QUANTIZEHQQPASS
#include "lib/Quantize/HQQ.h.inc"

namespace {
FailureOr<QuantizedWeight> quantizeLayer(const LinearLayer &layer,
                                         numerics::HQQOptions options) {
  options.grid = layer.getGrid();
  FailureOr<QuantizedWeight> result = QuantizedWeight::create(
      layer, getUniformFormat(layer.getContext(), options.grid,
                              /*floatZeros=*/true));
  if (failed(result))
    return failure();
  auto quantize = [&](const RowBlock &rows) -> llvm::Error {
    UniformBlock block(rows.rows(), rows.columns, options.grid,
                       /*floatZeros=*/true);
    [[maybe_unused]] auto bad = numerics::quantizeHQQ(
        rows.weights.data(), rows.rows(), rows.columns, options,
        {block.codes.data(), block.scales.data(), block.floatZeros.data()});
    assert(!bad && "a layer's weights are finite");
    storeUniformBlock(block, rows.begin, options.grid, rows.weights, *result);
    return llvm::Error::success();
  };
  if (failed(quantizeRowBlocks(layer, *result, quantize)))
    return failure();
  return result;
}

struct QuantizeHQQPass : impl::QuantizeHQQPassBase<QuantizeHQQPass> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<WeightOptions> weights = getGroupOptions(*this, module);
    if (failed(weights))
      return signalPassFailure();
    numerics::HQQOptions options;
    options.power = power;
    options.beta = beta;
    options.iterations = int(int64_t(iterations));
    options.normalise = normalise;
    options.firstZero = firstZero;
    if (!(options.power > 0 && options.power < 1 && options.beta > 0 &&
          std::isfinite(options.beta))) {
      emitError(module.getLoc(), "llq-quantize-hqq: power is above 0 and below "
                                 "1 and beta above 0, found power ")
          << options.power << " and beta " << options.beta;
      return signalPassFailure();
    }
    auto quantize = [&](const LinearLayer &layer) {
      return quantizeLayer(layer, options);
    };
    if (failed(quantizeLayers(module, *weights, quantize)))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
