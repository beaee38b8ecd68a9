//===- Ternary.td - A method outside of the tree -----------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

include "llq/Quantize/QuantPass.td"

def QuantizeTernaryPass : QuantPass<"ternary"> {
  let summary = "Quantize linear layers to -a, 0 and a per output row";
  let description = [{
    Ternary weights (arXiv 1605.04711): with `t = threshold * mean |w|` of a row,
    weights of magnitude up to `t` become 0 and the others `a` with their sign,
    where `a` is the mean magnitude of the others. Stored as 2-bit codes 1, 2, 3
    of `#llq.uniform` with one scale per row.
  }];
  let options = layerOptions # [
    Option<"threshold", "threshold", "double", "0.7",
      "Share of the mean magnitude below which a weight becomes 0">,
  ];
}
