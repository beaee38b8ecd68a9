//===- AttachStats.cpp - Attach statistics to linear layers ---------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/CollectStatistics.h"
#include "llq/Calibration/Passes.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DEF_ATTACHSTATSPASS
#include "llq/Calibration/Passes.h.inc"

namespace {
struct AttachStatsPass : impl::AttachStatsPassBase<AttachStatsPass> {
  using Base::Base;

  void getDependentDialects(DialectRegistry &registry) const override {
    registerCalibrationDialects(registry);
  }

  void runOnOperation() override {
    if (failed(attach(getOperation())))
      signalPassFailure();
  }

  LogicalResult attach(ModuleOp module) {
    FailureOr<func::FuncOp> forward = getForward(module);
    if (failed(forward))
      return failure();
    ThreadPool pool(module.getContext()->getNumThreads());
    auto calibrator = Calibrator::create(*forward, pool);
    if (failed(calibrator))
      return failure();
    for (const Site &site : getSites(*forward)) {
      FailureOr<InputStatistics> statistics =
          collectStatistics(**calibrator, site, {secondMoment});
      if (failed(statistics))
        return failure();
      for (LinearOp layer : site.layers)
        attachStatistics(layer, *statistics);
    }
    return success();
  }
};
} // namespace
} // namespace llq
