// The reference decode of formats, on values worked out by hand.
// RUN: llq-opt %s --llq-dequantize | FileCheck %s
// RUN: llq-opt %s --verify-roundtrip -o /dev/null

// Planes 00001111 and 11001100, scales 2 and -1.
// CHECK-DAG: planes.weight: "0x10000000000080BF000080BF00000000000000000000803F0000803F0000004000000040"
// Codes 3 2 1 0, the first of the second table: 4, 0.5, -0.5, -1.
// CHECK-DAG: codebook.weight: "0x10000000000080400000003F000000BF000080BF"
// One bit: 1 0, two bits: 3 1; 1 * code - 0.5 and 0.5 * code.
// CHECK-DAG: mixed.weight: "0x100000000000003F000000BF0000C03F0000003F"

!planes = !llq.quantized<1x8, #llq.planes<count = 2, group = 0, offset = false>>
!codebook = !llq.quantized<1x4, #llq.codebook<bits = 2, group = 4, tables = 2, symmetric = true>>
!mixed = !llq.quantized<1x4, #llq.mixed<widths = [1, 2], row_bits = 6, group = 2>>

func.func @forward(%x: tensor<?x8xf32>, %y: tensor<?x4xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>) {
  %planes = llq.quantized_weight {planes = dense_resource<planes> : tensor<1x2x1xi8>, scales = dense_resource<scales> : tensor<1x1x2xf16>} : !planes
  %codebook = llq.quantized_weight {codes = dense_resource<codes> : tensor<1x1xi8>, levels = dense_resource<levels> : tensor<1x1x2x2xf16>, counts = dense_resource<counts> : tensor<1xi8>} : !codebook
  %mixed = llq.quantized_weight {codes = dense_resource<stream> : tensor<1x1xi8>, scales = dense_resource<steps> : tensor<1x2xf16>, offsets = dense_resource<offsets> : tensor<1x2xf16>, bits = dense_resource<bits> : tensor<2xi8>} : !mixed
  %0 = llq.linear "planes" %x, %planes : tensor<?x8xf32>, !planes -> tensor<?x1xf32>
  %1 = llq.linear "codebook" %y, %codebook : tensor<?x4xf32>, !codebook -> tensor<?x1xf32>
  %2 = llq.linear "mixed" %y, %mixed : tensor<?x4xf32>, !mixed -> tensor<?x1xf32>
  return %0, %1, %2 : tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      planes: "0x01000000F033",
      scales: "0x02000000004000BC",
      codes: "0x010000001B",
      levels: "0x020000000038003C00400044",
      counts: "0x0100000001",
      stream: "0x010000001D",
      steps: "0x02000000003C0038",
      offsets: "0x0200000000B80000",
      bits: "0x010000000102"
    }
  }
#-}
