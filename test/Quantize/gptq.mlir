// The worked example of three columns. Its inputs are (-2,1,1), (0,0,1),
// (2,0,-2), (0,1,-2), so that their second moment is
// (2,-0.5,-1.5; -0.5,0.5,-0.25; -1.5,-0.25,2.5). Scale 0.5, zero point 2.
//
// RUN: llq-opt %s --llq-quantize-gptq='bits=2 group-size=0 scale-type=f32' | FileCheck %s --check-prefixes=GRID,NATURAL
// RUN: llq-opt %s --llq-quantize-gptq='bits=2 group-size=0 scale-type=f32 block-size=1' | FileCheck %s --check-prefixes=GRID,NATURAL
// RUN: llq-opt %s --llq-quantize-gptq='bits=2 group-size=0 scale-type=f32 act-order=true' | FileCheck %s --check-prefixes=GRID,ORDER
// RUN: llq-opt %s --llq-quantize-gptq='bits=2 group-size=0 scale-type=f32 order=activation' | FileCheck %s --check-prefixes=GRID,ORDER
// RUN: llq-opt %s --llq-quantize-gptq='bits=2 group-size=0 scale-type=f32 order=group-aware' | FileCheck %s --check-prefixes=GRID,ORDER
// RUN: llq-opt %s --llq-quantize-gptq='bits=2 group-size=0 scale-type=f32 damp=1' | FileCheck %s --check-prefixes=GRID,DAMP
// RUN: not llq-opt %s --llq-quantize-gptq='damp=-1' 2>&1 | FileCheck %s --check-prefix=RANGE

// The statistics were of a layer that had its source weight.
// GRID: #llq.uniform<bits = 2, group = 0, zero = int, scale = f32>
// GRID-NOT: llq.stats
// GRID: name = "gptq"

// Rounding to nearest gives codes 1, 3, 0 and an error of 2.72 / 8.
// NATURAL-SAME: objective = 0.105{{.*}} : f64, objective_rtn = 0.11333{{.*}} : f64
// DAMP-SAME: options = "{{.*}}damp=1.000000e+00
// ORDER-SAME: objective = 0.013333{{.*}} : f64, objective_rtn = 0.11333{{.*}} : f64
// Codes 1, 2, 0 and 2, 3, 0, low bits first.
// NATURAL-DAG: a.codes: "0x1000000009"
// ORDER-DAG: a.codes: "0x100000000E"
// GRID-DAG: a.scales: "0x100000000000003F"
// GRID-DAG: a.zeros: "0x1000000002"
// RANGE: error: llq-quantize-gptq: damp is 0 to 1, found -1

func.func @forward(%x: tensor<?x3xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<a> : tensor<1x3xf32>
  %y = llq.linear "a" %x, %w {llq.stats = {
    tokens = 4 : i64, abs_max = dense<[2.0, 1.0, 2.0]> : tensor<3xf32>,
    mean_abs = dense<[1.0, 0.5, 1.5]> : tensor<3xf32>,
    mean_square = dense<[2.0, 0.5, 2.5]> : tensor<3xf32>,
    second_moment = dense<[[2.0, -0.5, -1.5], [-0.5, 0.5, -0.25],
                           [-1.5, -0.25, 2.5]]> : tensor<3x3xf32>}}
    : tensor<?x3xf32>, tensor<1x3xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      // -0.3, 0.3, -1.2
      a: "0x040000009A9999BE9A99993E9A9999BF"
    }
  }
#-}
