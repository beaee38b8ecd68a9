//===- WeightReplacer.h - Other weights in place of a model's ---*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRANSFORMS_WEIGHTREPLACER_H
#define LLQ_TRANSFORMS_WEIGHTREPLACER_H

#include "llq/Support/WeightData.h"
#include "llq/Support/WeightReferences.h"

namespace llq {

/// Puts new weights in place of those of a module. What it has replaced stays
/// until the replacer goes: samples may still have to run through the model as
/// it was. That is little, since scaled and rotated matrices refer to their
/// sources. In a dry run, on a copy of a model, blobs stay for good.
class WeightReplacer {
public:
  explicit WeightReplacer(mlir::ModuleOp module)
      : references(module), frees(!module->hasAttr(kSketchAttr)) {}
  WeightReplacer(const WeightReplacer &) = delete;
  WeightReplacer &operator=(const WeightReplacer &) = delete;
  ~WeightReplacer();

  /// The value of the source weight or bias that `operand` is.
  static mlir::TypedAttr getWeight(mlir::OpOperand &operand);

  /// Puts `value` in its place.
  void replace(mlir::OpOperand &operand, mlir::TypedAttr value);

protected:
  WeightReader reader;

private:
  WeightReferences references;
  bool frees;
  llvm::SmallVector<mlir::Operation *> replaced;
};

} // namespace llq

#endif // LLQ_TRANSFORMS_WEIGHTREPLACER_H
