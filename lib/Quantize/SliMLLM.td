//===- SliMLLM.td - Groups of different widths -------------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

include "llq/Quantize/QuantPass.td"

def QuantizeSliMLLMPass : QuantPass<"slimllm"> {
  let summary = "Quantize linear layers with more bits where inputs are loud";
  let description = [{
    Huang et al., "SliM-LLM: Salience-Driven Mixed-Precision Quantization for Large
    Language Models", arXiv 2405.14917. Of the groups of columns of a layer the
    most salient get `bits + 1` bits in all rows, as many of the least salient
    `bits - 1`, the others `bits`: how many is what makes the cost at the layer's
    output on a sample of its inputs least (`cost`). Groups are then quantized one
    after another in the loop of GPTQ, each on the grid that is best for its
    weights as they are by then, its range searched within a tenth; salient
    elements of a group may weigh more in that search (`salient-weight`).

    A last group that is shorter stays at `bits`. The embedding and the head are
    rounded to nearest if they have bits.
  }];
  let options = [
    Option<"bits", "bits", "::llq::BoundedInt<2, 7>", "2",
      "Mean bits of a code, 2 to 7">,
    Option<"groupSize", "group-size", "::llq::BoundedInt<0>", "128",
      "Weights along K that share a scale and a width; the last group of a row may be shorter">,
    Option<"cost", "cost", "::llq::numerics::OutputCost",
      "::llq::numerics::OutputCost::Divergence",
      "What the widths are chosen for",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::OutputCost::Divergence, "kl",
                   "divergence of the softmax of a token's outputs"),
        clEnumValN(::llq::numerics::OutputCost::SquaredError, "mse",
                   "their squared error"))}]>,
    Option<"sampleTokens", "sample-tokens", "::llq::BoundedInt<1>", "2048",
      "Tokens whose inputs the widths are chosen with">,
    Option<"salientWeight", "salient-weight", "double", "1",
      "Weight of salient elements in the search of a group's range">,
    Option<"deviations", "deviations", "double", "2",
      "Standard deviations of salience above the mean that make an element salient">,
  ] # compensationOptions # columnOptions # layerOptions;
}
