// The worked example of docs/methods/smoothquant.md: a = (2, 16, 2),
// w = (1, 0.25, 1) over the rows of q and k together.
//
// RUN: llq-opt %s --llq-smooth='alpha=0.5' | FileCheck %s --check-prefixes=CHECK,HALF
// RUN: llq-opt %s --llq-smooth | FileCheck %s --check-prefixes=CHECK,DEFAULT
// RUN: llq-opt %s --llq-smooth='alpha=0.85' | FileCheck %s --check-prefixes=CHECK,DEFAULT
// RUN: llq-opt %s --llq-smooth='alpha=1' | FileCheck %s --check-prefixes=CHECK,ALL
// RUN: llq-opt %s --llq-smooth='alpha=0.5' --llq-quantize-rtn='bits=4 group-size=0 scheme=signed scale-type=f32' | FileCheck %s --check-prefix=ROUNDED
// RUN: llq-opt %s --llq-smooth='alpha=0.5' --remarks-filter='llq-smooth' --remark-format=emitRemark 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: not llq-opt %s --llq-smooth='alpha=1.5' 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: not llq-opt %s --llq-smooth='alpha=search' 2>&1 | FileCheck %s --check-prefix=SAMPLES

// CHECK: %[[NORM:.*]] = llq.weight dense_resource<layers.0.self_attn.q_proj.norm> : tensor<3xf32>
// CHECK: llq.rms_norm %{{.*}}, %[[NORM]]
// Both layers share one vector. The other site, without a norm, stays.
// CHECK-DAG: llq.weight #llq.scaled<source = dense_resource<q> : tensor<1x3xf16>, columns = dense_resource<layers.0.self_attn.q_proj.columns> : tensor<3xf32>> : tensor<1x3xf32>
// CHECK-DAG: llq.weight #llq.scaled<source = dense_resource<k> : tensor<1x3xf32>, columns = dense_resource<layers.0.self_attn.q_proj.columns> : tensor<3xf32>> : tensor<1x3xf32>
// CHECK-DAG: llq.weight dense_resource<o> : tensor<3x1xf32>
// The norm's old weight is gone, the sources are not.
// CHECK-NOT: {{ g: }}

// s = 1.414214, 8, 1.414214, and the norm 1, 2, 3 over it.
// HALF-DAG: q_proj.columns: "0x10000000F304B53F00000041F304B53F"
// HALF-DAG: q_proj.norm: "0x10000000F304353F0000803EB7C30740"
// a / s = 1.414214, 2, 1.414214.
// HALF-DAG: q_proj.abs_max: "0x10000000F304B53F00000040F304B53F"
// s = 1.8025, 12.99604, 1.8025.
// DEFAULT-DAG: q_proj.columns: "0x100000005AB8E63FC6EF4F415AB8E63F"
// s = a.
// ALL-DAG: q_proj.columns: "0x10000000000000400000804100000040"
// ALL-DAG: q_proj.norm: "0x100000000000003F0000003E0000C03F"

// Codes 3 7 -5 and -7 -4 3, stored as unsigned with 8 in the middle.
// ROUNDED-DAG: q_proj.codes: "0x10000000FB03"
// ROUNDED-DAG: k_proj.codes: "0x10000000410B"

// REMARK: remark: [Analysis] Smoothed {{.*}}Alpha=5.000000e-01, LargestFactor=8.000000e+00, Layer=layers.0.self_attn.q_proj
// RANGE: --alpha option: '1.5' is neither 'search' nor a number from 0 to 1
// SAMPLES: has no calibration samples

func.func @forward(%x: tensor<?x3xf32>, %y: tensor<?x1xf32>)
    -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x3xf32>) {
  %g = llq.weight dense_resource<g> : tensor<3xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x3xf32>, tensor<3xf32>
  %wq = llq.weight dense_resource<q> : tensor<1x3xf16>
  %q = llq.linear "layers.0.self_attn.q_proj" %n, %wq {llq.stats = {
    tokens = 2 : i64, abs_max = dense<[2.0, 16.0, 2.0]> : tensor<3xf32>,
    mean_abs = dense<[1.5, 12.5, 1.6]> : tensor<3xf32>,
    mean_square = dense<[2.5, 168.5, 2.72]> : tensor<3xf32>}}
    : tensor<?x3xf32>, tensor<1x3xf16> -> tensor<?x1xf32>
  %wk = llq.weight dense_resource<k> : tensor<1x3xf32>
  %k = llq.linear "layers.0.self_attn.k_proj" %n, %wk : tensor<?x3xf32>, tensor<1x3xf32> -> tensor<?x1xf32>
  %wo = llq.weight dense_resource<o> : tensor<3x1xf32>
  %o = llq.linear "layers.0.self_attn.o_proj" %y, %wo : tensor<?x1xf32>, tensor<3x1xf32> -> tensor<?x3xf32>
  return %q, %k, %o : tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x3xf32>
}

{-#
  dialect_resources: {
    builtin: {
      // 1, 2, 3
      g: "0x040000000000803F0000004000004040",
      // 0.6, 0.25, -1 in f16
      q: "0x04000000CD38003400BC",
      // -1, -0.1, 0.45
      k: "0x04000000000080BFCDCCCCBD6666E63E",
      o: "0x040000000000803F0000004000004040"
    }
  }
#-}
