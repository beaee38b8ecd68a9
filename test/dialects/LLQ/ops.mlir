// Every op, type and attribute prints to a form that parses to the same, as
// text and as bytecode.
// RUN: llq-opt %s --verify-roundtrip | FileCheck %s
// RUN: llq-opt %s --emit-bytecode | llq-opt | FileCheck %s

// CHECK-LABEL: module @model attributes
// CHECK-SAME: llq.architecture = #llq.architecture<hidden = 8, layers = 1, heads = 2, kv_heads = 1, head_dim = 4, ffn = 16, vocab = 32, context_length = 64, rope_theta = 5.000000e+05 : f64, rope_scaling = "llama3", rope_parameters = [8.000000e+00, 1.000000e+00, 4.000000e+00, 8.192000e+03], norm_eps = 1.000000e-05 : f64, tied_embeddings = true>
module @model attributes {
  llq.architecture = #llq.architecture<hidden = 8, layers = 1, heads = 2,
    kv_heads = 1, head_dim = 4, ffn = 16, vocab = 32, context_length = 64,
    rope_theta = 5.0e+05 : f64, rope_scaling = "llama3",
    rope_parameters = [8.0, 1.0, 4.0, 8192.0], norm_eps = 1.0e-05 : f64,
    tied_embeddings = true>
} {

// CHECK-LABEL: func.func @normal_form
func.func @normal_form(%ids: tensor<?xi32>, %past: index) -> tensor<?x32xf32> {
  // CHECK: llq.weight #llq.external<"/m/model.data", offset = 64, strides = [1, 32], fileSize = 65536, modified = 1700000000> : tensor<32x8xf16>
  %table = llq.weight #llq.external<"/m/model.data", offset = 64, strides = [1, 32], fileSize = 65536, modified = 1700000000> : tensor<32x8xf16>
  // CHECK: llq.embedding %{{.*}}, %{{.*}} : tensor<?xi32>, tensor<32x8xf16> -> tensor<?x8xf32>
  %x = llq.embedding %ids, %table : tensor<?xi32>, tensor<32x8xf16> -> tensor<?x8xf32>
  // CHECK: llq.weight dense_resource<norm> : tensor<8xbf16>
  %norm = llq.weight dense_resource<norm> : tensor<8xbf16>
  // CHECK: llq.rms_norm %{{.*}}, %{{.*}} {epsilon = {{.*}} : f32} : tensor<?x8xf32>, tensor<8xbf16>
  %n = llq.rms_norm %x, %norm {epsilon = 1.0e-05 : f32} : tensor<?x8xf32>, tensor<8xbf16>

  %wq = llq.weight dense_resource<wq> : tensor<8x8xf32>
  %wk = llq.weight dense_resource<wk> : tensor<4x8xf32>
  %bk = llq.weight dense_resource<bk> : tensor<4xf32>
  // CHECK: llq.linear "layers.0.self_attn.q_proj" %{{.*}}, %{{.*}} {method = {name = "rtn"}} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
  %q = llq.linear "layers.0.self_attn.q_proj" %n, %wq {method = {name = "rtn"}} : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
  // CHECK: llq.linear "layers.0.self_attn.k_proj" %{{.*}}, %{{.*}} bias %{{.*}} : tensor<4xf32> : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>
  %k = llq.linear "layers.0.self_attn.k_proj" %n, %wk bias %bk : tensor<4xf32> : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>

  // CHECK: llq.positions %{{.*}}, %{{.*}} : tensor<?xi32>
  %positions = llq.positions %ids, %past : tensor<?xi32>
  // CHECK: llq.rotary_table %{{.*}} {frequencies = array<f32: 1.000000e+00, 0.00999999977>} : tensor<?xi32> -> tensor<?x2xf32>
  %cos, %sin = llq.rotary_table %positions {frequencies = array<f32: 1.0, 0.01>} : tensor<?xi32> -> tensor<?x2xf32>
  // CHECK: llq.rotary_table %{{.*}} {{.*}}scale = 2.000000e+00 : f32
  %cos2, %sin2 = llq.rotary_table %positions {frequencies = array<f32: 1.0, 0.01>, scale = 2.0 : f32} : tensor<?xi32> -> tensor<?x2xf32>
  %ct = llq.weight dense_resource<ct> : tensor<64x2xf32>
  // CHECK: llq.rotary_lookup %{{.*}}, %{{.*}}, %{{.*}} : tensor<?xi32>, tensor<64x2xf32>, tensor<64x2xf32> -> tensor<?x2xf32>
  %cos3, %sin3 = llq.rotary_lookup %positions, %ct, %ct : tensor<?xi32>, tensor<64x2xf32>, tensor<64x2xf32> -> tensor<?x2xf32>
  // CHECK: llq.rope %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x8xf32>, tensor<?x2xf32>
  %qr = llq.rope %q, %cos, %sin : tensor<?x8xf32>, tensor<?x2xf32>
  // CHECK: llq.rope %{{.*}}, %{{.*}}, %{{.*}} interleaved : tensor<?x4xf32>, tensor<?x2xf32>
  %kr = llq.rope %k, %cos, %sin interleaved : tensor<?x4xf32>, tensor<?x2xf32>
  // CHECK: llq.attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} {heads = 2 : i64, kv_heads = 1 : i64, layer = 0 : i64, scale = 5.000000e-01 : f32} : tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x8xf32>
  %a = llq.attention %qr, %kr, %k, %past {layer = 0, heads = 2, kv_heads = 1, scale = 0.5 : f32} : tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x8xf32>
  // CHECK: llq.attention {{.*}}cache = #llq<cache_type int8>
  %b = llq.attention %qr, %kr, %k, %past {layer = 1, heads = 2, kv_heads = 1, scale = 0.5 : f32, cache = #llq<cache_type int8>} : tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x8xf32>
  // CHECK: llq.attention {{.*}}cache = #llq<cache_type int4>
  %c = llq.attention %qr, %kr, %k, %past {layer = 2, heads = 2, kv_heads = 1, scale = 0.5 : f32, cache = #llq<cache_type int4>} : tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x8xf32>
  // CHECK: llq.swiglu %{{.*}}, %{{.*}} : tensor<?x8xf32>
  %g = llq.swiglu %b, %c : tensor<?x8xf32>
  // CHECK: llq.add %{{.*}}, %{{.*}} : tensor<?x8xf32>
  %s = llq.add %g, %x : tensor<?x8xf32>
  %y = llq.linear "lm_head" %s, %table : tensor<?x8xf32>, tensor<32x8xf16> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// CHECK-LABEL: func.func @quantized_form
func.func @quantized_form(%ids: tensor<?xi32>, %x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  // CHECK: llq.quantized_weight {codes = dense_resource<c> : tensor<2x2xi8>, scales = dense_resource<s> : tensor<2x1xf16>} : <2x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<2x2xi8>, scales = dense_resource<s> : tensor<2x1xf16>}
    : !llq.quantized<2x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
  // CHECK: zeros = dense_resource<z> : tensor<2x1xi8>} : <2x4, #llq.uniform<bits = 3, group = 2, zero = int, scale = f32>>
  %w3 = llq.quantized_weight {codes = dense_resource<c3> : tensor<2x2xi8>, scales = dense_resource<s3> : tensor<2x2xf32>, zeros = dense_resource<z> : tensor<2x1xi8>}
    : !llq.quantized<2x4, #llq.uniform<bits = 3, group = 2, zero = int, scale = f32>>
  // CHECK: zeros = dense_resource<zf> : tensor<2x1xf16>} : <2x4, #llq.uniform<bits = 4, group = 0, zero = float, scale = f16>>
  %wf = llq.quantized_weight {codes = dense_resource<c> : tensor<2x2xi8>, scales = dense_resource<s> : tensor<2x1xf16>, zeros = dense_resource<zf> : tensor<2x1xf16>}
    : !llq.quantized<2x4, #llq.uniform<bits = 4, group = 0, zero = float, scale = f16>>
  // CHECK: llq.embedding {{.*}} : tensor<?xi32>, !llq.quantized<2x4, #llq.uniform<{{.*}}>> -> tensor<?x4xf32>
  %e = llq.embedding %ids, %w {method = {name = "rtn"}} : tensor<?xi32>, !llq.quantized<2x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>> -> tensor<?x4xf32>
  // CHECK: llq.quantize_activation %{{.*}} : tensor<?x4xf32> -> <?x4, #llq.dynamic<bits = 8, group = 32>>
  %qx = llq.quantize_activation %x : tensor<?x4xf32> -> !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 32>>
  // CHECK: llq.quantize_activation %{{.*}} : tensor<?x4xf32> -> <?x4, #llq.static<bits = 6, scale = 3.000000e-01 : f32>>
  %qs = llq.quantize_activation %x : tensor<?x4xf32> -> !llq.quantized<?x4, #llq.static<bits = 6, scale = 0.3 : f32>>
  // CHECK: llq.permute_channels %{{.*}} by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
  %px = llq.permute_channels %x by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
  // CHECK: llq.dequantize %{{.*}} : <?x4, #llq.dynamic<bits = 8, group = 32>> -> tensor<?x4xf32>
  %dx = llq.dequantize %qx : !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 32>> -> tensor<?x4xf32>
  // CHECK: llq.dequantize %{{.*}} : <2x4, {{.*}}> -> tensor<2x4xf32>
  %dw = llq.dequantize %w3 : !llq.quantized<2x4, #llq.uniform<bits = 3, group = 2, zero = int, scale = f32>> -> tensor<2x4xf32>
  // CHECK: llq.linear "l" %{{.*}}, %{{.*}} : !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 32>>, !llq.quantized<2x4, #llq.uniform<{{.*}}>> -> tensor<?x2xf32>
  %y = llq.linear "l" %qx, %w : !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 32>>, !llq.quantized<2x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>> -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// CHECK-LABEL: func.func @dispatch_formation
func.func @dispatch_formation(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK: llq.region : tensor<?x8xf32>, tensor<?x8xf32> {
  %r:2 = llq.region : tensor<?x8xf32>, tensor<?x8xf32> {
    %s = llq.add %x, %x : tensor<?x8xf32>
    // CHECK: llq.yield %{{.*}}, %{{.*}} : tensor<?x8xf32>, tensor<?x8xf32>
    llq.yield %s, %x : tensor<?x8xf32>, tensor<?x8xf32>
  }
  return %r#0, %r#1 : tensor<?x8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: llq.program @decode max_tokens = 16
// CHECK-SAME: arena_bytes = 4096 : i64
llq.program @decode max_tokens = 16 attributes {arena_bytes = 4096} {
  // CHECK: llq.buffer input "ids" {bytes_per_token = 4 : i64}
  %ids = llq.buffer input "ids" {bytes_per_token = 4}
  // CHECK: llq.buffer weight "w" {bytes = 64 : i64, content = #llq.packed<"x86-64-v3", interleaved = true, [<name = "w", type = tensor<2x8xf32>, components = {values = dense_resource<w> : tensor<2x8xf32>}>]>}
  %w = llq.buffer weight "w" {bytes = 64, content = #llq.packed<"x86-64-v3", interleaved = true, [<name = "w", type = tensor<2x8xf32>, components = {values = dense_resource<w> : tensor<2x8xf32>}>]>}
  // CHECK: llq.buffer weight "n" {{.*}}#llq.padded_vector<16, [array<f32: 1.000000e+00>]>
  %n = llq.buffer weight "n" {bytes = 64, content = #llq.padded_vector<16, [array<f32: 1.0>]>}
  // CHECK: llq.buffer state "cache" {bytes_per_position = 32 : i64}
  %cache = llq.buffer state "cache" {bytes_per_position = 32}
  // CHECK: llq.buffer temporary "t" {bytes_per_token = 32 : i64, offset = 64 : i64}
  %t = llq.buffer temporary "t" {bytes_per_token = 32, offset = 64}
  // CHECK: llq.buffer output "logits" {bytes_per_token = 128 : i64}
  %logits = llq.buffer output "logits" {bytes_per_token = 128}
  // CHECK: llq.dispatch @embed(%{{.*}}, %{{.*}}, %{{.*}}) {items_per_token = 1 : i64, num_writes = 1 : i64}
  llq.dispatch @embed(%ids, %w, %t) {items_per_token = 1, num_writes = 1}
  // CHECK: llq.dispatch @head(%{{.*}}, %{{.*}}) {items = 4 : i64, num_writes = 1 : i64, outputs_only}
  llq.dispatch @head(%t, %logits) {items = 4, num_writes = 1, outputs_only}
}

}
