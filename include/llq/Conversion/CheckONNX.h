//===- CheckONNX.h - Compare a raised model with its graph ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CONVERSION_CHECKONNX_H
#define LLQ_CONVERSION_CHECKONNX_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace llq {

/// How far a raised model is from the graph it came from.
struct ONNXCheck {
  /// Rows of logits (or hidden states) that were compared, and how many of them
  /// came from a call with cached tokens.
  int64_t rows = 0, cachedRows = 0;
  /// Largest absolute difference, and the largest value.
  double maxError = 0, maxValue = 0;
  /// Rows whose largest element is another one.
  int64_t topMismatches = 0;

  /// Both compute in single precision: rounding is all that may differ.
  double getTolerance() const { return 1e-3 + 1e-4 * maxValue; }
  bool isGood() const { return maxError <= getTolerance(); }
};

/// Runs the imported `graph` in the reference interpreter, half precision
/// widened to f32, and `raised` in plain loops on the same random tokens: a
/// prompt and, if the graph has caches, a second call behind it.
llvm::Expected<ONNXCheck> checkRaisedModel(mlir::func::FuncOp graph,
                                           mlir::ModuleOp raised,
                                           uint64_t seed = 1);

} // namespace llq

#endif // LLQ_CONVERSION_CHECKONNX_H
