//===- Passes.h - The quantization methods ----------------------*- C++ -*-===//
//
// The list of methods is lib/Quantize/*.td: nobody writes it down.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_QUANTIZE_PASSES_H
#define LLQ_QUANTIZE_PASSES_H

#include "llq/Quantize/Method.h"

#include "lib/Quantize/MethodHeaders.inc"

namespace llq {

#define GEN_PASS_DECL
#include "lib/Quantize/Passes.h.inc"

/// Registers `llq-quantize-<method>` for every method.
void registerQuantizePasses();

/// The names of the methods, sorted: `rtn` and so on.
llvm::SmallVector<std::string> getMethodNames();

} // namespace llq

#endif // LLQ_QUANTIZE_PASSES_H
