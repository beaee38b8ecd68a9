//===- HQQ.td - Half-quadratic zero points -----------------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

include "llq/Quantize/QuantPass.td"

def QuantizeHQQPass : QuantPass<"hqq"> {
  let summary = "Quantize linear layers with real zero points that ignore outliers";
  let description = [{
    Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning
    Models". No data. The zero point `z` of a group is a real number, chosen for
    the least `sum |v - s * (c - z)|^p`, `p < 1`, which forgives single large errors
    where a mean square would not: in turn the errors are shrunk to those that
    count and `z` becomes the mean of `c - (v - e) / s`. The scale is that of the
    group's range. docs/methods/hqq.md has the arithmetic and what `normalise` is
    for.

    ```mlir
    // llq-opt --llq-quantize-hqq='bits=2 group-size=0'
    %w = llq.quantized_weight {...} : !llq.quantized<1x4, #llq.uniform<bits = 2, group = 0, zero = float, scale = f16>>
    ```
  }];
  let options = groupOptions # layerOptions # [
    Option<"power", "power", "double", "0.7",
      "Exponent p of the errors, above 0 and below 1">,
    Option<"beta", "beta", "double", "10", "Weight of the splitting, above 0">,
    Option<"iterations", "iterations", "::llq::BoundedInt<0, 1000>", "20",
      "Most iterations; the best zero point of all is kept">,
    Option<"firstZero", "first-zero", "::llq::numerics::FirstZero",
      "::llq::numerics::FirstZero::Published", "Where the search begins",
      [{::llvm::cl::values(
        clEnumValN(::llq::numerics::FirstZero::Published, "published",
                   "rounded with 4 bits, as in the published code"),
        clEnumValN(::llq::numerics::FirstZero::Rounded, "rounded",
                   "at a whole number, where the grid has a zero"),
        clEnumValN(::llq::numerics::FirstZero::Exact, "exact",
                   "where the range of the weights puts it"))}]>,
    Option<"normalise", "normalise", "bool", "false",
      "Measure errors in steps of the grid">,
  ];
}
