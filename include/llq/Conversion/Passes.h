//===- Passes.h - From foreign dialects to llq ------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CONVERSION_PASSES_H
#define LLQ_CONVERSION_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace llq {

#define GEN_PASS_DECL
#include "llq/Conversion/Passes.h.inc"

/// Options of `llq-normalize-pipeline`.
struct NormalizeOptions : mlir::PassPipelineOptions<NormalizeOptions> {
  Option<int64_t> context{
      *this, "context",
      llvm::cl::desc("Longest sequence; 0: from the graph's tables, else 8192"),
      llvm::cl::init(0)};
};

/// Adds the passes from an imported graph to normal form.
void buildNormalizePipeline(mlir::OpPassManager &manager,
                            const NormalizeOptions &options);

/// Registers the conversion passes and `llq-normalize-pipeline`.
void registerONNXToLLQPasses();

} // namespace llq

#endif // LLQ_CONVERSION_PASSES_H
