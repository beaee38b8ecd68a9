// Errors weighted by the mean square of inputs. 1.0, 0.3, -0.2, -1.0 in 2 bits:
// the range -1 to 1 has a step of 2/3. Where only the two channels in the middle
// are active, the ends are given up for a step that fits 0.3 and -0.2.
//
// RUN: llq-opt %s --llq-quantize-rtn='bits=2 group-size=0 scale-type=f32 importance=true only=a' | FileCheck %s
// RUN: llq-opt %s --llq-quantize-rtn='bits=2 group-size=0 scale-type=f32 only=a' | FileCheck %s --check-prefix=PLAIN
// RUN: llq-opt %s --llq-quantize-rtn='bits=2 group-size=0 scale-type=f32 importance=true only=silent,equal' | FileCheck %s --check-prefix=SILENT
// RUN: not llq-opt %s --llq-quantize-rtn='bits=2 importance=true only=b' 2>&1 | FileCheck %s --check-prefix=NONE

// CHECK: importance=true
// CHECK-DAG: a.codes: "0x100000000B"
// 0.251, so that 0.3 and -0.2 become 0.251 and -0.251.
// CHECK-DAG: a.scales: "0x100000002A89803E"
// PLAIN: importance=false
// PLAIN-DAG: a.scales: "0x10000000ABAA2A3F"
// Where no channel ever fires, all count the same.
// SILENT: llq.linear "silent" {{.*}}dead_channels = 4.000000e+00 : f64
// SILENT: silent.scales: "[[SCALE:.*]]"
// SILENT: equal.scales: "[[SCALE]]"
// NONE: error: {{.*}}has no calibration samples

func.func @forward(%x: tensor<?x4xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>) {
  %w = llq.weight dense_resource<a> : tensor<1x4xf32>
  %y = llq.linear "a" %x, %w {llq.stats = {
    tokens = 4 : i64, abs_max = dense<1.0> : tensor<4xf32>,
    mean_abs = dense<1.0> : tensor<4xf32>,
    mean_square = dense<[0.0, 1.0, 1.0, 0.0]> : tensor<4xf32>}}
    : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  %v = llq.weight dense_resource<b> : tensor<1x4xf32>
  %z = llq.linear "b" %x, %v : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  %s = llq.weight dense_resource<c> : tensor<1x4xf32>
  %u = llq.linear "silent" %x, %s {llq.stats = {
    tokens = 4 : i64, abs_max = dense<0.0> : tensor<4xf32>,
    mean_abs = dense<0.0> : tensor<4xf32>, mean_square = dense<0.0> : tensor<4xf32>}}
    : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  %x2 = llq.add %x, %x : tensor<?x4xf32>
  %e = llq.weight dense_resource<d> : tensor<1x4xf32>
  %t = llq.linear "equal" %x2, %e {llq.stats = {
    tokens = 4 : i64, abs_max = dense<3.0> : tensor<4xf32>,
    mean_abs = dense<3.0> : tensor<4xf32>, mean_square = dense<9.0> : tensor<4xf32>}}
    : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  return %y, %z : tensor<?x1xf32>, tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      a: "0x040000000000803F9A99993ECDCC4CBE000080BF",
      b: "0x040000000000803F9A99993ECDCC4CBE000080BF",
      c: "0x040000000000803F9A99993ECDCC4CBE000080BF",
      d: "0x040000000000803F9A99993ECDCC4CBE000080BF"
    }
  }
#-}
