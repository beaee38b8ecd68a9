//===- QuIP.td - Rounding in an incoherent basis -----------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

include "llq/Quantize/QuantPass.td"

def QuantizeQuIPPass : QuantPass<"quip"> {
  let summary = "Quantize linear layers in a basis without outliers";
  let description = [{
    Chee et al., "QuIP: 2-Bit Quantization of Large Language Models With Guarantees",
    arXiv 2307.13304. The matrix is stored as `R w diag(1/r) V^T` with random
    orthogonal `V` and `R` and positive `r`: its entries are all about as large, so
    that one scale is enough for all of them. `llq.rotate` in front of the layer
    takes the input to that basis, and one behind it the result back.

    Columns are rounded from the last to the first, each time the open ones take
    over the errors (LDLQ, which is GPTQ in that order). The range of the grid is
    searched for the least error at the layer's output.

    `rotation=hadamard` takes Hadamard matrices with random signs, as QuIP# does,
    where there is one of the size and 16 divides its power of two;
    `kronecker` products of two random orthogonal matrices, as QuIP; `auto` the
    first where it can. All layers of one width share a matrix, which follows from
    `seed`. `rescale` chooses `r` so that large inputs meet small weights; without it layers
    that read the same input share its rotation, and stay one kernel.

    `codebook=e8p` is QuIP# (arXiv 2402.04396) without its fine-tuning: eight
    weights at a time become a point of the E8 lattice (`#llq.e8p`, 2 to 4 bits),
    with the same feedback between blocks of eight columns. Its scale is searched,
    or `lattice-scale`.

    The embedding and the head are rounded to nearest if they have bits.
  }];
  let options = [
    Option<"bits", "bits", "::llq::BoundedInt<2, 8>", "2", "Bits of a code, 2 to 8">,
    Option<"rotation", "rotation", "::llq::QuIPRotation",
      "::llq::QuIPRotation::Auto", "The orthogonal matrices",
      [{::llvm::cl::values(
        clEnumValN(::llq::QuIPRotation::Auto, "auto",
                   "Hadamard where there is one, else Kronecker"),
        clEnumValN(::llq::QuIPRotation::Hadamard, "hadamard",
                   "Hadamard with random signs where there is one, else none"),
        clEnumValN(::llq::QuIPRotation::Kronecker, "kronecker",
                   "products of two random matrices"),
        clEnumValN(::llq::QuIPRotation::None, "none", "none"))}]>,
    Option<"codebook", "codebook", "::llq::QuIPCodebook",
      "::llq::QuIPCodebook::None", "What weights are rounded to",
      [{::llvm::cl::values(
        clEnumValN(::llq::QuIPCodebook::None, "none", "a uniform grid"),
        clEnumValN(::llq::QuIPCodebook::E8P, "e8p",
                   "points of the E8 lattice, 2 to 4 bits"))}]>,
    Option<"rescale", "rescale", "bool", "false",
      "Scale inputs against the columns of the weight, as the paper does">,
    Option<"seed", "seed", "::llq::BoundedInt<1>", "1", "Seed of the matrices">,
    Option<"range", "range", "double", "0",
      "Largest value of the grid in standard deviations of the weights; 0 searches">,
    Option<"latticeScale", "lattice-scale", "double", "0",
      "Scale of the lattice over the root mean square of the weights; 0 searches">,
    Option<"clampFirst", "clamp-first", "bool", "false",
      "Clamp weights to the grid before errors are taken, as the published code does">,
    Option<"greedyPasses", "greedy-passes", "::llq::BoundedInt<0, 100>", "0",
      "Passes of coordinate descent at the end (QuIP-RG)">,
  ] # compensationOptions # layerOptions;
}
