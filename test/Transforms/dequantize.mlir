// RUN: llq-opt %s --llq-dequantize | FileCheck %s
// RUN: llq-opt %s --llq-dequantize=type=f16 | FileCheck %s --check-prefix=F16
// RUN: llq-opt %s --llq-dequantize=type=bf16 | FileCheck %s --check-prefix=BF16

// Codes 0, 1, 2, 3 (E4) of two rows, scales 1 and 0.5, zero points 1 and 2.
// CHECK-LABEL: @forward
// CHECK: %[[W:.*]] = llq.weight dense_resource<layers.0.mlp.up_proj.weight> : tensor<2x4xf32>
// CHECK-NOT: quantized_weight
// CHECK: llq.linear "layers.0.mlp.up_proj" %{{.*}}, %[[W]] {method = {name = "rtn"}} : tensor<?x4xf32>, tensor<2x4xf32>
// CHECK: llq.linear "layers.0.mlp.gate_proj" %{{.*}}, %[[W]]
// The quantized bytes are gone; -1, 0, 1, 2 and -1, -0.5, 0, 0.5 are there.
// CHECK-NOT: codes
// CHECK: layers.0.mlp.up_proj.weight: "0x10000000000080BF000000000000803F00000040000080BF000000BF000000000000003F"
// CHECK-NOT: scales

// F16: tensor<2x4xf16>
// F16: layers.0.mlp.up_proj.weight: "0x1000000000BC0000003C004000BC00B800000038"
// BF16: tensor<2x4xbf16>
// BF16: layers.0.mlp.up_proj.weight: "0x1000000080BF0000803F004080BF00BF0000003F"

!q = !llq.quantized<2x4, #llq.uniform<bits = 2, group = 0, zero = int, scale = f16>>

func.func @forward(%x: tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = llq.quantized_weight {codes = dense_resource<codes> : tensor<2x1xi8>, scales = dense_resource<scales> : tensor<2x1xf16>, zeros = dense_resource<zeros> : tensor<2x1xi8>} : !q
  %0 = llq.linear "layers.0.mlp.up_proj" %x, %w {method = {name = "rtn"}} : tensor<?x4xf32>, !q -> tensor<?x2xf32>
  %1 = llq.linear "layers.0.mlp.gate_proj" %x, %w : tensor<?x4xf32>, !q -> tensor<?x2xf32>
  return %0, %1 : tensor<?x2xf32>, tensor<?x2xf32>
}

{-#
  dialect_resources: {
    builtin: {
      codes: "0x01000000E4E4",
      scales: "0x02000000003C0038",
      zeros: "0x010000000102"
    }
  }
#-}
