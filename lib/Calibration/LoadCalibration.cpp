//===- LoadCalibration.cpp - Put samples into the module ------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/Passes.h"
#include "llq/Calibration/Samples.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DEF_LOADCALIBRATIONPASS
#include "llq/Calibration/Passes.h.inc"

namespace {
struct LoadCalibrationPass
    : impl::LoadCalibrationPassBase<LoadCalibrationPass> {
  using Base::Base;

  void runOnOperation() override {
    SampleOptions options{file, samples, length, seed, statistics, checkpoints};
    if (llvm::Error error = loadSamples(getOperation(), options)) {
      emitError(getOperation().getLoc(), "llq-load-calibration: ")
          << llvm::toString(std::move(error));
      signalPassFailure();
    }
  }
};
} // namespace
} // namespace llq
