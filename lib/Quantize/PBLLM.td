//===- PBLLM.td - Few weights in 8 bits, one for all -------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

include "llq/Quantize/QuantPass.td"

def QuantizePBLLMPass : QuantPass<"pbllm"> {
  let summary = "Quantize linear layers to one bit but for a few weights";
  let description = [{
    Shang et al., "PB-LLM: Partially Binarized Large Language Models", arXiv
    2310.00034, without training. The most salient weights of a group of columns,
    wherever they are in it, keep 8 bits on a grid of their row. For each of the
    others a bit chooses one of two values of its row and group. Columns become
    binary one after another, and those that are still open take over the errors.

    The layer's weight is `#llq.planes` of one bit with `#llq.outliers` on top: a
    weight takes its bit, 8 more if it is salient, and 0.7 to 1 to say whether it
    is. With `salient=0.1`, which is called 1.7 bits, that is 2.9 with everything,
    with 1/7, called 2 bits, 3.5.

    Which weights are salient is chosen again, `rounds` times, by what a bit in
    their place would cost; `rounds=0` leaves the mask of the paper.
    `binary-scale=reference` does as the published code, which counts salient
    weights as zeros when it chooses the two values.

    The embedding and the head are rounded to nearest if they have bits.
  }];
  let options = [
    Option<"salient", "salient", "double", "0.1",
      "Share of weights with 8 bits, 0 to 1">,
    Option<"groupSize", "group-size", "::llq::BoundedInt<0>", "128",
      "Columns that share two values in a row; 0 is one group per row; the last group "
      "may be shorter">,
    Option<"criterion", "criterion", "::llq::numerics::SalienceCriterion",
      "::llq::numerics::SalienceCriterion::Hessian", "What makes weights salient",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::SalienceCriterion::Magnitude, "magnitude",
                   "their size"),
        clEnumValN(::llq::numerics::SalienceCriterion::Hessian, "hessian",
                   "what the output loses without them"),
        clEnumValN(::llq::numerics::SalienceCriterion::InverseDiagonal,
                   "inverse-diagonal", "as the paper prints it"))}]>,
    Option<"rounds", "rounds", "::llq::BoundedInt<0, 100>", "1",
      "How often the salient weights are chosen again">,
    Option<"binaryScale", "binary-scale", "::llq::numerics::BinaryScale",
      "::llq::numerics::BinaryScale::Masked", "What the two values are fitted to",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::BinaryScale::Masked, "masked",
                   "the weights that are bits"),
        clEnumValN(::llq::numerics::BinaryScale::Reference, "reference",
                   "all, salient ones as zeros, as the published code"))}]>,
  ] # compensationOptions # layerOptions;
}
