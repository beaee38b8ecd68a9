//===- Activations.td - Integer activations ----------------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

include "mlir/Pass/PassBase.td"

def QuantizeActivationsPass
    : Pass<"llq-quantize-activations", "::mlir::ModuleOp"> {
  let summary = "Quantize the inputs of layers with quantized weights";
  let description = [{
    Puts an `llq.quantize_activation` in front of the linear layers of the decoder
    blocks whose weight is quantized, once for each value, so that q, k and v share
    one. Products of such layers are exact integer sums over each group of weights.
    The head keeps f32 inputs unless `only` names it. Comes last in a chain:
    `smoothquant(alpha=0.85) rtn(bits=8,group-size=0,scheme=signed) activations(bits=8)`.

    `per=token` takes the scale of a token from the token, at run time:
    `#llq.dynamic<bits, group = 0>`. `per=tensor` fixes it for all tokens:
    `#llq.static<bits, scale>` with `scale = max(1e-5, max|x|) / (2^(bits-1) - 1)`
    over the calibration samples (`llq-load-calibration`), run through the model as
    it is, or over what the layers carry as `llq.stats`; at least 16 tokens. LLaMA's
    down projections see a few tokens with inputs hundreds of times larger than the
    others', which one scale for all rounds to zero: prefer `per=token`.

    Layers that have quantized inputs already are an error; `llq-set-accuracy`
    leaves those alone that this pass has quantized.

    ```mlir
    %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x256xf32>, !llq.quantized<...> -> tensor<?x768xf32>
    // becomes
    %q = llq.quantize_activation %x : tensor<?x256xf32> -> !llq.quantized<?x256, #llq.dynamic<bits = 8, group = 0>>
    %y = llq.linear "layers.0.mlp.up_proj" %q, %w : ...
    ```
  }];
  let dependentDialects = ["::llq::LLQDialect"];
  let options = [
    Option<"bits", "bits", "::llq::BoundedInt<2, 8>", "8",
      "Bits of a code, 2 to 8">,
    Option<"per", "per", "::llq::ActivationScale",
      "::llq::ActivationScale::Token", "What shares a scale",
      [{::llvm::cl::values(
        clEnumValN(::llq::ActivationScale::Token, "token",
                   "each token, at run time"),
        clEnumValN(::llq::ActivationScale::Tensor, "tensor",
                   "all tokens, from calibration"))}]>,
    ListOption<"only", "only", "std::string",
      "Quantize only the inputs of layers whose name matches one of these globs">,
    ListOption<"except", "except", "std::string",
      "Leave layers alone whose name matches one of these globs">,
  ];
}
