//===- CollectStatistics.h - Statistics of a site from samples --*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CALIBRATION_COLLECTSTATISTICS_H
#define LLQ_CALIBRATION_COLLECTSTATISTICS_H

#include "llq/Calibration/Calibrator.h"
#include "llq/Calibration/InputStatistics.h"

namespace llq {

/// Moves `calibrator` on to `site` and returns the statistics of its inputs,
/// and the inputs of up to `sampleTokens` tokens. Emits an error at the site's
/// first layer, also for an input that is NaN or infinite.
mlir::FailureOr<InputStatistics>
collectStatistics(Calibrator &calibrator, const Site &site, bool secondMoment,
                  ThreadPool &pool, int64_t sampleTokens = 0);

} // namespace llq

#endif // LLQ_CALIBRATION_COLLECTSTATISTICS_H
