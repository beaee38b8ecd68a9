// RUN: llq-opt %s --llq-verify-quantized --verify-diagnostics --split-input-file

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>
!a = !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 0>>

module attributes {llq.architecture = #model} {
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
    %w = llq.weight dense_resource<w> : tensor<4x4xf32>
    %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<4x4xf32> -> tensor<?x4xf32>
    %q = llq.quantize_activation %x : tensor<?x4xf32> -> !a
    // expected-error@+1 {{'llq.linear' op "layers.0.mlp.up_proj" has quantized activations and a weight that is not quantized}}
    %y = llq.linear "layers.0.mlp.up_proj" %q, %w : !a, tensor<4x4xf32> -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}

// -----

#model = #llq.architecture<hidden = 4, layers = 1, heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 0, context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>
!a = !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 0>>

module attributes {llq.architecture = #model} {
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
    %w = llq.weight dense_resource<w> : tensor<4x4xf32>
    %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<4x4xf32> -> tensor<?x4xf32>
    %q = llq.quantize_activation %x : tensor<?x4xf32> -> !a
    // expected-error@+1 {{'llq.dequantize' op has quantized activations as input, only llq.linear may have them}}
    %y = llq.dequantize %q : !a -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}
