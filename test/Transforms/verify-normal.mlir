// A model in normal form, and the quantized forms that passes make of it.
// RUN: llq-opt %s --llq-verify-normal --llq-verify-quantized -o /dev/null
// RUN: llq-opt %s --llq-quantize-rtn='head-bits=8' --llq-verify-normal --llq-set-accuracy=level=int8 --llq-verify-quantized -o /dev/null
// RUN: not llq-opt %s --llq-quantize-rtn --llq-set-accuracy=level=int8 --llq-verify-normal 2>&1 | FileCheck %s

// CHECK: error: 'llq.quantize_activation' op does not belong to the normal form

module attributes {llq.architecture = #llq.architecture<hidden = 4, layers = 1,
    heads = 2, kv_heads = 1, head_dim = 2, ffn = 8, vocab = 6,
    context_length = 16, rope_theta = 1.0e+04 : f64, rope_scaling = "none",
    rope_parameters = [], norm_eps = 1.0e-05 : f64, tied_embeddings = true>} {

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x6xf32> {
  %we = llq.weight dense_resource<we> : tensor<6x4xf16>
  %x = llq.embedding %ids, %we : tensor<?xi32>, tensor<6x4xf16> -> tensor<?x4xf32>
  %wn = llq.weight dense_resource<wn> : tensor<4xf16>
  %n = llq.rms_norm %x, %wn {epsilon = 1.0e-05 : f32} : tensor<?x4xf32>, tensor<4xf16>
  %wq = llq.weight dense_resource<wq> : tensor<4x4xf16>
  %q = llq.linear "layers.0.self_attn.q_proj" %n, %wq : tensor<?x4xf32>, tensor<4x4xf16> -> tensor<?x4xf32>
  %wk = llq.weight dense_resource<wk> : tensor<2x4xf16>
  %bk = llq.weight dense_resource<bk> : tensor<2xf16>
  %k = llq.linear "layers.0.self_attn.k_proj" %n, %wk bias %bk : tensor<2xf16> : tensor<?x4xf32>, tensor<2x4xf16> -> tensor<?x2xf32>
  %v = llq.linear "layers.0.self_attn.v_proj" %n, %wk : tensor<?x4xf32>, tensor<2x4xf16> -> tensor<?x2xf32>
  %p = llq.positions %ids, %past : tensor<?xi32>
  %cos, %sin = llq.rotary_table %p {frequencies = array<f32: 1.0>} : tensor<?xi32> -> tensor<?x1xf32>
  %qr = llq.rope %q, %cos, %sin : tensor<?x4xf32>, tensor<?x1xf32>
  %kr = llq.rope %k, %cos, %sin : tensor<?x2xf32>, tensor<?x1xf32>
  %a = llq.attention %qr, %kr, %v, %past {layer = 0, heads = 2, kv_heads = 1, scale = 0.5 : f32} : tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2xf32> -> tensor<?x4xf32>
  %o = llq.linear "layers.0.self_attn.o_proj" %a, %wq : tensor<?x4xf32>, tensor<4x4xf16> -> tensor<?x4xf32>
  %h = llq.add %x, %o : tensor<?x4xf32>
  %g = llq.linear "layers.0.mlp.gate_proj" %h, %wq : tensor<?x4xf32>, tensor<4x4xf16> -> tensor<?x4xf32>
  %u = llq.linear "layers.0.mlp.up_proj" %h, %wq : tensor<?x4xf32>, tensor<4x4xf16> -> tensor<?x4xf32>
  %s = llq.swiglu %g, %u : tensor<?x4xf32>
  %d = llq.linear "layers.0.mlp.down_proj" %s, %wq : tensor<?x4xf32>, tensor<4x4xf16> -> tensor<?x4xf32>
  %y = llq.add %h, %d : tensor<?x4xf32>
  %l = llq.linear "lm_head" %y, %we : tensor<?x4xf32>, tensor<6x4xf16> -> tensor<?x6xf32>
  return %l : tensor<?x6xf32>
}

}

{-#
  dialect_resources: {
    builtin: {
      we: "0x10000000003C00BC00380040003C00BC00380040003C00BC00380040003C00BC00380040003C00BC00380040003C00BC00380040",
      wn: "0x10000000003C00BC00380040",
      wq: "0x10000000003C00BC00380040003C00BC00380040003C00BC00380040003C00BC00380040",
      wk: "0x10000000003C00BC00380040003C00BC00380040",
      bk: "0x10000000003C00BC"
    }
  }
#-}
