//===- LLQDialect.td - The llq dialect ---------------------*- tablegen -*-===//
//
// Name and overview of the dialect; opens the generated reference.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_DIALECT_TD
#define LLQ_DIALECT_TD

include "mlir/IR/OpBase.td"

def LLQ_Dialect : Dialect {
  let name = "llq";
  let cppNamespace = "::llq";
  let summary = "LLAMA3 decoders with weights of very few bits";
  let description = [{
    The `llq` dialect describes one decoder-only transformer of the LLaMA family
    as a function over a sequence of tokens, from token ids to logits. It has
    three groups of operations, one for each kind of stage:

    - *normal form*: `llq.embedding`, `llq.rms_norm`, `llq.linear`, `llq.rope`,
      `llq.attention`, `llq.swiglu`, `llq.add` and `llq.weight`. One `llq.linear`
      stands for one linear layer of the model and carries its name, e.g.
      `layers.3.self_attn.q_proj`.
    - *quantized form*: the weight of a linear layer (or embedding) becomes an
      `llq.quantized_weight` of type `!llq.quantized<NxK, format>`; quantized
      activations are made by `llq.quantize_activation`. A method is a pass that
      goes from the first form to the second; the format attribute is all that
      later stages see of it.
    - *program form*: `llq.program` with buffers and a list of `llq.dispatch`,
      each naming a kernel function that code generation has made.

    Letters in shapes: `T` tokens of one call, `N` output features, `K` input
    features, `H` heads, `D` head dimension, `V` vocabulary. `T` is dynamic in the
    tensors and everything else is static.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let extraClassDeclaration = [{
    void registerAttributes();
    void registerBytecode();
    void registerTypes();
  }];
}

#endif // LLQ_DIALECT_TD
