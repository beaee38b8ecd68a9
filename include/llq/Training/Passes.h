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

#define GEN_PASS_DECL
#include "llq/Training/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "llq/Training/Passes.h.inc"

} // namespace llq

#endif // LLQ_TRAINING_PASSES_H
