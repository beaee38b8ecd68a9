//===- TuneMemory.h - What training the scales takes ------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRAINING_TUNEMEMORY_H
#define LLQ_TRAINING_TUNEMEMORY_H

#include "llq/Calibration/Calibrator.h"

namespace llq {

/// What `llq-tune-scales` takes at most, roughly, besides the model, for
/// `tokens` tokens in samples of at most `longest`.
CalibrationBytes getTuneBytes(mlir::func::FuncOp forward, int64_t tokens,
                              int64_t longest);

} // namespace llq

#endif // LLQ_TRAINING_TUNEMEMORY_H
