//===- Passes.td - Passes of code generation ---------------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CODEGEN_PASSES_TD
#define LLQ_CODEGEN_PASSES_TD

include "mlir/Pass/PassBase.td"

def FormDispatchesPass : Pass<"llq-form-dispatches", "::mlir::ModuleOp"> {
  let summary = "Group ops that one kernel computes";
  let description = [{
    Wraps the ops of `@forward` in `llq.region`, fusing what pays:
    - a normalization, the permutation and the quantization of its result;
    - all linear layers of one input with weights of one format (q, k, v);
    - gate, up and their gated activation;
    - a linear layer and the residual addition behind it;
    - rotary embedding, append to the cache, and attention.
    Every other op becomes a region of its own. Weights move to the top.
  }];
  let dependentDialects = ["::llq::LLQDialect"];
}

def LowerToCPUPass : Pass<"llq-lower-to-cpu", "::mlir::ModuleOp"> {
  let summary = "Turn dispatch regions into a program and kernels for the CPU";
  let description = [{
    Replaces `@forward` by `llq.program @cpu` and, for each level, a module
    `@"kernels-<level>"` with the functions of its kernels in vector, arith, scf
    and llvm ops. All levels share the program and the packed weights. Equal
    kernels are built once.
  }];
  let options = [
    ListOption<"levels", "levels", "std::string",
               "Levels to generate code for (default: all x86-64 levels)">,
    Option<"maxTokens", "max-tokens", "int64_t", "512",
           "Most tokens that one call handles">,
  ];
  let dependentDialects = [
    "::llq::LLQDialect", "::mlir::arith::ArithDialect",
    "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"
  ];
}

def PlanMemoryPass : Pass<"llq-plan-memory", "::mlir::ModuleOp"> {
  let summary = "Place the temporaries of a program in one arena";
  let description = [{
    Gives every temporary an offset such that two which are live at the same time
    never overlap, largest first, and records the size of the arena.
  }];
  let dependentDialects = ["::llq::LLQDialect"];
}

#endif // LLQ_CODEGEN_PASSES_TD
