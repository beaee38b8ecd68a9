// One weight used by several layers.
//
// RUN: llq-opt %s --llq-quantize-rtn='bits=4 head-bits=8' --cse --split-input-file | FileCheck %s

// A tied embedding and head are one table: the bits of one count for both, even
// if the import has not made them one value.
// CHECK-LABEL: @tied
// CHECK: %[[W:.*]] = llq.quantized_weight {{.*}}#llq.uniform<bits = 8,
// CHECK-NOT: llq.weight
// CHECK-NOT: llq.quantized_weight
// CHECK: llq.embedding %{{.*}}, %[[W]]
// CHECK: llq.linear "lm_head" %{{.*}}, %[[W]]
// The source is gone.
// CHECK-NOT: we:
// CHECK: embed_tokens.codes:
// CHECK-NOT: we:
func.func @tied(%ids: tensor<?xi32>) -> tensor<?x2xf32> {
  %w = llq.weight dense_resource<we> : tensor<2x4xf16>
  %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<2x4xf16> -> tensor<?x4xf32>
  %v = llq.weight dense_resource<we> : tensor<2x4xf16>
  %y = llq.linear "lm_head" %x, %v : tensor<?x4xf32>, tensor<2x4xf16> -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

{-#
  dialect_resources: {
    builtin: {
      we: "0x10000000003C00BC003800400000003C003CC03C"
    }
  }
#-}

// -----

// Two layers of one weight, of which one is the head: each has what it asked
// for, and the source of both is gone.
// CHECK-LABEL: @shared_with_head
// CHECK: llq.linear "layers.0.mlp.up_proj" {{.*}}!llq.quantized<2x4, #llq.uniform<bits = 4,
// CHECK: llq.linear "layers.0.mlp.gate_proj" {{.*}}!llq.quantized<2x4, #llq.uniform<bits = 4,
// CHECK: llq.linear "lm_head" {{.*}}!llq.quantized<2x4, #llq.uniform<bits = 8,
// CHECK-DAG: layers.0.mlp.up_proj.codes:
// CHECK-DAG: lm_head.codes:
// CHECK-NOT: gate_proj.codes:
func.func @shared_with_head(%x: tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = llq.weight dense_resource<ws> : tensor<2x4xf16>
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, tensor<2x4xf16> -> tensor<?x2xf32>
  %1 = llq.linear "layers.0.mlp.gate_proj" %x, %w : tensor<?x4xf32>, tensor<2x4xf16> -> tensor<?x2xf32>
  %2 = llq.linear "lm_head" %x, %w : tensor<?x4xf32>, tensor<2x4xf16> -> tensor<?x2xf32>
  return %0, %1, %2 : tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>
}

{-#
  dialect_resources: {
    builtin: {
      ws: "0x10000000003C00BC003800400000003C003CC03C"
    }
  }
#-}
