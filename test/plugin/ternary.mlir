// A pass that llq-opt was not built with.
// RUN: llq-opt %s --load-pass-plugin=%llq_lib_dir/LLQTernary.so \
// RUN:   --pass-pipeline='builtin.module(llq-quantize-ternary)' | FileCheck %s

// CHECK-LABEL: @codes_by_hand
// CHECK: #llq.uniform<bits = 2, group = 0, zero = none, scale = f16>
// CHECK: method = {{.*}}name = "ternary", options = "embedding-bits=0 head-bits=0 threshold={{.*}}"
func.func @codes_by_hand(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x4xf32>
  %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// 4, -2, 0.5, 1.5: mean magnitude 2, threshold 1.4, so + - 0 +, which are the
// codes 3 1 2 3 (11.10.01.11 = E7), times the mean of 4, 2 and 1.5, 2.5.
// CHECK: layers.0.mlp.up_proj.codes: "0x10000000E7"
// CHECK: layers.0.mlp.up_proj.scales: "0x100000000041"

{-#
  dialect_resources: {
    builtin: {
      w: "0x0400000000008040000000C00000003F0000C03F"
    }
  }
#-}
