// The reference decode of formats, on values worked out by hand.
// RUN: llq-opt %s --llq-dequantize | FileCheck %s
// RUN: llq-opt %s --verify-roundtrip -o /dev/null

// Planes 00001111 and 11001100, scales 2 and -1.
// CHECK-DAG: planes.weight: "0x10000000000080BF000080BF00000000000000000000803F0000803F0000004000000040"
// Codes 3 2 1 0, the first of the second table: 4, 0.5, -0.5, -1.
// CHECK-DAG: codebook.weight: "0x10000000000080400000003F000000BF000080BF"
// One bit: 1 0, two bits: 3 1; 1 * code - 0.5 and 0.5 * code.
// CHECK-DAG: mixed.weight: "0x100000000000003F000000BF0000C03F0000003F"
// Four tuples, of columns 0 4 .. 28 to 3 7 .. 31: all 0.75; the other shift, all
// 0.25; two signs, -0.25 and 0.75; the entry whose last coordinate is -1.5.
// CHECK-DAG: e8p.weight: "0x100000000000403F0000803E000080BE0000403F0000403F0000803E000080BE0000403F0000403F0000803E0000403F0000403F0000403F0000803E0000403F0000403F0000403F0000803E0000403F0000403F0000403F0000803E0000403F0000403F0000403F0000803E0000403F0000403F0000403F0000803E0000403F0000A0BF"
// 3 0 1 0 around 2; columns 1 and 3 are 0.5 * (10 - 100) and 0.5 * (200 - 100).
// CHECK-DAG: outliers.weight: "0x100000000000803F000034C2000080BF00004842"

!planes = !llq.quantized<1x8, #llq.planes<count = 2, group = 0, offset = false>>
!codebook = !llq.quantized<1x4, #llq.codebook<bits = 2, group = 4, tables = 2, symmetric = true>>
!mixed = !llq.quantized<1x4, #llq.mixed<widths = [1, 2], row_bits = 6, group = 2>>
!e8p = !llq.quantized<1x32, #llq.e8p<bits = 2>>
!outliers = !llq.quantized<1x4, #llq.outliers<base = #llq.uniform<bits = 2, group = 0, zero = none, scale = f16>, masks = 2, outliers = 2>>

func.func @forward(%x: tensor<?x8xf32>, %y: tensor<?x4xf32>, %z: tensor<?x32xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>) {
  %planes = llq.quantized_weight {planes = dense_resource<planes> : tensor<1x2x1xi8>, scales = dense_resource<scales> : tensor<1x1x2xf16>} : !planes
  %codebook = llq.quantized_weight {codes = dense_resource<codes> : tensor<1x1xi8>, levels = dense_resource<levels> : tensor<1x1x2x2xf16>, counts = dense_resource<counts> : tensor<1xi8>} : !codebook
  %mixed = llq.quantized_weight {codes = dense_resource<stream> : tensor<1x1xi8>, scales = dense_resource<steps> : tensor<1x2xf16>, offsets = dense_resource<offsets> : tensor<1x2xf16>, bits = dense_resource<bits> : tensor<2xi8>} : !mixed
  %e8p = llq.quantized_weight {codes = dense_resource<tuples> : tensor<1x4x2xi8>, scales = dense_resource<one> : tensor<1x1xf16>} : !e8p
  %outliers = llq.quantized_weight {codes = dense_resource<base> : tensor<1x1xi8>, scales = dense_resource<one> : tensor<1x1xf16>,
    presence = dense_resource<presence> : tensor<1x1xi8>, masks = dense_resource<masks> : tensor<2xi8>, outliers = dense_resource<eight> : tensor<2xi8>,
    starts = dense_resource<starts> : tensor<1x2xi32>, outlier_scales = dense_resource<half> : tensor<1xf16>, outlier_zeros = dense_resource<zero> : tensor<1xi8>} : !outliers
  %0 = llq.linear "planes" %x, %planes : tensor<?x8xf32>, !planes -> tensor<?x1xf32>
  %1 = llq.linear "codebook" %y, %codebook : tensor<?x4xf32>, !codebook -> tensor<?x1xf32>
  %2 = llq.linear "mixed" %y, %mixed : tensor<?x4xf32>, !mixed -> tensor<?x1xf32>
  %3 = llq.linear "e8p" %z, %e8p : tensor<?x32xf32>, !e8p -> tensor<?x1xf32>
  %4 = llq.linear "outliers" %y, %outliers : tensor<?x4xf32>, !outliers -> tensor<?x1xf32>
  return %0, %1, %2, %3, %4 : tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>
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
      bits: "0x010000000102",
      tuples: "0x010000000000010003000001",
      one: "0x02000000003C",
      base: "0x0100000013",
      presence: "0x010000000A",
      masks: "0x010000000101",
      eight: "0x010000000AC8",
      starts: "0x040000000000000000000000",
      half: "0x020000000038",
      zero: "0x0100000064"
    }
  }
#-}
