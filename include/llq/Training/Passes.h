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

/// What becomes of codes while the numbers of their formats are trained.
enum class TunedCodes {
  Fixed,   ///< they stay
  Nearest, ///< always those nearest to the original weights
};

#define GEN_PASS_DECL
#include "llq/Training/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "llq/Training/Passes.h.inc"

} // namespace llq

#endif // LLQ_TRAINING_PASSES_H
