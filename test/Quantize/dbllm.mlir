// Example B of the scales: s = max|w| / 2 = 0.8 gives bits b1 = 00001111 and
// b2 = 11001110, to which the best scales are 1.509091 and -0.845455; the bits
// stay. In f16 1.508789 (3E09) and -0.845215 (BAC3). An identity as second
// moment compensates nothing.
//
// RUN: llq-opt %s --llq-quantize-dbllm='group-size=0 search=false' | FileCheck %s
// RUN: llq-opt %s --llq-quantize-dbllm='group-size=0 search=false compensate=false' | FileCheck %s
// RUN: llq-opt %s --llq-quantize-dbllm='group-size=0 search=false rounds=0 refit=false' | FileCheck %s --check-prefix=START
// RUN: not llq-opt %s --llq-quantize-dbllm='damp=2' 2>&1 | FileCheck %s --check-prefix=RANGE

// CHECK: #llq.planes<count = 2, group = 0, offset = false>
// CHECK-NOT: llq.stats
// CHECK: llq.linear "a" {{.*}}name = "dbllm"
// CHECK-DAG: a.planes: "0x10000000F073"
// CHECK-DAG: a.scales: "0x10000000093EC3BA"
// 1.6 (3E66) and -0.8 (BA66).
// START-DAG: a.planes: "0x10000000F073"
// START-DAG: a.scales: "0x10000000663E66BA"
// RANGE: error: llq-quantize-dbllm: damp is 0 to 1, found 2

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
      // -0.9, -0.7, -0.2, 0.1, 0.5, 0.6, 0.8, 1.6
      a: "0x04000000666666BF333333BFCDCC4CBECDCCCC3D0000003F9A99193FCDCC4C3FCDCCCC3F"
    }
  }
#-}
