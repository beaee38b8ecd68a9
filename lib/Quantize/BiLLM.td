//===- BiLLM.td - Residual binarization, four levels -------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

include "llq/Quantize/QuantPass.td"

def QuantizeBiLLMPass : QuantPass<"billm"> {
  let summary = "Quantize linear layers to a sign and a magnitude of two";
  let description = [{
    Huang et al., "BiLLM: Pushing the Limit of Post-Training Quantization for LLMs",
    arXiv 2402.04291. Blocks of columns become binary one after another, and those
    that are still open take over the errors. In a block a few salient columns,
    the same in all rows, are sums of two binary terms; the other weights are split
    by magnitude into two binary groups.

    Either way a weight is one of four levels of its row and block: two bits that
    pick from two tables, `#llq.codebook<bits = 2, tables = 2>`. Salient columns
    come to the front of their group; `llq.permute_channels` puts the input into
    that order.

    How many columns are salient (`salient-search`, at most `salient-columns`) and
    where weights are split (`split-search`) have the variants of the paper and of
    its code beside those that are least at the layer's output, the defaults;
    docs/methods/billm.md compares them. `terms=mean` stores a mean with each
    binary term, `compensation=diagonal` is what the published code does.

    The embedding and the head are rounded to nearest if they have bits.
  }];
  let options = [
    Option<"groupSize", "group-size", "::llq::BoundedInt<0>", "128",
      "Columns of a block; 0 is one block; the last block may be shorter">,
    Option<"criterion", "criterion", "::llq::numerics::SalienceCriterion",
      "::llq::numerics::SalienceCriterion::Hessian", "What makes columns salient",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::SalienceCriterion::Magnitude, "magnitude",
                   "the squares of their weights"),
        clEnumValN(::llq::numerics::SalienceCriterion::Hessian, "hessian",
                   "what the output loses without them"),
        clEnumValN(::llq::numerics::SalienceCriterion::InverseDiagonal,
                   "inverse-diagonal", "as the paper prints it"))}]>,
    Option<"salientSearch", "salient-search", "::llq::numerics::SalientSearch",
      "::llq::numerics::SalientSearch::Weighted",
      "How many columns of a block are salient",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::SalientSearch::Fixed, "fixed",
                   "salient-columns"),
        clEnumValN(::llq::numerics::SalientSearch::Paper, "paper",
                   "the least error of one term"),
        clEnumValN(::llq::numerics::SalientSearch::Reference, "reference",
                   "the least error of the saliences, as the published code"),
        clEnumValN(::llq::numerics::SalientSearch::Weighted, "weighted",
                   "the least weighted error of what is stored"))}]>,
    Option<"salientColumns", "salient-columns", "::llq::BoundedInt<0, 32>", "32",
      "Salient columns of a block at most">,
    Option<"splitSearch", "split-search", "::llq::numerics::SplitSearch",
      "::llq::numerics::SplitSearch::Rows",
      "From which magnitude on weights are large",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::SplitSearch::Paper, "paper",
                   "the best tenth of the largest"),
        clEnumValN(::llq::numerics::SplitSearch::Reference, "reference",
                   "the best quantile of the saliences, as the published code"),
        clEnumValN(::llq::numerics::SplitSearch::Quantiles, "quantiles",
                   "the best quantile of the magnitudes"),
        clEnumValN(::llq::numerics::SplitSearch::Rows, "rows",
                   "the best quantile in each row"))}]>,
    Option<"terms", "terms", "::llq::numerics::BinaryTerms",
      "::llq::numerics::BinaryTerms::Scale", "What a binary term consists of",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::BinaryTerms::Scale, "scale", "a magnitude"),
        clEnumValN(::llq::numerics::BinaryTerms::MeanAndScale, "mean",
                   "a mean and a magnitude"))}]>,
    Option<"weightedLevels", "weighted-levels", "bool", "false",
      "Fit levels, too, to weights by what they count at the output">,
    Option<"compensation", "compensation", "::llq::numerics::BlockCompensation",
      "::llq::numerics::BlockCompensation::Exact",
      "What later blocks take over",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::BlockCompensation::Exact, "exact",
                   "the errors of a block as they act together"),
        clEnumValN(::llq::numerics::BlockCompensation::Diagonal, "diagonal",
                   "those of its columns one by one, as the published code"),
        clEnumValN(::llq::numerics::BlockCompensation::None, "none",
                   "nothing"))}]>,
  ] # compensationOptions # layerOptions;
}
