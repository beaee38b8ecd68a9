// RUN: llq-opt %s --llq-quantize-activations | FileCheck %s --check-prefixes=CHECK,TOKEN -DFORMAT='dynamic<bits = 8, group = 0>'
// RUN: llq-opt %s --llq-quantize-activations='bits=4 per=token' | FileCheck %s --check-prefixes=CHECK,TOKEN -DFORMAT='dynamic<bits = 4, group = 0>'
// RUN: llq-opt %s --llq-quantize-activations='per=tensor' | FileCheck %s --check-prefixes=CHECK,TENSOR8
// RUN: llq-opt %s --llq-quantize-activations='bits=4 per=tensor' | FileCheck %s --check-prefix=TENSOR4
// RUN: llq-opt %s --llq-quantize-activations='only=*.k_proj,lm_*' | FileCheck %s --check-prefix=ONLY
// RUN: llq-opt %s --llq-quantize-activations='except=*.k_proj,*.down_proj' | FileCheck %s --check-prefix=EXCEPT
// Twice is once for what is left, and the accuracy level finds no work but the head.
// RUN: llq-opt %s --llq-quantize-activations='bits=4 only=*.down_proj' --llq-quantize-activations='bits=6 except=*.down_proj' --llq-set-accuracy=level=int8 | FileCheck %s --check-prefix=MIXED
// RUN: not llq-opt %s --llq-quantize-activations='bits=1' 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: not llq-opt %s --llq-quantize-activations='per=row' 2>&1 | FileCheck %s --check-prefix=PER

// BITS: '1' is not a number from 2 to 8
// PER: Cannot find option named 'row'

!w = !llq.quantized<4x4, #llq.uniform<bits = 8, group = 0, zero = none, scale = f16>>

// The largest input is 12.7; a site without any is at the floor of 1e-5.
// CHECK-LABEL: @forward(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x4xf32>
// TOKEN: %[[A:.*]] = llq.quantize_activation %[[X]] : tensor<?x4xf32> -> <?x4, #llq.[[FORMAT]]>
// TENSOR8: %[[A:.*]] = llq.quantize_activation %[[X]] : tensor<?x4xf32> -> <?x4, #llq.static<bits = 8, scale = 1.000000e-01 : f32>>
// CHECK-NEXT: llq.linear "layers.0.self_attn.q_proj" %[[A]],
// CHECK-NEXT: %[[K:.*]] = llq.linear "layers.0.self_attn.k_proj" %[[A]],
// A weight in its source type.
// CHECK-NEXT: llq.linear "layers.0.self_attn.v_proj" %[[X]],
// TOKEN-NEXT: %[[B:.*]] = llq.quantize_activation %[[K]] : tensor<?x4xf32> -> <?x4, #llq.[[FORMAT]]>
// TENSOR8-NEXT: %[[B:.*]] = llq.quantize_activation %[[K]] : tensor<?x4xf32> -> <?x4, #llq.static<bits = 8, scale = 7.87401{{.*}}E-8 : f32>>
// CHECK-NEXT: %[[D:.*]] = llq.linear "layers.0.mlp.down_proj" %[[B]],
// CHECK-NEXT: llq.linear "lm_head" %[[D]],

// TENSOR4: static<bits = 4, scale = 1.81428{{.*}} : f32>
// TENSOR4: static<bits = 4, scale = 1.42857{{.*}}E-6 : f32>

// ONLY: %[[X:.*]]: tensor<?x4xf32>)
// ONLY: llq.linear "layers.0.self_attn.q_proj" %[[X]],
// ONLY: %[[A:.*]] = llq.quantize_activation %[[X]]
// ONLY-NEXT: llq.linear "layers.0.self_attn.k_proj" %[[A]],
// ONLY-NEXT: llq.linear "layers.0.self_attn.v_proj" %[[X]],
// ONLY-NEXT: %[[D:.*]] = llq.linear "layers.0.mlp.down_proj"
// ONLY-NEXT: %[[H:.*]] = llq.quantize_activation %[[D]]
// ONLY-NEXT: llq.linear "lm_head" %[[H]],

// EXCEPT: %[[X:.*]]: tensor<?x4xf32>)
// EXCEPT: %[[A:.*]] = llq.quantize_activation %[[X]]
// EXCEPT-NEXT: llq.linear "layers.0.self_attn.q_proj" %[[A]],
// EXCEPT-NEXT: llq.linear "layers.0.self_attn.k_proj" %[[X]],
// EXCEPT-NOT: llq.quantize_activation
// EXCEPT: return

// MIXED: llq.quantize_activation {{.*}}bits = 6, group = 0
// MIXED: "layers.0.self_attn.k_proj"
// MIXED: llq.quantize_activation {{.*}}bits = 4, group = 0
// MIXED: "layers.0.mlp.down_proj"
// MIXED: llq.quantize_activation {{.*}}bits = 8, group = 32
// MIXED: "lm_head"
func.func @forward(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<4x4xi8>, scales = dense_resource<s> : tensor<4x1xf16>} : !w
  %f = llq.weight dense_resource<f> : tensor<4x4xf32>
  // One layer of a site speaks for all of it.
  %q = llq.linear "layers.0.self_attn.q_proj" %x, %w {llq.stats = {
    tokens = 16 : i64, abs_max = dense<[1.0, 2.0, 12.7, 0.0]> : tensor<4xf32>,
    mean_abs = dense<1.0> : tensor<4xf32>, mean_square = dense<1.0> : tensor<4xf32>}}
    : tensor<?x4xf32>, !w -> tensor<?x4xf32>
  %k = llq.linear "layers.0.self_attn.k_proj" %x, %w : tensor<?x4xf32>, !w -> tensor<?x4xf32>
  %v = llq.linear "layers.0.self_attn.v_proj" %x, %f : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
  %d = llq.linear "layers.0.mlp.down_proj" %k, %w {llq.stats = {
    tokens = 16 : i64, abs_max = dense<0.0> : tensor<4xf32>,
    mean_abs = dense<0.0> : tensor<4xf32>, mean_square = dense<0.0> : tensor<4xf32>}}
    : tensor<?x4xf32>, !w -> tensor<?x4xf32>
  %y = llq.linear "lm_head" %d, %w : tensor<?x4xf32>, !w -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
