// What gptq makes of inputs that say little: each layer's record tells.
//
// RUN: llq-opt %s --llq-quantize-gptq='bits=2 group-size=0 scale-type=f32 damp=0' | FileCheck %s
// RUN: llq-opt %s --llq-quantize-gptq='bits=2 group-size=0 scale-type=f32 damp=0 act-order=true' | FileCheck %s --check-prefix=ORDER
// RUN: llq-opt %s --llq-quantize-rtn='bits=2 group-size=0 scale-type=f32' | FileCheck %s --check-prefix=NEAREST

// One token: damping is raised until there is a factor.
// CHECK: llq.linear "one_token" {{.*}}damp = 1.000000e-04 : f64
// CHECK-NOT: dead_channels
// Entries that no inputs have together, which only the factorization sees.
// CHECK: llq.linear "indefinite" {{.*}}damp = {{[^0].*}} : f64
// CHECK-NOT: dead_channels
// CHECK: llq.linear "denormal" {{.*}}damp = 0.000000e+00 : f64
// CHECK-NOT: dead_channels
// The weight of a channel that never fires becomes zero.
// CHECK: llq.linear "dead" {{.*}}dead_channels = 1.000000e+00 : f64
// Where none does, nothing is known, and weights are rounded to nearest.
// CHECK: llq.linear "all_dead" {{.*}}dead_channels = 3.000000e+00 : f64
// CHECK-NOT: objective

// ORDER: llq.linear "one_token" {{.*}}damp = 1.000000e-04 : f64
// ORDER: llq.linear "all_dead" {{.*}}dead_channels = 3.000000e+00 : f64

// -0.3, 0.3, -1.2 with scale 0.5 and zero point 2: codes 1, 3, 0. In "dead" the
// middle one is 2.
// NEAREST-DAG: all_dead.codes: "0x100000000D"
// CHECK-DAG: all_dead.codes: "0x100000000D"
// ORDER-DAG: all_dead.codes: "0x100000000D"
// CHECK-DAG: dead.codes: "0x1000000009"

func.func @forward(%x: tensor<?x3xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>) {
  %a = llq.weight dense_resource<a> : tensor<1x3xf32>
  %b = llq.weight dense_resource<b> : tensor<1x3xf32>
  %c = llq.weight dense_resource<c> : tensor<1x3xf32>
  %d = llq.weight dense_resource<d> : tensor<1x3xf32>
  %e = llq.weight dense_resource<e> : tensor<1x3xf32>
  %y0 = llq.linear "one_token" %x, %a {llq.stats = {
    tokens = 1 : i64, abs_max = dense<[1.0, 2.0, 3.0]> : tensor<3xf32>,
    mean_abs = dense<[1.0, 2.0, 3.0]> : tensor<3xf32>, mean_square = dense<[1.0, 4.0, 9.0]> : tensor<3xf32>,
    second_moment = dense<[[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 6.0, 9.0]]> : tensor<3x3xf32>}}
    : tensor<?x3xf32>, tensor<1x3xf32> -> tensor<?x1xf32>
  %x1 = llq.add %x, %x : tensor<?x3xf32>
  %y1 = llq.linear "indefinite" %x1, %b {llq.stats = {
    tokens = 9 : i64, abs_max = dense<1.0> : tensor<3xf32>,
    mean_abs = dense<1.0> : tensor<3xf32>, mean_square = dense<1.0> : tensor<3xf32>,
    second_moment = dense<[[1.0, 0.9, 0.9], [0.9, 1.0, -0.9], [0.9, -0.9, 1.0]]> : tensor<3x3xf32>}}
    : tensor<?x3xf32>, tensor<1x3xf32> -> tensor<?x1xf32>
  %x2 = llq.add %x1, %x : tensor<?x3xf32>
  %y2 = llq.linear "denormal" %x2, %c {llq.stats = {
    tokens = 9 : i64, abs_max = dense<1.0e-20> : tensor<3xf32>,
    mean_abs = dense<1.0e-20> : tensor<3xf32>, mean_square = dense<1.0e-40> : tensor<3xf32>,
    second_moment = dense<[[1.0e-40, 0.0, 0.0], [0.0, 2.0e-40, 0.0], [0.0, 0.0, 3.0e-40]]> : tensor<3x3xf32>}}
    : tensor<?x3xf32>, tensor<1x3xf32> -> tensor<?x1xf32>
  %x3 = llq.add %x2, %x : tensor<?x3xf32>
  %y3 = llq.linear "dead" %x3, %d {llq.stats = {
    tokens = 9 : i64, abs_max = dense<[1.0, 0.0, 1.0]> : tensor<3xf32>,
    mean_abs = dense<[1.0, 0.0, 1.0]> : tensor<3xf32>, mean_square = dense<[1.0, 0.0, 1.0]> : tensor<3xf32>,
    second_moment = dense<[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]> : tensor<3x3xf32>}}
    : tensor<?x3xf32>, tensor<1x3xf32> -> tensor<?x1xf32>
  %x4 = llq.add %x3, %x : tensor<?x3xf32>
  %y4 = llq.linear "all_dead" %x4, %e {llq.stats = {
    tokens = 9 : i64, abs_max = dense<0.0> : tensor<3xf32>,
    mean_abs = dense<0.0> : tensor<3xf32>, mean_square = dense<0.0> : tensor<3xf32>,
    second_moment = dense<0.0> : tensor<3x3xf32>}}
    : tensor<?x3xf32>, tensor<1x3xf32> -> tensor<?x1xf32>
  return %y0, %y1, %y2, %y3, %y4 : tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      a: "0x040000009A9999BE9A99993E9A9999BF",
      b: "0x040000009A9999BE9A99993E9A9999BF",
      c: "0x040000009A9999BE9A99993E9A9999BF",
      d: "0x040000009A9999BE9A99993E9A9999BF",
      e: "0x040000009A9999BE9A99993E9A9999BF"
    }
  }
#-}
