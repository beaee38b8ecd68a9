//===- DBLLM.td - Weights as sums of two bit planes --------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

include "llq/Quantize/QuantPass.td"

def QuantizeDBLLMPass : QuantPass<"dbllm"> {
  let summary = "Quantize linear layers to sums of two bit planes";
  let description = [{
    Chen et al., "DB-LLM: Accurate Dual-Binarization for Efficient LLMs", arXiv
    2402.11960. A weight is `a1 * b1 + a2 * b2` with bits `b1`, `b2` and two scales
    per group: one of the levels 0, a1, a2, a1 + a2.

    The scales of a group begin as a 2-bit grid, `a1 = 2s`, `a2 = -s`, of the best `s`
    and orientation, and then bits and scales follow each other until neither
    changes. With calibration samples, or `llq.stats`, this happens in the loop of
    GPTQ: a group is fit to weights that have taken over the errors of the columns
    before it, and at the end the scales of all groups of a row are fit once more
    to what the bits have become, measured at the layer's output (`refit`). With
    `compensate=false` no data is needed.

    The embedding and the head are rounded to nearest if they have bits.
  }];
  let options = [
    Option<"groupSize", "group-size", "::llq::BoundedInt<0>", "128",
      "Weights along K that share scales; 0 is one group per output row; the last group of a row may be shorter">,
    Option<"compensate", "compensate", "bool", "true",
      "Let later columns take over errors; needs calibration">,
    Option<"refit", "refit", "bool", "true",
      "Fit the scales of a row to its bits at the end">,
    Option<"search", "search", "bool", "true",
      "Search the first grid of a group; false begins at max|w| / 2">,
    Option<"rounds", "rounds", "::llq::BoundedInt<0, 1000>", "20",
      "Most rounds of bits and scales in turn">,
  ] # compensationOptions # columnOptions # layerOptions;
}
