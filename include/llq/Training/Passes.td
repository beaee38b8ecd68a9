//===- Passes.td - Passes of training ----------------------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRAINING_PASSES_TD
#define LLQ_TRAINING_PASSES_TD

include "mlir/Pass/PassBase.td"

def KeepOriginalsPass : Pass<"llq-keep-originals", "::mlir::ModuleOp"> {
  let summary = "Keep source weights beside those that replace them";
  let description = [{
    Marks the module, so that what quantizes a layer behind this pass leaves its
    source weight with it as `llq.original`, to be read with the rotations that are
    there by now (`llq-rotate` goes in front), for `llq-tune-scales` to compare with.
    A source in a file costs nothing, one in the module stays in memory. A chain of
    methods with `tune` in it begins with this pass by itself.

    ```mlir
    module attributes {llq.keep_originals} {
      %y = llq.linear "layers.0.mlp.up_proj" %x, %w {llq.original = dense_resource<w> : tensor<768x256xf16>, ...}
         : tensor<?x256xf32>, !llq.quantized<768x256, ...> -> tensor<?x768xf32>
    ```
  }];
}

def TuneScalesPass : Pass<"llq-tune-scales", "::mlir::ModuleOp"> {
  let summary = "Train the scales of quantized layers block by block";
  let description = [{
    The numbers that stand beside codes (scales, offsets, levels, zero points in
    f16) are trained with Adam, decoder block by decoder block, so that the block's output `y[t,:]` on the module's calibration
    samples comes near the original one `z[t,:]`: the loss is the mean of
    `(y - z)^2` over all tokens and channels. Gradients are exact, by reverse mode
    through the block. Numbers move in f32 and are rounded to what is stored before
    each use. A block whose loss is not lower in the end is left as it was.

    Codes stay as they are, or, with `codes=nearest`, are chosen anew at each step:
    those whose values are nearest to the original weights. Gradients then take
    rounding for the identity inside of a grid's range. These are the learnable
    clipping ranges of OmniQuant (arXiv 2308.13137) and SliM-LLM+ (2405.14917),
    which replace what a method has done to make up for rounding.

    It goes behind what quantizes, `llq-keep-originals` in front: a chain
    `rtn(bits=2,group-size=64) tune` has both. Layers of decoder blocks are trained
    if their format has such numbers and nothing shares their weight; the embedding
    and the head are not. `method` of a layer says by how much the loss of its
    block has fallen: `tune_gain = 0.25` is a quarter.

    ```mlir
    %y = llq.linear "layers.0.mlp.up_proj" %x, %w {llq.original = dense_resource<w> : tensor<768x256xf16>,
                                                   method = {name = "rtn", ...}} : ...
    // becomes, with other scales
    %y = llq.linear "layers.0.mlp.up_proj" %x, %v {method = {name = "rtn", ..., tune_gain = 0.25 : f64}} : ...
    ```
  }];
  let options = [
    Option<"epochs", "epochs", "::llq::BoundedInt<1, 1000>", "2",
      "How often all samples go past">,
    Option<"learningRate", "learning-rate", "double", "0.03",
      "First step, of the root mean square of a row's numbers; falls to 0 like a cosine">,
    Option<"batch", "batch", "::llq::BoundedInt<1, 65536>", "4",
      "Samples of a step">,
    Option<"codes", "codes", "::llq::TunedCodes", "::llq::TunedCodes::Fixed",
      "What becomes of codes",
      [{::llvm::cl::values(
        clEnumValN(::llq::TunedCodes::Fixed, "fixed", "they stay"),
        clEnumValN(::llq::TunedCodes::Nearest, "nearest",
                   "always those nearest to the original weights, in formats "
                   "that can choose them: uniform, mixed"))}]>,
    Option<"inputs", "inputs", "::llq::CalibrationInputs",
      "::llq::CalibrationInputs::Quantized",
      "What calibration samples run through on their way to a block",
      [{::llvm::cl::values(
        clEnumValN(::llq::CalibrationInputs::Quantized, "quantized",
                   "the blocks tuned so far"),
        clEnumValN(::llq::CalibrationInputs::Original, "original",
                   "the model as it was"))}]>,
    ListOption<"only", "only", "std::string",
      "Tune only layers whose name matches one of these globs">,
    ListOption<"except", "except", "std::string",
      "Leave layers alone whose name matches one of these globs">,
  ];
}

#endif // LLQ_TRAINING_PASSES_TD
