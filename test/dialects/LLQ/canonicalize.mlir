// RUN: llq-opt %s --canonicalize --cse | FileCheck %s

!q = !llq.quantized<4x4, #llq.uniform<bits = 8, group = 0, zero = none, scale = f16>>
!a = !llq.quantized<?x4, #llq.dynamic<bits = 8, group = 0>>

// Layers take quantized operands as they are.
// CHECK-LABEL: @dequantized_operands
// CHECK-NOT: llq.dequantize
// CHECK: %[[W:.*]] = llq.quantized_weight
// CHECK: %[[E:.*]] = llq.embedding %{{.*}}, %[[W]]
// CHECK: %[[A:.*]] = llq.quantize_activation %[[E]]
// CHECK: llq.linear "l" %[[A]], %[[W]]
func.func @dequantized_operands(%ids: tensor<?xi32>) -> tensor<?x4xf32> {
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<4x4xi8>, scales = dense_resource<s> : tensor<4x1xf16>} : !q
  %dw = llq.dequantize %w : !q -> tensor<4x4xf32>
  %e = llq.embedding %ids, %dw : tensor<?xi32>, tensor<4x4xf32> -> tensor<?x4xf32>
  %a = llq.quantize_activation %e : tensor<?x4xf32> -> !a
  %da = llq.dequantize %a : !a -> tensor<?x4xf32>
  %y = llq.linear "l" %da, %dw : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// A tied embedding and head are one value, however they were imported.
// CHECK-LABEL: @tied
// CHECK: %[[W:.*]] = llq.weight
// CHECK-NOT: llq.weight
// CHECK: llq.embedding %{{.*}}, %[[W]]
// CHECK: llq.linear "lm_head" %{{.*}}, %[[W]]
func.func @tied(%ids: tensor<?xi32>) -> tensor<?x8xf32> {
  %e = llq.weight dense_resource<e> : tensor<8x4xf16>
  %x = llq.embedding %ids, %e : tensor<?xi32>, tensor<8x4xf16> -> tensor<?x4xf32>
  %h = llq.weight dense_resource<e> : tensor<8x4xf16>
  %y = llq.linear "lm_head" %x, %h : tensor<?x4xf32>, tensor<8x4xf16> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// The cache is state: attention stays although nobody uses its result.
// CHECK-LABEL: @attention_has_effects
// CHECK: llq.attention
func.func @attention_has_effects(%x: tensor<?x4xf32>, %past: index) {
  %y = llq.attention %x, %x, %x, %past {layer = 0, heads = 1, kv_heads = 1, scale = 0.5 : f32} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
  return
}

// CHECK-LABEL: @permutation_that_changes_nothing
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x4xf32>
// CHECK-NEXT: return %[[X]]
func.func @permutation_that_changes_nothing(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = llq.permute_channels %x by dense<[0, 1, 2, 3]> : tensor<4xi32> : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// y[j] = x[order[j]], so channel 0 of the second is channel 1 of the first,
// which is 0.
// CHECK-LABEL: @two_permutations
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x4xf32>
// CHECK-NEXT: %[[Y:.*]] = llq.permute_channels %[[X]] by dense<[0, 2, 1, 3]>
// CHECK-NEXT: return %[[Y]]
func.func @two_permutations(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = llq.permute_channels %x by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
  %z = llq.permute_channels %y by dense<[1, 0, 3, 2]> : tensor<4xi32> : tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// CHECK-LABEL: @permutation_and_its_inverse
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x4xf32>
// CHECK-NEXT: return %[[X]]
func.func @permutation_and_its_inverse(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = llq.permute_channels %x by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
  %z = llq.permute_channels %y by dense<[1, 3, 0, 2]> : tensor<4xi32> : tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}
