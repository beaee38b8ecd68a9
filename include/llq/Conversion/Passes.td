//===- Passes.td - From foreign dialects to llq ------------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CONVERSION_PASSES_TD
#define LLQ_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertONNXToLLQPass : Pass<"llq-convert-onnx-to-llq", "::mlir::ModuleOp"> {
  let summary = "Raise an imported ONNX graph to llq normal form";
  let description = [{
    Replaces the imported graph `@main_graph` by `@forward` in normal form and
    adds `llq.architecture`. The graph may be any export of a LLaMA decoder: with
    or without cache, decomposed or with operators for norms, rotary embedding
    and attention, of static or dynamic lengths.

    The pass runs the graph on abstract values for a few small numbers of tokens:
    shapes, positions and masks are evaluated, activations are followed element
    by element. So a layer is recognised by what it computes and not by how it is
    printed. What is no step of a LLaMA decoder is an error that names the node,
    its operator and the reason; nothing is approximated.

    Half precision is not rounded to between operators: the result computes in
    f32 with the weights as they are stored. Weights in files stay there.

    `context` is the longest sequence of the model. By default it is the number
    of rows of the graph's rotary tables or, without tables, 8192.
  }];
  let dependentDialects = ["::llq::LLQDialect", "::mlir::func::FuncDialect"];
  let options = [
    Option<"context", "context", "int64_t", "0",
      "Longest sequence; 0: from the graph's tables, else 8192">,
  ];
}

#endif // LLQ_CONVERSION_PASSES_TD
