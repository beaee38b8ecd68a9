//===- AWQ.td - Scales and clip bounds from activations ----*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

include "llq/Quantize/QuantPass.td"

def QuantizeAWQPass : QuantPass<"awq"> {
  let summary = "Scale columns that meet large activations, clip, and round";
  let description = [{
    Lin et al., arXiv 2306.00978. Input channel `k` of a site is divided by `s[k]`,
    column `k` of its layers multiplied by it: the same function, in which columns
    that meet large activations are rounded more finely. `s = m^alpha` with `m` the
    mean magnitude of the channel, `alpha` the one of 0, 0.05, ..., 0.95 for which
    rounding changes the output least. For q, k, v that is the output of attention
    behind o, for gate, up that of the feed-forward part behind down, over about
    `loss-tokens` tokens of the samples; at other sites, and everywhere with
    `loss=layer` or `llq.stats`, the layers' own:
    `sum |(Q(W diag s) diag 1/s - W) x|^2`, a mean over tokens and a sum over the
    layers of the site. Then each group of weights is clamped to the
    bound, 1 to 0.55 times its largest magnitude, for which rounding it costs
    least; not in q and k, whose errors meet in a product.

    Sites and what takes the division:
    | site | divided |
    |---|---|
    | q, k, v | weight of the normalization |
    | gate, up | weight of the normalization |
    | down | rows of up |
    | o | rows of v: if each head of queries has its own, or with `gqa=true` and scales that are equal over the heads that share one |

    All scales of a decoder block are searched on the block as it was, then applied;
    the next block sees inputs of the model as it was. Statistics of inputs come
    from the module's calibration samples (`llq-load-calibration`) or from
    `llq.stats` with a second moment. Costs use the second moment of all tokens at
    sites of up to `sample-tokens` channels, and so many tokens at wider ones.

    `rounding=none` leaves the scaled and clipped weights (`#llq.scaled`) to a
    method behind it, as in the chain `awq(bits=3,rounding=none) gptq(bits=3)`.
    Embedding and head have no site and are rounded to nearest.

    `method` of a layer records `alpha` of its site and `cost_ratio`, the cost of
    the site over that of rounding without scales; and, where there are some, the
    channels that never fire (`dead_channels`), whose scale is the least.
  }];
  let options = weightOptions # [
    Option<"scaleSearch", "scale-search", "bool", "true",
      "Search for scales of input channels">,
    Option<"clipSearch", "clip-search", "bool", "true",
      "Search for bounds of groups">,
    Option<"gqa", "gqa", "bool", "false",
      "Scale o also where heads of queries share a head of values">,
    Option<"rounding", "rounding", "::llq::AWQRounding",
      "::llq::AWQRounding::Nearest", "What becomes of scaled and clipped weights",
      [{::llvm::cl::values(
        clEnumValN(::llq::AWQRounding::Nearest, "rtn",
                   "they are rounded to nearest"),
        clEnumValN(::llq::AWQRounding::None, "none",
                   "they stay for a method that follows"))}]>,
    Option<"loss", "loss", "::llq::AWQLoss", "::llq::AWQLoss::Part",
      "Where the error of scales is measured",
      [{::llvm::cl::values(
        clEnumValN(::llq::AWQLoss::Part, "part",
                   "behind the attention or feed-forward part"),
        clEnumValN(::llq::AWQLoss::Layer, "layer",
                   "behind the layers themselves"))}]>,
    Option<"lossTokens", "loss-tokens", "::llq::BoundedInt<1>", "4096",
      "Calibration tokens that run through a part for each choice of scales">,
    Option<"sampleTokens", "sample-tokens", "::llq::BoundedInt<1>", "2048",
      "Calibration tokens that sites of more channels are measured with">,
  ];
}
