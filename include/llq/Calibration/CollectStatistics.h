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

/// What is wanted of the inputs of a site besides statistics per channel.
struct StatisticsRequest {
  bool secondMoment = false;
  /// Inputs of up to so many tokens.
  int64_t sampleTokens = 0;
  /// Least weight in the second moment, of 1, that the first tokens of all
  /// samples have together.
  double firstTokenShare = 0;
};

/// Statistics of the inputs of the site where `calibrator` stands, computed or
/// taken from what is kept. Emits an error at the site's first layer, also for
/// an input that is NaN or infinite.
mlir::FailureOr<InputStatistics>
getInputStatistics(Calibrator &calibrator, const StatisticsRequest &request);

/// Moves `calibrator` on to `site` and returns the statistics there.
mlir::FailureOr<InputStatistics>
collectStatistics(Calibrator &calibrator, const Site &site,
                  const StatisticsRequest &request);

} // namespace llq

#endif // LLQ_CALIBRATION_COLLECTSTATISTICS_H
