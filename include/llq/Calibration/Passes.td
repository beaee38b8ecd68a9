//===- Passes.td - Passes of calibration -------------------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CALIBRATION_PASSES_TD
#define LLQ_CALIBRATION_PASSES_TD

include "mlir/Pass/PassBase.td"

def LoadCalibrationPass : Pass<"llq-load-calibration", "::mlir::ModuleOp"> {
  let summary = "Put samples for methods that calibrate into the module";
  let description = [{
    Reads `file` and attaches its samples to the module as `llq.calibration`:
    token ids, the lengths of the samples, and the protocol (file, its SHA-256,
    count, length, seed), which ends up in the model file. By the file's name:

    - `.ids`: one sequence of ids per line, each line one sample, in order;
    - `.jsonl`: one object per line. `ids` are a sample; `text`s are joined by an
      empty line and treated as text;
    - anything else is text: tokenized once by the model's tokenizer, without
      special tokens; sample i begins at token
      `random.Random(seed).randint(0, tokens - length - 1)`, the i-th such draw of
      Python's generator, which is what the methods' own programs do.

    With `statistics` and `checkpoints`, methods keep there what takes long, under
    the hash of all that it depends on (samples, operations, weights, options): a
    later run takes up what is the same, and gives the same result.

    ```mlir
    // llq-opt --llq-load-calibration='file=a.ids samples=2 length=3'
    module attributes {llq.calibration = {ids = dense_resource<calibration> : tensor<5xi32>,
                                          lengths = array<i64: 3, 2>, protocol = "..."}}
    ```
  }];
  let options = [
    Option<"file", "file", "std::string", "\"\"", "Text, .jsonl or .ids">,
    Option<"samples", "samples", "::llq::BoundedInt<1>", "128",
      "Number of samples; a file of ids may hold fewer">,
    Option<"length", "length", "::llq::BoundedInt<1>", "2048",
      "Tokens of a sample; longer sequences of ids are cut">,
    Option<"seed", "seed", "uint64_t", "0", "Seed of the places in a text">,
    Option<"statistics", "statistics", "std::string", "\"\"",
      "Folder that keeps statistics of inputs for other methods and widths">,
    Option<"checkpoints", "checkpoints", "std::string", "\"\"",
      "Folder that keeps finished layers, for a run after a kill">,
  ];
}

def PlaceObserversPass : Pass<"llq-place-observers", "::mlir::ModuleOp"> {
  let summary = "Mark the inputs that statistics are wanted of";
  let description = [{
    Puts one `llq.observe` in front of the first linear layer that reads a value,
    for every value that linear layers of `@forward` read and `only` does not leave
    out. `llq-attach-stats` then collects statistics of these alone.

    ```mlir
    llq.observe %x second_moment : tensor<?x4xf32>
    %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, tensor<2x4xf16> -> tensor<?x2xf32>
    ```
  }];
  let dependentDialects = ["::llq::LLQDialect"];
  let options = [
    Option<"secondMoment", "second-moment", "bool", "true",
      "Ask for the second moment">,
    Option<"sampleTokens", "sample-tokens", "::llq::BoundedInt<0>", "0",
      "Ask for the inputs of so many tokens">,
    ListOption<"only", "only", "std::string",
      "Only inputs of layers whose name matches one of these globs">,
  ];
}

def AttachStatsPass : Pass<"llq-attach-stats", "::mlir::ModuleOp"> {
  let summary = "Attach statistics of their inputs to linear layers";
  let description = [{
    Runs the module's calibration samples through the model and attaches to every
    linear layer what a method may need of its inputs `x[T,K]`, as `llq.stats`:
    `abs_max`, `mean_abs` and `mean_square` of each channel and, with
    `second-moment=true`, the matrix `second_moment = mean x^T x`. A method that
    calibrates takes them in place of a run of its own, so that it can be tried
    on a few layers. Meant for small models: they are as large as the weights.
    Where `llq-place-observers` has placed `llq.observe`, only what these ask for
    is collected, and they are removed.

    ```mlir
    %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, tensor<2x4xf16> -> tensor<?x2xf32>
    // becomes
    %y = llq.linear "layers.0.mlp.up_proj" %x, %w {llq.stats = {
        abs_max = dense_resource<layers.0.mlp.up_proj.abs_max> : tensor<4xf32>, ..., tokens = 512 : i64}} : ...
    ```
  }];
  let options = [
    Option<"secondMoment", "second-moment", "bool", "true",
      "Attach the second moment too">,
  ];
}

#endif // LLQ_CALIBRATION_PASSES_TD
