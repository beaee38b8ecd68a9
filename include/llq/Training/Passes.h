//===- Passes.h - Passes of training ----------------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRAINING_PASSES_H
#define LLQ_TRAINING_PASSES_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Quantize/Method.h"
#include "llq/Support/BoundedInt.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace llq {

/// What the outputs of a quantized block are compared with (llq-tune-scales).
enum class TuneTargets {
  Original, ///< those of the original model
  Block,    ///< those of the original block for the same inputs
};

#define GEN_PASS_DECL
#include "llq/Training/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "llq/Training/Passes.h.inc"

} // namespace llq

#endif // LLQ_TRAINING_PASSES_H
