//===- Selection.h - Which weights a method gets ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_SELECTION_H
#define LLQ_LIB_QUANTIZE_SELECTION_H

#include "llq/Quantize/Method.h"

namespace llq {

/// A linear layer or embedding and its weight operand.
struct WeightUse {
  mlir::Operation *op;
  mlir::OpOperand *operand;
  llvm::StringRef name;
};

/// A weight to quantize and the chosen layers that use it, in network order.
struct SelectedWeight {
  mlir::TypedAttr value;
  int64_t bits;
  llvm::SmallVector<WeightUse, 1> uses;

  /// The embedding among them, which has no inputs to weigh errors with, or
  /// null.
  const WeightUse *findTable() const;
};

/// The weights that `options` choose, in network order. Layers that are left
/// alone get a remark, if `report`; anything else that keeps a layer from being
/// quantized is an error.
mlir::FailureOr<llvm::SmallVector<SelectedWeight>>
selectWeights(mlir::ModuleOp module, const WeightOptions &options,
              bool report = true);

} // namespace llq

#endif // LLQ_LIB_QUANTIZE_SELECTION_H
