// RUN: llq-opt %s --llq-set-accuracy=level=int8 | FileCheck %s
// RUN: llq-opt %s --llq-set-accuracy=level=exact | FileCheck %s --check-prefix=EXACT
// RUN: llq-opt %s --llq-set-accuracy=level=int8 --llq-set-accuracy=level=int8 | FileCheck %s

!q = !llq.quantized<40x40, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
!a = !llq.quantized<?x40, #llq.dynamic<bits = 6, group = 0>>
!s = !llq.quantized<?x40, #llq.static<bits = 8, scale = 0.5 : f32>>

// EXACT-LABEL: @forward
// EXACT-NOT: quantize_activation %{{.*}}group = 32
// EXACT: return

// CHECK-LABEL: @forward(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x40xf32>
func.func @forward(%x: tensor<?x40xf32>, %f: tensor<40x40xf32>) -> tensor<?x40xf32> {
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<40x20xi8>, scales = dense_resource<s> : tensor<40x1xf16>} : !q
  // One for q, k and v.
  // CHECK: %[[A:.*]] = llq.quantize_activation %[[X]] : tensor<?x40xf32> -> <?x40, #llq.dynamic<bits = 8, group = 32>>
  // CHECK-NEXT: llq.linear "q" %[[A]],
  // CHECK-NEXT: llq.linear "k" %[[A]],
  // CHECK-NEXT: %[[V:.*]] = llq.linear "v" %[[A]],
  %q = llq.linear "q" %x, %w : tensor<?x40xf32>, !q -> tensor<?x40xf32>
  %k = llq.linear "k" %x, %w : tensor<?x40xf32>, !q -> tensor<?x40xf32>
  %v = llq.linear "v" %x, %w : tensor<?x40xf32>, !q -> tensor<?x40xf32>
  // Weights in their source type keep f32 activations.
  // CHECK-NEXT: llq.linear "source" %[[X]], %{{.*}} : tensor<?x40xf32>, tensor<40x40xf32>
  %s = llq.linear "source" %x, %f : tensor<?x40xf32>, tensor<40x40xf32> -> tensor<?x40xf32>
  // What a pass has quantized stays.
  // CHECK-NEXT: %[[B:.*]] = llq.quantize_activation %[[V]] : tensor<?x40xf32> -> <?x40, #llq.dynamic<bits = 6, group = 0>>
  // CHECK-NEXT: llq.linear "six" %[[B]],
  %a = llq.quantize_activation %v : tensor<?x40xf32> -> !a
  %y = llq.linear "six" %a, %w : !a, !q -> tensor<?x40xf32>
  // CHECK: %[[C:.*]] = llq.quantize_activation %{{.*}} : tensor<?x40xf32> -> <?x40, #llq.static<bits = 8, scale = 5.000000e-01 : f32>>
  // CHECK-NEXT: llq.linear "static" %[[C]],
  // CHECK-NEXT: return
  %b = llq.quantize_activation %y : tensor<?x40xf32> -> !s
  %z = llq.linear "static" %b, %w : !s, !q -> tensor<?x40xf32>
  return %z : tensor<?x40xf32>
}
