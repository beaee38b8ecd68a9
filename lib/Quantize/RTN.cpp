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
