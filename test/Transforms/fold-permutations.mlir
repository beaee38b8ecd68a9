// RUN: llq-opt %s --llq-fold-permutations --split-input-file | FileCheck %s -enable-var-scope
// RUN: llq-opt %s --llq-fold-permutations --split-input-file --remarks-filter='llq-fold.*' --remark-format=emitRemark -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Through the gated activation into the rows of gate and up, whether quantized
// or not, and their bias.

// CHECK-LABEL: func.func @gated
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x2xf32>
// CHECK-NOT: llq.permute_channels
// CHECK-DAG: %[[G:.*]] = llq.quantized_weight
// CHECK-DAG: %[[U:.*]] = llq.weight dense_resource<[[UP:up.*]]> : tensor<4x2xf16>
// CHECK-DAG: %[[B:.*]] = llq.weight dense_resource<[[BIAS:bias.*]]> : tensor<4xf16>
// CHECK: %[[GATE:.*]] = llq.linear "gate" %[[X]], %[[G]] {method = {name = "rtn"}}
// CHECK: %[[UPPED:.*]] = llq.linear "up" %[[X]], %[[U]] bias %[[B]]
// CHECK: %[[S:.*]] = llq.swiglu %[[GATE]], %[[UPPED]]
// CHECK: llq.linear "down" %[[S]],
// CHECK: llq.linear "other" %[[S]],
// Rows 2, 0, 3, 1.
// CHECK-DAG: [[UP]]: "0x1000000031323334111213144142434421222324"
// CHECK-DAG: gate.codes: "0x1000000003010402"
// CHECK-DAG: gate.scales: "0x100000003333111144442222"
// CHECK-DAG: [[BIAS]]: "0x100000000303010104040202"

!q = !llq.quantized<4x2, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
func.func @gated(%x: tensor<?x2xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>) {
  %wg = llq.quantized_weight {codes = dense_resource<gate> : tensor<4x1xi8>, scales = dense_resource<scales> : tensor<4x1xf16>} : !q
  %wu = llq.weight dense_resource<up> : tensor<4x2xf16>
  %b = llq.weight dense_resource<bias> : tensor<4xf16>
  %wd = llq.weight dense_resource<down> : tensor<1x4xf16>
  %g = llq.linear "gate" %x, %wg {method = {name = "rtn"}} : tensor<?x2xf32>, !q -> tensor<?x4xf32>
  %u = llq.linear "up" %x, %wu bias %b : tensor<4xf16> : tensor<?x2xf32>, tensor<4x2xf16> -> tensor<?x4xf32>
  %s = llq.swiglu %g, %u : tensor<?x4xf32>
  %p = llq.permute_channels %s by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
  %y = llq.linear "down" %p, %wd : tensor<?x4xf32>, tensor<1x4xf16> -> tensor<?x1xf32>
  %z = llq.linear "other" %p, %wd : tensor<?x4xf32>, tensor<1x4xf16> -> tensor<?x1xf32>
  return %y, %z : tensor<?x1xf32>, tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      gate: "0x0100000001020304",
      scales: "0x020000001111222233334444",
      up: "0x0200000011121314212223243132333441424344",
      bias: "0x020000000101020203030404",
      down: "0x020000001111222233334444"
    }
  }
#-}

// -----

// A weight that another layer shares keeps its rows there.

// CHECK-LABEL: func.func @shared
// CHECK-DAG: %[[W:.*]] = llq.weight dense_resource<w> : tensor<2x2xf16>
// CHECK-DAG: %[[V:.*]] = llq.weight dense_resource<[[NEW:w_.*]]> : tensor<2x2xf16>
// CHECK: %[[A:.*]] = llq.linear "a" %{{.*}}, %[[V]]
// CHECK: %[[B:.*]] = llq.linear "b" %{{.*}}, %[[W]]
// CHECK: return %[[A]], %[[B]]
// CHECK-DAG: w: "0x{{..}}0000001111222233334444"
// CHECK-DAG: [[NEW]]: "0x100000003333444411112222"
func.func @shared(%x: tensor<?x2xf32>) -> (tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = llq.weight dense_resource<w> : tensor<2x2xf16>
  %a = llq.linear "a" %x, %w : tensor<?x2xf32>, tensor<2x2xf16> -> tensor<?x2xf32>
  %b = llq.linear "b" %x, %w : tensor<?x2xf32>, tensor<2x2xf16> -> tensor<?x2xf32>
  %p = llq.permute_channels %a by dense<[1, 0]> : tensor<2xi32> : tensor<?x2xf32>
  return %p, %b : tensor<?x2xf32>, tensor<?x2xf32>
}

{-#
  dialect_resources: {
    builtin: {
      w: "0x020000001111222233334444"
    }
  }
#-}

// -----

// What others read stays as it is; a norm, attention and views of files keep
// their channels.

// CHECK-LABEL: func.func @kept
// CHECK-COUNT-5: llq.permute_channels
// CHECK-NOT: llq.permute_channels
// REMARK-COUNT-5: NotFolded{{.*}}Channels=2
// REMARK-NOT: NotFolded{{.*}}Channels=2
func.func @kept(%x: tensor<?x2xf32>, %past: index) -> (tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>) {
  %w = llq.weight dense_resource<w> : tensor<2x2xf16>
  %g = llq.weight dense_resource<g> : tensor<2xf16>
  %f = llq.weight #llq.external<"/m/model.data", offset = 0, strides = [2, 1], fileSize = 65536, modified = 0> : tensor<2x2xf16>
  %read = llq.linear "read" %x, %w : tensor<?x2xf32>, tensor<2x2xf16> -> tensor<?x2xf32>
  %a = llq.permute_channels %read by dense<[1, 0]> : tensor<2xi32> : tensor<?x2xf32>
  %norm = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf16>
  %b = llq.permute_channels %norm by dense<[1, 0]> : tensor<2xi32> : tensor<?x2xf32>
  %attention = llq.attention %x, %x, %x, %past {layer = 0, heads = 1, kv_heads = 1, scale = 0.5 : f32} : tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32> -> tensor<?x2xf32>
  %c = llq.permute_channels %attention by dense<[1, 0]> : tensor<2xi32> : tensor<?x2xf32>
  %gate = llq.linear "gate" %x, %f : tensor<?x2xf32>, tensor<2x2xf16> -> tensor<?x2xf32>
  %up = llq.linear "up" %x, %w : tensor<?x2xf32>, tensor<2x2xf16> -> tensor<?x2xf32>
  %gated = llq.swiglu %gate, %up : tensor<?x2xf32>
  %d = llq.permute_channels %gated by dense<[1, 0]> : tensor<2xi32> : tensor<?x2xf32>
  %e = llq.permute_channels %x by dense<[1, 0]> : tensor<2xi32> : tensor<?x2xf32>
  return %read, %a, %b, %c, %d, %e : tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// Two in a row are one.

// CHECK-LABEL: func.func @composed
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x3xf32>
// CHECK-NEXT: %[[Y:.*]] = llq.permute_channels %[[X]] by dense<[2, 0, 1]>
// CHECK-NEXT: return %[[Y]], %[[X]]
func.func @composed(%x: tensor<?x3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %a = llq.permute_channels %x by dense<[1, 2, 0]> : tensor<3xi32> : tensor<?x3xf32>
  %b = llq.permute_channels %a by dense<[1, 2, 0]> : tensor<3xi32> : tensor<?x3xf32>
  %c = llq.permute_channels %x by dense<[0, 1, 2]> : tensor<3xi32> : tensor<?x3xf32>
  return %b, %c : tensor<?x3xf32>, tensor<?x3xf32>
}

// -----

// Sizes are all that a dry run looks at: weights have no values.

// CHECK-LABEL: func.func @sketch
// CHECK-NOT: llq.permute_channels
module attributes {llq.sketch} {
  func.func @sketch(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
    %w = llq.weight dense_resource<nowhere> : tensor<2x2xf16>
    %a = llq.linear "a" %x, %w : tensor<?x2xf32>, tensor<2x2xf16> -> tensor<?x2xf32>
    %p = llq.permute_channels %a by dense<[1, 0]> : tensor<2xi32> : tensor<?x2xf32>
    return %p : tensor<?x2xf32>
  }
}
