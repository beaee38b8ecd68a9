// Example A of the card: w = 0.9 -0.2 0.1 -0.3 0.25 -0.15 0.05 -1.1 with an
// identity as second moment. The first and the last weight are salient, with a
// step of 2/255 and the zero point 140: codes 255 and 0. The others are
// -0.2167 or 0.35 more.
//
// RUN: llq-opt %s --llq-quantize-pbllm='group-size=0 salient=0.3 criterion=magnitude rounds=0' | FileCheck %s
// RUN: llq-opt %s --llq-quantize-pbllm='group-size=0 salient=0.3 criterion=magnitude rounds=0 binary-scale=reference' | FileCheck %s --check-prefix=REFERENCE
// RUN: llq-opt %s --llq-quantize-pbllm='group-size=0 salient=0.3 criterion=magnitude rounds=0' --llq-dequantize | FileCheck %s --check-prefix=VALUES
// RUN: llq-opt %s --llq-quantize-pbllm='salient=0' | FileCheck %s --check-prefix=NONE
// RUN: llq-opt %s --llq-quantize-pbllm='salient=1' | FileCheck %s --check-prefix=ALL
// RUN: not llq-opt %s --llq-quantize-pbllm='salient=1.5' 2>&1 | FileCheck %s --check-prefix=RANGE

// CHECK: #llq.outliers<base = #llq.planes<count = 1, group = 0, offset = true>, masks = 2, outliers = 2>
// CHECK: salient_share = 2.500000e-01
// Columns 0 and 7 are bit 0 of byte 0 and bit 1 of byte 3 of a mask.
// CHECK-DAG: a.presence: "0x1000000009"
// CHECK-DAG: a.masks: "0x100000000102"
// CHECK-DAG: a.outliers: "0x10000000FF00"
// CHECK-DAG: a.starts: "0x100000000000000000000000"
// CHECK-DAG: a.outlier_zeros: "0x100000008C"
// Bits of columns 2, 4 and 6.
// CHECK-DAG: a.planes: "0x1000000054"
// 0.35 (359A) and -0.2167 (B2EF).
// CHECK-DAG: a.scales: "0x100000009A35"
// CHECK-DAG: a.offsets: "0x10000000EFB2"

// 0.2781 (3473) and -0.1703 (B173).
// REFERENCE-DAG: a.scales: "0x100000007334"
// REFERENCE-DAG: a.offsets: "0x1000000073B1"

// 0.9019, then -0.2167 and 0.1333, then -1.098.
// VALUES: a.weight: "0x10000000{{.*}}663F00E05DBE{{.*}}8CBF"

// NONE: masks = 0, outliers = 0>
// ALL: masks = 4, outliers = 8>
// RANGE: llq-quantize-pbllm: salient is 0 to 1, found 1.5

func.func @forward(%x: tensor<?x8xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<a> : tensor<1x8xf32>
  %y = llq.linear "a" %x, %w {llq.stats = {
    tokens = 8 : i64, abs_max = dense<1.0> : tensor<8xf32>,
    mean_abs = dense<1.0> : tensor<8xf32>, mean_square = dense<1.0> : tensor<8xf32>,
    second_moment = dense<[
      [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
      [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
      [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
      [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]> : tensor<8x8xf32>}}
    : tensor<?x8xf32>, tensor<1x8xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      a: "0x040000006666663FCDCC4CBECDCCCC3D9A9999BE0000803E9A9919BECDCC4C3DCDCC8CBF"
    }
  }
#-}
