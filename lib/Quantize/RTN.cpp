//===- RTN.cpp - Round-to-nearest -----------------------------------------===//
//
// The shortest method, kept short on purpose: read it before writing another.
// The arithmetic is in llq/Numerics/UniformGrid.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Quantize/UniformWeight.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DECL_QUANTIZERTNPASS
#define GEN_PASS_DEF_QUANTIZERTNPASS
#include "lib/Quantize/RTN.h.inc"

static FailureOr<QuantizedWeight> roundToNearest(const LinearLayer &layer) {
  const numerics::UniformGridOptions &grid = layer.getGrid();
  FailureOr<QuantizedWeight> result = QuantizedWeight::create(
      layer, getUniformFormat(layer.getContext(), grid));
  if (failed(result))
    return failure();

  auto quantize = [&](const RowBlock &rows) -> llvm::Error {
    UniformBlock block(rows.rows(), rows.columns, grid);
    [[maybe_unused]] auto bad = numerics::quantizeRows(
        rows.weights.data(), rows.rows(), rows.columns, grid, block.view());
    assert(!bad && "a layer's weights are finite");
    storeUniformBlock(block, rows.begin, grid, *result);
    return llvm::Error::success();
  };
  if (failed(quantizeRowBlocks(layer, *result, quantize)))
    return failure();
  return result;
}

namespace {
struct QuantizeRTNPass : impl::QuantizeRTNPassBase<QuantizeRTNPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<WeightOptions> options = getWeightOptions(*this, getOperation());
    if (failed(options) ||
        failed(quantizeLayers(getOperation(), *options, roundToNearest)))
      signalPassFailure();
  }
};
} // namespace
} // namespace llq
