//===- Passes.h - Passes of code generation ---------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CODEGEN_PASSES_H
#define LLQ_CODEGEN_PASSES_H

#include "mlir/Pass/Pass.h"

namespace llq {
#define GEN_PASS_DECL
#include "llq/Codegen/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "llq/Codegen/Passes.h.inc"
} // namespace llq

#endif // LLQ_CODEGEN_PASSES_H
