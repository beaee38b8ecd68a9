//===- Segment.h - Parts of a model as models of their own ------*- C++ -*-===//
//
// Calibration alternates between running a model and changing it, so it runs a
// model in parts: from the activations that it has to those that it needs.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CALIBRATION_SEGMENT_H
#define LLQ_LIB_CALIBRATION_SEGMENT_H

#include "dialects/LLQ/LLQ.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/SetVector.h"

namespace llq {

/// A module whose `@forward(ids?, past, inputs...)` computes some values of a
/// model. It shares the model's weights.
struct Segment {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// Values of the model that its arguments stand for, in order.
  llvm::SmallVector<mlir::Value> inputs;
};

/// The part of `function` that computes `results` from the activations `known`
/// and the token ids.
Segment extractSegment(mlir::func::FuncOp function,
                       const llvm::SetVector<mlir::Value> &known,
                       llvm::ArrayRef<mlir::Value> results);

/// The activations in front of `cut` that `cut` and what follows it are
/// computed from. Not among them is what is quickly computed again from the
/// others: norms, rotary tables, permuted and quantized activations.
llvm::SetVector<mlir::Value> getLiveActivations(mlir::Operation *cut);

} // namespace llq

#endif // LLQ_LIB_CALIBRATION_SEGMENT_H
