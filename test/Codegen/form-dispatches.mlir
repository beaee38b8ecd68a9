// Which ops one kernel computes.
// RUN: llq-opt %s --llq-form-dispatches --split-input-file | FileCheck %s -enable-var-scope

// A decoder block: every fusion at once.

// CHECK-LABEL: func.func @forward
// CHECK-COUNT-7: llq.quantized_weight
// CHECK: llq.region
// CHECK-NEXT: llq.embedding
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.positions
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.rotary_table
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.rms_norm
// CHECK-NEXT: llq.quantize_activation
// CHECK-NEXT: llq.yield
// CHECK: %[[QKV:.*]]:3 = llq.region
// CHECK-NEXT: llq.linear "q"
// CHECK-NEXT: llq.linear "k"
// CHECK-NEXT: llq.linear "v"
// CHECK-NEXT: llq.yield
// CHECK: %[[A:.*]] = llq.region
// CHECK-NEXT: llq.rope %[[QKV]]#0
// CHECK-NEXT: llq.rope %[[QKV]]#1
// CHECK-NEXT: llq.attention %{{.*}}, %{{.*}}, %[[QKV]]#2
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.quantize_activation %[[A]]
// CHECK-NEXT: llq.yield
// CHECK: %[[X:.*]] = llq.region
// CHECK-NEXT: llq.linear "o"
// CHECK-NEXT: llq.add
// CHECK-NEXT: llq.yield
// CHECK: llq.rms_norm %[[X]]
// CHECK-NEXT: llq.quantize_activation
// CHECK: llq.region
// CHECK-NEXT: llq.linear "gate"
// CHECK-NEXT: llq.linear "up"
// CHECK-NEXT: llq.swiglu
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.quantize_activation
// CHECK-NEXT: llq.yield
// CHECK: %[[Y:.*]] = llq.region
// CHECK-NEXT: llq.linear "down"
// CHECK-NEXT: llq.add %[[X]]
// CHECK-NEXT: llq.yield
// CHECK: return %[[Y]]
!w = !llq.quantized<32x32, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
!x = !llq.quantized<?x32, #llq.dynamic<bits = 8, group = 32>>
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x32xf32> {
  %table = llq.weight dense_resource<t> : tensor<50x32xf16>
  %x = llq.embedding %ids, %table : tensor<?xi32>, tensor<50x32xf16> -> tensor<?x32xf32>
  %positions = llq.positions %ids, %past : tensor<?xi32>
  %cos, %sin = llq.rotary_table %positions {frequencies = array<f32: 1.0, 0.1, 0.01, 0.001>} : tensor<?xi32> -> tensor<?x4xf32>
  %n = llq.weight dense_resource<n> : tensor<32xf32>
  %h = llq.rms_norm %x, %n {epsilon = 1.0e-05 : f32} : tensor<?x32xf32>, tensor<32xf32>
  %hq = llq.quantize_activation %h : tensor<?x32xf32> -> !x
  %wq = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %q = llq.linear "q" %hq, %wq : !x, !w -> tensor<?x32xf32>
  %qr = llq.rope %q, %cos, %sin : tensor<?x32xf32>, tensor<?x4xf32>
  %wk = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %k = llq.linear "k" %hq, %wk : !x, !w -> tensor<?x32xf32>
  %kr = llq.rope %k, %cos, %sin : tensor<?x32xf32>, tensor<?x4xf32>
  %wv = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %v = llq.linear "v" %hq, %wv : !x, !w -> tensor<?x32xf32>
  %a = llq.attention %qr, %kr, %v, %past {layer = 0, heads = 4, kv_heads = 4, scale = 0.35 : f32} : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
  %aq = llq.quantize_activation %a : tensor<?x32xf32> -> !x
  %wo = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %o = llq.linear "o" %aq, %wo : !x, !w -> tensor<?x32xf32>
  %x1 = llq.add %o, %x : tensor<?x32xf32>
  %m = llq.rms_norm %x1, %n {epsilon = 1.0e-05 : f32} : tensor<?x32xf32>, tensor<32xf32>
  %mq = llq.quantize_activation %m : tensor<?x32xf32> -> !x
  %wu = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  // The order in the model does not matter: gate comes first in the region.
  %up = llq.linear "up" %mq, %wu : !x, !w -> tensor<?x32xf32>
  %wg = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %gate = llq.linear "gate" %mq, %wg : !x, !w -> tensor<?x32xf32>
  %g = llq.swiglu %gate, %up : tensor<?x32xf32>
  %gq = llq.quantize_activation %g : tensor<?x32xf32> -> !x
  %wd = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %d = llq.linear "down" %gq, %wd : !x, !w -> tensor<?x32xf32>
  %y = llq.add %x1, %d : tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

// Layers of one input in different formats, or of which only one has a bias,
// are products of their own; so are gate and up.

// CHECK-LABEL: func.func @forward
// CHECK: llq.embedding
// CHECK: llq.region
// CHECK-NEXT: llq.linear "q"
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.linear "k"
// CHECK-NEXT: llq.linear "v"
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.attention
// CHECK: llq.region
// CHECK-NEXT: llq.linear "gate"
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.linear "up"
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.swiglu
// CHECK-NEXT: llq.yield
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x32xf32> {
  %w = llq.weight dense_resource<w> : tensor<32x32xf16>
  %f = llq.weight dense_resource<f> : tensor<32x32xf32>
  %b = llq.weight dense_resource<b> : tensor<32xf32>
  %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<32x32xf16> -> tensor<?x32xf32>
  %q = llq.linear "q" %x, %f : tensor<?x32xf32>, tensor<32x32xf32> -> tensor<?x32xf32>
  %k = llq.linear "k" %x, %w : tensor<?x32xf32>, tensor<32x32xf16> -> tensor<?x32xf32>
  %v = llq.linear "v" %x, %w : tensor<?x32xf32>, tensor<32x32xf16> -> tensor<?x32xf32>
  %a = llq.attention %q, %k, %v, %past {layer = 0, heads = 4, kv_heads = 4, scale = 0.35 : f32} : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
  %gate = llq.linear "gate" %a, %w : tensor<?x32xf32>, tensor<32x32xf16> -> tensor<?x32xf32>
  %up = llq.linear "up" %a, %w bias %b : tensor<32xf32> : tensor<?x32xf32>, tensor<32x32xf16> -> tensor<?x32xf32>
  %g = llq.swiglu %gate, %up : tensor<?x32xf32>
  return %g : tensor<?x32xf32>
}

// -----

// A result with another user stays visible: no norm, gate, residual or rotation
// is fused away.

// CHECK-LABEL: func.func @forward
// CHECK: llq.embedding
// CHECK: llq.region
// CHECK-NEXT: llq.rms_norm
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.quantize_activation
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.linear "a"
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.add
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.add
// CHECK-NEXT: llq.yield
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x32xf32> {
  %w = llq.weight dense_resource<w> : tensor<32x32xf16>
  %n = llq.weight dense_resource<n> : tensor<32xf32>
  %c = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !llq.quantized<32x32, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
  %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<32x32xf16> -> tensor<?x32xf32>
  %h = llq.rms_norm %x, %n {epsilon = 1.0e-05 : f32} : tensor<?x32xf32>, tensor<32xf32>
  %q = llq.quantize_activation %h : tensor<?x32xf32> -> !llq.quantized<?x32, #llq.dynamic<bits = 8, group = 32>>
  %a = llq.linear "a" %q, %c : !llq.quantized<?x32, #llq.dynamic<bits = 8, group = 32>>, !llq.quantized<32x32, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>> -> tensor<?x32xf32>
  %b = llq.add %a, %a : tensor<?x32xf32>
  %y = llq.add %b, %h : tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

// Layers of one input whose results anything but attention or a gate reads need
// rows of their own.

// CHECK-LABEL: func.func @forward
// CHECK: llq.embedding
// CHECK: llq.region
// CHECK-NEXT: llq.linear "a"
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.linear "b"
// CHECK-NEXT: llq.add
// CHECK-NEXT: llq.yield
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x32xf32> {
  %w = llq.weight dense_resource<w> : tensor<32x32xf16>
  %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<32x32xf16> -> tensor<?x32xf32>
  %a = llq.linear "a" %x, %w : tensor<?x32xf32>, tensor<32x32xf16> -> tensor<?x32xf32>
  %b = llq.linear "b" %x, %w : tensor<?x32xf32>, tensor<32x32xf16> -> tensor<?x32xf32>
  %y = llq.add %b, %a : tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

// A permutation joins the norm in front of it and the quantization behind it; a
// norm behind it is another pass over the row.

// CHECK-LABEL: func.func @forward
// CHECK: llq.embedding
// CHECK: llq.region
// CHECK-NEXT: llq.rms_norm
// CHECK-NEXT: llq.permute_channels
// CHECK-NEXT: llq.quantize_activation
// CHECK-NEXT: llq.yield
// CHECK: %[[B:.*]] = llq.region
// CHECK-NEXT: llq.rms_norm
// CHECK-NEXT: llq.permute_channels
// CHECK-NEXT: llq.yield
// CHECK: %[[C:.*]] = llq.region
// CHECK-NEXT: llq.permute_channels %[[B]]
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.rms_norm %[[C]]
// CHECK-NEXT: llq.yield
// CHECK: llq.region
// CHECK-NEXT: llq.permute_channels %[[C]]
// CHECK-NEXT: llq.quantize_activation
// CHECK-NEXT: llq.yield
!x = !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 32>>
func.func @forward(%ids: tensor<?xi32>, %past: index) -> (!x, tensor<?x4xf32>, !x) {
  %w = llq.weight dense_resource<w> : tensor<4x4xf16>
  %n = llq.weight dense_resource<n> : tensor<4xf32>
  %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<4x4xf16> -> tensor<?x4xf32>
  %a0 = llq.rms_norm %x, %n {epsilon = 1.0e-05 : f32} : tensor<?x4xf32>, tensor<4xf32>
  %a1 = llq.permute_channels %a0 by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
  %a2 = llq.quantize_activation %a1 : tensor<?x4xf32> -> !x
  %b0 = llq.rms_norm %x, %n {epsilon = 1.0e-05 : f32} : tensor<?x4xf32>, tensor<4xf32>
  %b1 = llq.permute_channels %b0 by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
  %c0 = llq.permute_channels %b1 by dense<[3, 2, 1, 0]> : tensor<4xi32> : tensor<?x4xf32>
  %c1 = llq.rms_norm %c0, %n {epsilon = 1.0e-05 : f32} : tensor<?x4xf32>, tensor<4xf32>
  %d0 = llq.permute_channels %c0 by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
  %d1 = llq.quantize_activation %d0 : tensor<?x4xf32> -> !x
  return %a2, %c1, %d1 : !x, tensor<?x4xf32>, !x
}
