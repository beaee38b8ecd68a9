//===- PlaceObservers.cpp - Mark the inputs that statistics are wanted of -===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/Calibrator.h"
#include "llq/Calibration/Passes.h"
#include "llq/Support/Globs.h"

using namespace mlir;

namespace llq {
#define GEN_PASS_DEF_PLACEOBSERVERSPASS
#include "llq/Calibration/Passes.h.inc"

namespace {
struct PlaceObserversPass : impl::PlaceObserversPassBase<PlaceObserversPass> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(place(getOperation())))
      signalPassFailure();
  }

  LogicalResult place(ModuleOp module) {
    FailureOr<func::FuncOp> forward = getForward(module);
    if (failed(forward))
      return failure();
    auto emitError = [&] {
      return mlir::emitError(module.getLoc(), "llq-place-observers: ");
    };
    Globs globs("only");
    SmallVector<std::string> patterns(only.begin(), only.end());
    if (failed(globs.compile(patterns, emitError)))
      return failure();
    for (const Site &site : getSites(*forward)) {
      // Every layer is asked, so that each glob is seen to match.
      bool wanted = globs.empty();
      for (LinearOp layer : site.layers)
        wanted |= globs.match(LinearOp(layer).getName());
      if (!wanted)
        continue;
      OpBuilder b(site.layers.front());
      ObserveOp::create(b, site.input.getLoc(), site.input, secondMoment,
                        int64_t(sampleTokens));
    }
    return globs.checkAllMatched(emitError);
  }
};
} // namespace
} // namespace llq
