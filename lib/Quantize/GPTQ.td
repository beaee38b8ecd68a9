//===- GPTQ.td - Rounding with compensation of errors ------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

include "llq/Quantize/QuantPass.td"

def QuantizeGPTQPass : QuantPass<"gptq"> {
  let summary = "Quantize linear layers column by column, compensating errors";
  let description = [{
    Frantar et al., arXiv 2210.17323. Columns of `w[N,K]` are rounded one after
    another; each time the columns that are still open take over the error, so
    that the output `(w - ŵ) x` for calibration inputs `x` changes least:
    `sum over rows of (w - ŵ) H (w - ŵ)^T` with `H = mean x^T x`, to whose diagonal
    `damp` times its mean is added. The damping is raised until `H` can be
    factorized; the layer's `method` says to what.

    Inputs are those of the module's calibration samples (`llq-load-calibration`),
    run through the layers as they are by then, or statistics that the layers
    carry (`llq.stats`). Input channels that are never active get weights of zero,
    and `method` counts them as `dead_channels`; if none is ever active, the layer is
    rounded to nearest.
    The embedding has no inputs and is rounded to nearest.

    `order=activation` rounds columns of large activations first (`act-order`).
    Groups are runs of that order, with grids of the compensated weights: columns
    are stored in it, and `llq.permute_channels` puts the input of the layers of a
    site into it, once for all. With `static-groups` the grids are those of the
    given weights, groups are runs of columns as they were, and nothing is
    permuted; nor is it with one group per row. `order=group-aware` sorts columns
    within groups and groups by their largest column, with grids of the
    compensated weights, and needs no permutation either.

    Attention sends most of its weight to the first token of a sequence, one of
    thousands in `H`: errors that compensation moves into its direction cost little
    there and ruin the model. `first-token-share` raises the weight of the first
    tokens of all samples together to that share of `H`.

    `method` of a layer records the objective per weight before and after
    (`objective_rtn`, `objective`): its value for rounding to nearest and for this.
  }];
  let options = weightOptions # compensationOptions # columnOptions # [
    Option<"order", "order", "::llq::numerics::GPTQOrder",
      "::llq::numerics::GPTQOrder::Natural", "Order of the columns",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::GPTQOrder::Natural, "natural",
                   "from the first to the last"),
        clEnumValN(::llq::numerics::GPTQOrder::Activation, "activation",
                   "large activations first"),
        clEnumValN(::llq::numerics::GPTQOrder::GroupAware, "group-aware",
                   "large activations first within groups, then groups"))}]>,
    Option<"actOrder", "act-order", "bool", "false",
      "true is order=activation">,
    Option<"staticGroups", "static-groups", "bool", "false",
      "Take the grids of groups from the weights as they were given">,
  ];
}
