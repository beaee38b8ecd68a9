//===- Passes.h - Passes of no method ---------------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRANSFORMS_PASSES_H
#define LLQ_TRANSFORMS_PASSES_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Support/BoundedInt.h"
#include "llq/Transforms/SmoothingStrength.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace llq {

/// Element types that a weight may have (llq-dequantize).
enum class WeightType { F32, F16, BF16 };

/// How activations in front of quantized layers are kept (llq-set-accuracy).
enum class AccuracyLevel { Exact, Int8 };

#define GEN_PASS_DECL
#include "llq/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "llq/Transforms/Passes.h.inc"

} // namespace llq

#endif // LLQ_TRANSFORMS_PASSES_H
