//===- Passes.h - Passes of calibration -------------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CALIBRATION_PASSES_H
#define LLQ_CALIBRATION_PASSES_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Support/BoundedInt.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace llq {

#define GEN_PASS_DECL
#include "llq/Calibration/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "llq/Calibration/Passes.h.inc"

} // namespace llq

#endif // LLQ_CALIBRATION_PASSES_H
