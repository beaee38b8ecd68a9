//===- Forward.h - Run llq normal form in plain loops -----------*- C++ -*-===//
//
// The reference of what a model in normal or quantized form computes: the judge
// of kernels and of raised graphs. Exact where it can be, not fast.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_REFERENCE_FORWARD_H
#define LLQ_REFERENCE_FORWARD_H

#include "llq/Support/WeightData.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

#include <map>

namespace llq {

/// Runs `@forward` of a module, keeping its KV cache (in f32, whatever the
/// attention ops ask for) from call to call. Sums are accumulated in double
/// precision and rounded to f32 once.
class ReferenceModel {
public:
  /// `module` must be in normal or quantized form and outlive the model.
  explicit ReferenceModel(mlir::ModuleOp module) : module(module) {}

  /// Appends `ids` (at least one) to the sequence and returns the function's
  /// result for them, [ids.size(), columns] row-major.
  llvm::Expected<std::vector<float>> forward(llvm::ArrayRef<int32_t> ids);

  /// Tokens in the cache.
  int64_t getLength() const { return length; }
  /// Forgets the sequence.
  void reset();

private:
  struct Call;
  mlir::ModuleOp module;
  WeightReader reader;
  int64_t length = 0;
  /// Keys and values by layer, [positions, KV * D].
  std::map<int64_t, std::pair<std::vector<float>, std::vector<float>>> caches;
};

/// Logits (or hidden states) of one sequence from the start: [T, columns].
llvm::Expected<std::vector<float>> evaluateForward(mlir::ModuleOp module,
                                                   llvm::ArrayRef<int32_t> ids);

} // namespace llq

#endif // LLQ_REFERENCE_FORWARD_H
