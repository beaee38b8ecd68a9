//===- Emit.h - A decoder as llq normal form --------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CONVERSION_ONNXTOLLQ_EMIT_H
#define LLQ_LIB_CONVERSION_ONNXTOLLQ_EMIT_H

#include "RotaryModel.h"

#include "mlir/IR/BuiltinOps.h"

namespace llq::raise {

/// Adds `@forward` and `llq.architecture` to `module`. `context` is the longest
/// sequence.
llvm::Error emitDecoder(mlir::ModuleOp module, const Decoder &decoder,
                        const RotaryModel &rotary, int64_t context,
                        WeightReader &reader);

} // namespace llq::raise

#endif // LLQ_LIB_CONVERSION_ONNXTOLLQ_EMIT_H
