// What llq-compile does by default: f32 stays with f32 activations.
// RUN: llq-opt %s --llq-set-cache='type=int8 quantized-only=true' --split-input-file | FileCheck %s

// CHECK-LABEL: func.func @exact
// CHECK: llq.attention {{.*}}cache = #llq<cache_type f16>
func.func @exact(%x: tensor<?x4xf32>, %past: index) -> tensor<?x4xf32> {
  %y = llq.attention %x, %x, %x, %past {layer = 0, heads = 1, kv_heads = 1, scale = 0.5 : f32, cache = #llq<cache_type f16>} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// CHECK-LABEL: func.func @quantized_activations
// CHECK: llq.attention {{.*}}cache = #llq<cache_type int8>
func.func @quantized_activations(%x: tensor<?x4xf32>, %w: !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>, %past: index) -> tensor<?x4xf32> {
  %q = llq.quantize_activation %x : tensor<?x4xf32> -> !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 32>>
  %k = llq.linear "k_proj" %q, %w : !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 32>>, !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>> -> tensor<?x4xf32>
  %y = llq.attention %k, %k, %k, %past {layer = 0, heads = 1, kv_heads = 1, scale = 0.5 : f32, cache = #llq<cache_type f16>} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
