//===- Passes.td - Passes of no method ---------------------*- tablegen -*-===//
//
// Dequantization, accuracy, and the checks of each stage's normal form.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRANSFORMS_PASSES_TD
#define LLQ_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

def VerifyNormalPass : Pass<"llq-verify-normal", "::mlir::ModuleOp"> {
  let summary = "Check that a model is in normal form";
  let description = [{
    What every method and every later stage may rely on:
    - the module has `llq.architecture` and one function `@forward(ids, past)` of
      one block, from `tensor<?xi32>` and `index` to `tensor<?xVxf32>` (V is the
      hidden size if `vocab` is 0);
    - the function holds nothing but decoder ops and weights: no op of another
      dialect, no quantized activations, no regions;
    - every weight operand is an `llq.weight` (or an `llq.quantized_weight`, for
      a source that was quantized already);
    - every linear layer has a name of its own;
    - there is one `llq.attention` for each layer of the architecture, in order,
      with its heads.
  }];
}

def VerifyQuantizedPass : Pass<"llq-verify-quantized", "::mlir::ModuleOp"> {
  let summary = "Check that a model is in quantized form";
  let description = [{
    The normal form (see `llq-verify-normal`), in which activations may be
    quantized too: `llq.quantize_activation` feeds linear layers with a quantized
    weight and nothing else. `llq.permute_channels` and `llq.rotate` may stand
    anywhere.
  }];
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

def DequantizePass : Pass<"llq-dequantize", "::mlir::ModuleOp"> {
  let summary = "Replace quantized weights by their values";
  let description = [{
    The reference of every format: each `llq.quantized_weight` of a linear layer
    or embedding becomes an `llq.weight` with the values that the format's plain
    decode gives. Quantized activations stay as they are. `method` attributes
    stay too: they say where the values come from.

    ```mlir
    // codes 0, 1, 2, 3, scale 1.0, zero point 1
    %w = llq.quantized_weight {...} : !llq.quantized<1x4, #llq.uniform<bits = 2, group = 0, zero = int, scale = f32>>
    // becomes -1.0, 0.0, 1.0, 2.0
    %w = llq.weight dense_resource<layers.0.mlp.up_proj.weight> : tensor<1x4xf32>
    ```
  }];
  let dependentDialects = ["::llq::LLQDialect"];
  let options = [
    Option<"type", "type", "::llq::WeightType", "::llq::WeightType::F32",
      "Element type of the values; f16 and bf16 round to nearest even",
      [{::llvm::cl::values(
        clEnumValN(::llq::WeightType::F32, "f32", "IEEE single, exact"),
        clEnumValN(::llq::WeightType::F16, "f16", "IEEE half"),
        clEnumValN(::llq::WeightType::BF16, "bf16", "bfloat16"))}]>,
  ];
}

def SmoothPass : Pass<"llq-smooth", "::mlir::ModuleOp"> {
  let summary = "Move outliers of activations to the weights that meet them";
  let description = [{
    Xiao et al., SmoothQuant, arXiv 2211.10438. For q, k and v behind a
    normalization, and gate and up behind the other one, channel `k` of their
    common input is divided by `s[k]` and column `k` of their weights multiplied by
    it: the same function, whose activations have fewer outliers.
    `s[k] = max(1e-5, a[k]^alpha / w[k]^(1-alpha))`, where `a[k]` is the largest
    magnitude of the channel over all calibration tokens of the model as it is, and
    `w[k]` that of the column over all layers of the site. A channel that never
    fires has `s = 1`; another one that hardly does is taken for a hundredth of the
    mean of all. The remark of a site counts both (`QuietChannels`).

    With `down=true` the same is done for down behind the gated activation, where
    rows of up take the division; the paper leaves it out.

    The normalization's weight becomes `weight[k] / s[k]`; columns are scaled where
    weights are read (`#llq.scaled`). Inputs are those of the module's calibration
    samples (`llq-load-calibration`), or `llq.stats` of the layers, which become
    those of the new inputs.

    It precedes what quantizes, e.g. in a chain
    `smoothquant(alpha=0.85) rtn(bits=8,group-size=0,scheme=signed)`. The fewer the
    bits, the smaller the best `alpha`. `alpha=search` tries 0, 0.05, ..., 1 for each
    site and takes the one for which `|Q(x/s) Q(W diag s)^T - x W^T|^2` is least, a
    mean over `sample-tokens` calibration tokens, with `bits` bits for each token
    and each row.

    ```mlir
    // a = 2, 16, 2; w = 1, 0.25, 1; alpha = 0.5: s = 1.414, 8, 1.414
    %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x3xf32>, tensor<3xf32>
    %w = llq.weight dense_resource<w> : tensor<2x3xf32>
    %y = llq.linear "layers.0.self_attn.q_proj" %n, %w : tensor<?x3xf32>, tensor<2x3xf32> -> tensor<?x2xf32>
    // becomes
    %n = llq.rms_norm %x, %h {epsilon = 1.0e-05 : f32} : tensor<?x3xf32>, tensor<3xf32>
    %w = llq.weight #llq.scaled<source = dense_resource<w> : tensor<2x3xf32>, columns = dense_resource<s> : tensor<3xf32>> : tensor<2x3xf32>
    ```
  }];
  let options = [
    Option<"alpha", "alpha", "::llq::SmoothingStrength",
      "::llq::SmoothingStrength()",
      "How much of the outliers goes to the weights: 0 to 1, or search">,
    Option<"bits", "bits", "::llq::BoundedInt<2, 8>", "8",
      "Bits of weights and activations that a search assumes">,
    Option<"down", "down", "bool", "false",
      "Smooth the inputs of down projections too">,
    Option<"sampleTokens", "sample-tokens", "::llq::BoundedInt<1>", "512",
      "Calibration tokens that a search measures with">,
  ];
}

def RotatePass : Pass<"llq-rotate", "::mlir::ModuleOp"> {
  let summary = "Put a model in bases without outliers";
  let description = [{
    Ashkboos et al., QuaRot, arXiv 2404.00456. An orthogonal change of basis spreads
    outliers of activations and weights over all channels; undone by the layers
    that read them, it leaves the function as it is. Three kinds:

    - `residual`: the residual stream. Gains of norms move into the layers behind
      them, since only without them a norm commutes with a rotation. The embedding
      and `o`, `down` make rotated vectors, `q`, `k`, `v`, `gate`, `up` and the head
      read them, by their weights alone.
    - `values`: each head of values, by rows of `v` and columns of `o`. Query heads
      that share a head of values share its basis.
    - `down`: the inputs of down projections, by an `llq.rotate` at run time and
      columns of `down`.

    Weights are rotated when they are read (`#llq.rotated`), so that no matrix is
    copied. A weight that is read twice, as a tied embedding and head, stays as it
    is: an `llq.rotate` behind the embedding and a transposed one in front of the
    last norm, which keeps its gain, take its place. The same happens to any other
    op of the residual stream that is no layer or norm as above; a remark says so
    (`NotFolded`). Biases rotate with results.

    Matrices are Hadamard ones with random signs, or products of two random ones
    where there is no Hadamard matrix of the size; all of one size are the same and
    follow from `seed`. Keys and queries need no rotation here: a 4-bit cache has
    its own.

    It precedes all that scales or quantizes and needs no samples: `rotate
    gptq(bits=4) activations(bits=4)`.

    ```mlir
    %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x16xf32>, tensor<16xf32>
    %w = llq.weight dense_resource<w> : tensor<32x16xf16>
    %y = llq.linear "layers.0.mlp.up_proj" %n, %w : tensor<?x16xf32>, tensor<32x16xf16> -> tensor<?x32xf32>
    // becomes, with gains of 1
    %n = llq.rms_norm %x, %h {epsilon = 1.0e-05 : f32} : tensor<?x16xf32>, tensor<16xf32>
    %w = llq.weight #llq.rotated<source = #llq.scaled<source = dense_resource<w> : tensor<32x16xf16>, columns = dense_resource<g> : tensor<16xf32>> : tensor<32x16xf32>, input = <kind = hadamard, size = 16, seed = 1>> : tensor<32x16xf32>
    %y = llq.linear "layers.0.mlp.up_proj" %n, %w : tensor<?x16xf32>, tensor<32x16xf32> -> tensor<?x32xf32>
    ```
  }];
  let dependentDialects = ["::llq::LLQDialect"];
  let options = [
    Option<"residual", "residual", "bool", "true", "Rotate the residual stream">,
    Option<"values", "values", "bool", "true", "Rotate the heads of values">,
    Option<"down", "down", "bool", "true",
      "Rotate the inputs of down projections at run time">,
    Option<"seed", "seed", "::llq::BoundedInt<1>", "1", "Seed of the matrices">,
  ];
}

def FoldPermutationsPass : Pass<"llq-fold-permutations", "::mlir::ModuleOp"> {
  let summary = "Move permutations of channels into the weights in front";
  let description = [{
    `llq.permute_channels` behind `llq.swiglu` moves in front of it, and one behind
    a linear layer becomes another order of the rows of its weight and of the
    elements of its bias. So the input of a down projection costs nothing to
    permute: gate and up make their results in the order that it reads. Nothing is
    computed differently, results are the same bit for bit.

    A permutation stays where others read what it permutes, as a residual stream
    is, or where rows cannot move: behind a normalization, whose kernel permutes
    on the way, behind attention, whose heads keep their channels, and behind
    weights in their source type that are no resource blobs (`#llq.external`,
    `#llq.scaled`): those are not copied. A remark says so.

    ```mlir
    %g = llq.linear "gate" %x, %wg : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
    %u = llq.linear "up" %x, %wu : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
    %s = llq.swiglu %g, %u : tensor<?x4xf32>
    %p = llq.permute_channels %s by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
    // becomes, with rows 2, 0, 3 and 1 of the weights
    %g = llq.linear "gate" %x, %vg : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
    %u = llq.linear "up" %x, %vu : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
    %p = llq.swiglu %g, %u : tensor<?x4xf32>
    ```
  }];
  let dependentDialects = ["::llq::LLQDialect"];
}

//===----------------------------------------------------------------------===//
// Accuracy
//===----------------------------------------------------------------------===//

def AllocateBitsPass : Pass<"llq-allocate-bits", "::mlir::ModuleOp"> {
  let summary = "Choose the bits of each layer for a total size";
  let description = [{
    Measures for every linear layer of the decoder blocks what it costs to quantize
    this layer alone: the mean Kullback-Leibler divergence of the next token's
    distribution from that of the model as it is, over the first `probe-tokens`
    tokens of the calibration samples, with the layer's weight rounded to
    `probe-bits`. The cost of other widths follows from the error that each makes at
    the layer's output for the same tokens. Then widths are raised where a byte buys
    most, until the budget is spent (the lower convex hull of each layer's costs, as
    in optimal allocation by Lagrange multipliers).

    The result is `llq.bits` on each layer, which the method that follows takes in
    place of its `bits`. The budget is `bits-per-weight` on average over the layers,
    scales and zero points included, or `bytes` for all of them. What a width takes
    is `llq.widths` of the layer (llq-compile --fit finds it out for any chain of
    methods) or that of a uniform format with an integer zero point for each group.

    ```mlir
    // llq-opt --llq-load-calibration=... --llq-allocate-bits='bits-per-weight=3.25 group-size=64' --llq-quantize-gptq='group-size=64'
    %y = llq.linear "layers.0.mlp.up_proj" %x, %w {llq.bits = 3 : i64} : ...
    ```
  }];
  let options = [
    Option<"bitsPerWeight", "bits-per-weight", "double", "0",
      "Bits per weight on average">,
    Option<"bytes", "bytes", "int64_t", "0",
      "Bytes of all layers, in place of bits-per-weight">,
    Option<"groupSize", "group-size", "::llq::BoundedInt<0>", "128",
      "Weights along K that share a scale; 0 is one group per output row">,
    Option<"minBits", "min-bits", "::llq::BoundedInt<2, 8>", "2",
      "Least bits of a layer">,
    Option<"maxBits", "max-bits", "::llq::BoundedInt<2, 8>", "8",
      "Most bits of a layer">,
    Option<"probeBits", "probe-bits", "::llq::BoundedInt<2, 8>", "3",
      "Bits at which the divergence is measured">,
    Option<"probeTokens", "probe-tokens", "::llq::BoundedInt<2, 65536>", "256",
      "Tokens that it is measured on">,
  ];
}

def SetAccuracyPass : Pass<"llq-set-accuracy", "::mlir::ModuleOp"> {
  let summary = "Choose between exact and int8 activations";
  let description = [{
    `level=int8` quantizes the inputs of all linear layers with a quantized weight
    to `#llq.dynamic<bits = 8, group = 32>`, once for each value, so that q, k and
    v share one. `level=exact` leaves them in f32. Neither touches a layer whose
    activations a pass has quantized already.

    ```mlir
    %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x256xf32>, !llq.quantized<...> -> tensor<?x768xf32>
    // becomes
    %q = llq.quantize_activation %x : tensor<?x256xf32> -> !llq.quantized<?x256, #llq.dynamic<bits = 8, group = 32>>
    %y = llq.linear "layers.0.mlp.up_proj" %q, %w : ...
    ```
  }];
  let dependentDialects = ["::llq::LLQDialect"];
  let options = [
    Option<"level", "level", "::llq::AccuracyLevel",
      "::llq::AccuracyLevel::Int8", "Activations of quantized layers",
      [{::llvm::cl::values(
        clEnumValN(::llq::AccuracyLevel::Exact, "exact", "f32"),
        clEnumValN(::llq::AccuracyLevel::Int8, "int8", "8 bits in groups of 32"))}]>,
  ];
}

def SetCachePass : Pass<"llq-set-cache", "::mlir::ModuleOp"> {
  let summary = "Choose the type of the KV cache";
  let description = [{
    Sets `cache` of every `llq.attention`. With `quantized-only`, a model whose
    activations are all f32 keeps what it has: so `llq-compile` chooses f16 beside
    int8 activations and f32 at the level `exact`.

    ```mlir
    llq.attention %q, %k, %v, %past {..., cache = #llq<cache_type f16>} : ...
    ```
  }];
  let options = [
    Option<"type", "type", "::llq::CacheType", "::llq::CacheType::F16",
      "Type of cached keys and values",
      [{::llvm::cl::values(
        clEnumValN(::llq::CacheType::F32, "f32", "IEEE single"),
        clEnumValN(::llq::CacheType::F16, "f16", "IEEE half"),
        clEnumValN(::llq::CacheType::Int8, "int8", "8 bits, a scale for each head of a position"),
        clEnumValN(::llq::CacheType::Int4, "int4", "4 bits, scale and minimum for 32 channels of a head of a position"))}]>,
    Option<"quantizedOnly", "quantized-only", "bool", "false",
      "Leave a model alone that has no quantized activations">,
  ];
}

#endif // LLQ_TRANSFORMS_PASSES_TD
