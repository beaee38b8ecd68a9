// Example C of the card: w = 0.1 -0.2 2 0.15 -0.05 1 -1.2 -0.8 with an identity
// as second moment. Columns 2 and 6 are salient, 1.6 +- 0.4 with signs; the
// others are 0.125 or 0.9 with signs. Codes: 3 is the larger level, 2 the
// smaller one, 1 and 0 minus these.
//
// RUN: llq-opt %s --llq-quantize-billm='group-size=0 salient-search=fixed salient-columns=2 split-search=quantiles' | FileCheck %s
// RUN: llq-opt %s --llq-quantize-billm='group-size=0 terms=mean' | FileCheck %s --check-prefix=MEAN
// RUN: llq-opt %s --llq-quantize-billm='group-size=9223372036854775807 salient-search=fixed salient-columns=2 split-search=quantiles' | FileCheck %s --check-prefix=LONG
// RUN: not llq-opt %s --llq-quantize-billm='salient-columns=33' 2>&1 | FileCheck %s --check-prefix=RANGE

// CHECK: llq.permute_channels %{{.*}} by dense<[2, 6, 0, 1, 3, 4, 5, 7]>
// CHECK: #llq.codebook<bits = 2, group = 0, tables = 2, symmetric = true>
// CHECK: salient_share = 2.500000e-01
// In that order 3 1 2 1 2 1 3 0: 0x67 and 0x36.
// CHECK-DAG: a.codes: "0x100000006736"
// CHECK-DAG: a.counts: "0x1000000002"
// 0.125 (3000), 0.9 (3B33), 1.2 (3CCD), 2 (4000).
// CHECK-DAG: a.levels: "0x100000000030333BCD3C0040"
// LONG-DAG: a.codes: "0x100000006736"
// LONG-DAG: a.levels: "0x100000000030333BCD3C0040"
// MEAN: #llq.codebook<bits = 2, group = 0, tables = 2, symmetric = false>
// RANGE: for the --salient-columns option

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
      a: "0x04000000CDCCCC3DCDCC4CBE000000409A99193ECDCC4CBD0000803F9A9999BFCDCC4CBF"
    }
  }
#-}
