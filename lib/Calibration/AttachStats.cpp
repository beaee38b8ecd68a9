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
    // By the value that is observed.
    llvm::DenseMap<Value, StatisticsRequest> requests;
    SmallVector<ObserveOp> observers(forward->getOps<ObserveOp>());
    for (ObserveOp observer : observers) {
      StatisticsRequest &request = requests[observer.getInput()];
      request.secondMoment |= observer.getSecondMoment();
      request.sampleTokens =
          std::max(request.sampleTokens, int64_t(observer.getSampleTokens()));
      observer.erase();
    }
    for (const Site &site : getSites(*forward)) {
      if (!observers.empty() && !requests.contains(site.input))
        continue;
      StatisticsRequest request = observers.empty()
                                      ? StatisticsRequest{secondMoment}
                                      : requests.lookup(site.input);
      FailureOr<InputStatistics> statistics =
          collectStatistics(**calibrator, site, request);
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
