//===- QuantPass.td - Base class of quantization passes ----*- tablegen -*-===//
//
// What every method has: its name and the options that choose a grid and
// layers. A method says `let options = weightOptions # [Option<...>]` to add its
// own; the flags, their ranges and their texts are the same for all methods.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_QUANTIZE_QUANTPASS_TD
#define LLQ_QUANTIZE_QUANTPASS_TD

include "mlir/Pass/PassBase.td"

/// A pass `llq-quantize-<method>` that replaces the weights of linear layers.
/// Its options become a llq::WeightOptions (llq/Quantize/Method.h).
class QuantPass<string method>
    : Pass<"llq-quantize-" # method, "::mlir::ModuleOp"> {
  let dependentDialects = ["::llq::LLQDialect"];

  /// The width of codes and the groups that share a scale.
  list<Option> groupOptions = [
    Option<"bits", "bits", "::llq::BoundedInt<2, 8>", "4",
      "Bits of a code, 2 to 8">,
    Option<"groupSize", "group-size", "::llq::BoundedInt<0>", "128",
      "Weights along K that share a scale; 0 is one group per output row; the last group of a row may be shorter">,
  ];

  /// The uniform grid of a weight.
  list<Option> gridOptions = groupOptions # [
    Option<"scheme", "scheme", "::llq::numerics::GridScheme",
      "::llq::numerics::GridScheme::Asymmetric",
      "Where a grid's zero lies",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::GridScheme::Asymmetric, "asymmetric",
                   "an integer zero point in each group, range of the weights"),
        clEnumValN(::llq::numerics::GridScheme::Symmetric, "symmetric",
                   "zero is the middle code, range -max to max"),
        clEnumValN(::llq::numerics::GridScheme::Signed, "signed",
                   "signed codes of magnitude up to 2^(bits-1)-1"))}]>,
    Option<"symmetric", "symmetric", "bool", "false",
      "true is scheme=symmetric">,
    Option<"scaleType", "scale-type", "::llq::numerics::ScaleType",
      "::llq::numerics::ScaleType::F16",
      "Type of the scales, to which they are rounded before codes are chosen",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::ScaleType::F16, "f16", "IEEE half"),
        clEnumValN(::llq::numerics::ScaleType::F32, "f32", "IEEE single"))}]>,
    Option<"clip", "clip", "::llq::numerics::ClipSearch",
      "::llq::numerics::ClipSearch::None",
      "Search for a range smaller than that of the weights",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::ClipSearch::None, "none", "no search"),
        clEnumValN(::llq::numerics::ClipSearch::MSE, "mse",
                   "least sum of |error|^2.4 over 80 ranges"))}]>,
  ];

  /// Which layers, and how many bits the embedding and the head get.
  list<Option> layerOptions = [
    ListOption<"only", "only", "std::string",
      "Quantize only layers whose name matches one of these globs">,
    ListOption<"except", "except", "std::string",
      "Leave layers alone whose name matches one of these globs">,
    Option<"embeddingBits", "embedding-bits", "::llq::BoundedInt<2, 8, 0>", "0",
      "Bits of the embedding table (embed_tokens), 0 to keep its source type">,
    Option<"headBits", "head-bits", "::llq::BoundedInt<2, 8, 0>", "0",
      "Bits of the head (lm_head), 0 to keep its source type">,
  ];

  /// What a method that calibrates looks at.
  list<Option> calibrationOptions = [
    Option<"inputs", "inputs", "::llq::CalibrationInputs",
      "::llq::CalibrationInputs::Quantized",
      "What calibration samples run through on their way to a layer",
      [{::llvm::cl::values(
        clEnumValN(::llq::CalibrationInputs::Quantized, "quantized",
                   "the layers quantized so far"),
        clEnumValN(::llq::CalibrationInputs::Original, "original",
                   "the model as it was"))}]>,
    Option<"trueSequential", "true-sequential", "bool", "true",
      "Quantized inputs come out of the quantized layers of the layer's own decoder block too">,
  ];

  /// What a method that compensates errors looks at besides
  /// (llq/Quantize/CompensatedMethod.h).
  list<Option> compensationOptions = calibrationOptions # [
    Option<"damp", "damp", "double", "0.01",
      "Share of the mean of H's diagonal that is added to it">,
    Option<"firstTokenShare", "first-token-share", "double", "0.03",
      "Least share of the samples' first tokens in H; 0 weighs all tokens alike">,
  ];

  /// For methods that go column by column.
  list<Option> columnOptions = [
    Option<"blockSize", "block-size", "::llq::BoundedInt<1, 4096>", "256",
      "Columns between two updates of the rest">,
  ];

  list<Option> weightOptions = gridOptions # layerOptions;
  let options = weightOptions;
}

#endif // LLQ_QUANTIZE_QUANTPASS_TD
