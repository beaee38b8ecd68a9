// Channels that hardly fire are taken for a hundredth of the mean, those that
// never do have s = 1: a = (4, 4e-6, 0, 4), the mean is 2.
//
// RUN: llq-opt %s --llq-smooth='alpha=1' --remarks-filter='llq-smooth' --remark-format=emitRemark 2>&1 | FileCheck %s

// CHECK: remark: [Analysis] Smoothed {{.*}}Layer=layers.0.self_attn.q_proj, QuietChannels=2
// CHECK: q_proj.columns: "0x100000000000804010D7A33C0000803F00008040"

func.func @forward(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
  %g = llq.weight dense_resource<g> : tensor<4xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x4xf32>, tensor<4xf32>
  %w = llq.weight dense_resource<w> : tensor<1x4xf32>
  %y = llq.linear "layers.0.self_attn.q_proj" %n, %w {llq.stats = {
    tokens = 1 : i64, abs_max = dense<[4.0, 4.0e-06, 0.0, 4.0]> : tensor<4xf32>,
    mean_abs = dense<1.0> : tensor<4xf32>, mean_square = dense<1.0> : tensor<4xf32>}}
    : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      g: "0x040000000000803F0000803F0000803F0000803F",
      w: "0x040000000000803F0000003F000080BF0000803E"
    }
  }
#-}
