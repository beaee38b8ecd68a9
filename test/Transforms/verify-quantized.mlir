// What methods leave in front of layers belongs to the quantized form.
// RUN: llq-opt %s --llq-verify-quantized -o /dev/null

!a = !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 0>>
!w = !llq.quantized<4x4, #llq.uniform<bits = 8, group = 0, zero = none, scale = f16>>

module attributes {llq.architecture = #llq.architecture<hidden = 4, layers = 1,
    heads = 1, kv_heads = 1, head_dim = 4, ffn = 4, vocab = 0,
    context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none",
    rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = false>} {

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<4x4xi8>, scales = dense_resource<s> : tensor<4x1xf16>} : !w
  %x = llq.embedding %ids, %w : tensor<?xi32>, !w -> tensor<?x4xf32>
  %p = llq.permute_channels %x by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
  %q = llq.linear "q" %p, %w : tensor<?x4xf32>, !w -> tensor<?x4xf32>
  %a = llq.attention %q, %q, %q, %past {layer = 0, heads = 1, kv_heads = 1, scale = 0.5 : f32} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
  %ap = llq.permute_channels %a by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
  %aq = llq.quantize_activation %ap : tensor<?x4xf32> -> !a
  %o = llq.linear "o" %aq, %w : !a, !w -> tensor<?x4xf32>
  return %o : tensor<?x4xf32>
}

}
