//===- WeightReferences.h - Free weights that nothing uses ------*- C++ -*-===//
//
// Resource blobs live as long as the context, so a pass that replaces a weight
// has to free it, and several ops may refer to one blob.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_SUPPORT_WEIGHTREFERENCES_H
#define LLQ_SUPPORT_WEIGHTREFERENCES_H

#include "dialects/LLQ/LLQ.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/DenseMap.h"

namespace llq {

/// Counts which ops of a module refer to which resource blob.
class WeightReferences {
public:
  explicit WeightReferences(mlir::ModuleOp module);

  /// Counts what `op`, a new op, refers to.
  void add(mlir::Operation *op);

  /// Erases `op`, an unused llq.weight or llq.quantized_weight that was there
  /// when the references were counted or was added, and frees blobs that only
  /// it used.
  void erase(mlir::Operation *op);

  /// The same for an attribute of such an op.
  void removeAttr(mlir::Operation *op, llvm::StringRef name);

private:
  /// Counts down and frees what `attribute` refers to.
  void forget(mlir::Attribute attribute);

  llvm::DenseMap<const void *, int64_t> counts; ///< by resource entry
};

} // namespace llq

#endif // LLQ_SUPPORT_WEIGHTREFERENCES_H
