//===- CheckpointKey.h - What layers become depends on ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_CHECKPOINTKEY_H
#define LLQ_LIB_QUANTIZE_CHECKPOINTKEY_H

#include "llq/Calibration/Checkpoints.h"
#include "llq/Quantize/Method.h"

namespace llq {

/// What `layers` become depends on their weights and `bits`, the options of the
/// method, and `inputs`, the key of each site's inputs (Calibrator::getKey).
/// Empty if nothing is kept. Emits an error if a weight cannot be read.
mlir::FailureOr<std::string>
getCheckpointKey(const Checkpoints &checkpoints, const WeightOptions &options,
                 llvm::ArrayRef<std::string> inputs,
                 llvm::ArrayRef<LinearOp> layers, llvm::ArrayRef<int64_t> bits);

} // namespace llq

#endif // LLQ_LIB_QUANTIZE_CHECKPOINTKEY_H
