// Inputs that are always zero: no scales, the full range, and rounding to nearest.
//
// RUN: llq-opt %s --llq-quantize-awq='bits=2 group-size=0 scale-type=f32' | FileCheck %s
// RUN: llq-opt %s --llq-quantize-rtn='bits=2 group-size=0 scale-type=f32' | FileCheck %s --check-prefix=NEAREST

// CHECK: llq.linear "a" {{.*}}alpha = 0.000000e+00 : f64, {{.*}}cost_ratio = 1.000000e+00 : f64, dead_channels = 3.000000e+00 : f64
// CHECK-DAG: a.codes: "0x100000000D"
// CHECK-DAG: a.scales: "0x100000000000003F"
// NEAREST-DAG: a.codes: "0x100000000D"
// NEAREST-DAG: a.scales: "0x100000000000003F"

func.func @forward(%x: tensor<?x3xf32>) -> tensor<?x1xf32> {
  %g = llq.weight dense_resource<norm> : tensor<3xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x3xf32>, tensor<3xf32>
  %w = llq.weight dense_resource<w> : tensor<1x3xf32>
  %y = llq.linear "a" %n, %w {llq.stats = {
    tokens = 9 : i64, abs_max = dense<0.0> : tensor<3xf32>,
    mean_abs = dense<0.0> : tensor<3xf32>, mean_square = dense<0.0> : tensor<3xf32>,
    second_moment = dense<0.0> : tensor<3x3xf32>}}
    : tensor<?x3xf32>, tensor<1x3xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      norm: "0x04000000000000000000000000000000",
      // -0.3, 0.3, -1.2
      w: "0x040000009A9999BE9A99993E9A9999BF"
    }
  }
#-}
