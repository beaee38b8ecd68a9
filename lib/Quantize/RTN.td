//===- RTN.td - Round-to-nearest ---------------------------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

include "llq/Quantize/QuantPass.td"

def QuantizeRTNPass : QuantPass<"rtn"> {
  let summary = "Quantize linear layers by rounding to nearest";
  let description = [{
    Rounds every weight to the nearest level of its group's uniform grid, without
    data: the baseline of every method and the last step of many. In f32, with
    `M = 2^bits - 1`, for a group `v` of a row of `w[N,K]`:

    - `asymmetric`: `lo = min(0, min v)`, `hi = max(0, max v)`,
      `s = (hi - lo) / M`, `z = round(-lo / s)`;
    - `symmetric`: `A = max(hi, -lo)`, the range is `-A` to `A`, or 0 to `A` where
      no weight is negative, `s = range / M`, `z = 2^(bits-1)`;
    - `signed`: `s = max |v| / (2^(bits-1) - 1)`, `z = 2^(bits-1)`, codes `1..M`.

    `s` is rounded to `scale-type` first, then `c = clamp(round(v / s) + z, 0, M)`,
    ties to even; `c` stands for `s * (c - z)`. A group of zeros gets the range
    -1 to 1. `clip=mse` tries the ranges `p * lo` to `p * hi`, `p = 1 - i/100`,
    `i = 0..79`, and keeps the first with the least `sum |s * (c - z) - v|^2.4`.

    `importance=true` chooses scale and zero point of each group for the least
    `sum_k omega_k (s * (c_k - z) - v_k)^2`, `omega_k = a_k sqrt(mean v^2 + v_k^2)`
    with the mean square `a_k` of input `k` over the module's calibration samples
    (`llq-load-calibration`), instead of `clip`; see docs/methods/importance.md.
    Channels that never fire count nothing, and `method` counts them
    (`dead_channels`).

    The weight becomes an `llq.quantized_weight` in `#llq.uniform`; the attribute
    `method` of the layer records the options, the root of the mean squared error
    and the error relative to the weight's norm.

    ```mlir
    // llq-opt --llq-quantize-rtn='bits=2 group-size=0 scale-type=f32'
    %w = llq.weight dense_resource<w> : tensor<1x4xf32>     // -1.0, 0.2, 0.9, 2.0
    %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
    // becomes, with codes 0, 1, 2, 3 (0xE4), scale 1.0 and zero point 1
    %w = llq.quantized_weight {codes = dense_resource<layers.0.mlp.up_proj.codes> : tensor<1x1xi8>, ...}
       : !llq.quantized<1x4, #llq.uniform<bits = 2, group = 0, zero = int, scale = f32>>
    ```
  }];
  let options = weightOptions # [
    Option<"importance", "importance", "bool", "false",
      "Weigh errors by the mean square of inputs; needs calibration samples">,
  ];
}
