// Blobs inside of attributes survive bytecode, from a pipe and from a file.
// RUN: llq-opt %s --emit-bytecode | llq-opt | FileCheck %s
// RUN: llq-opt %s --emit-bytecode -o %t.mlirbc && llq-opt %t.mlirbc | FileCheck %s

// CHECK: content = #llq.packed<"target", interleaved = false, [<name = "l", type = tensor<1x1xf32>, components = {values = dense_resource<w> : tensor<1x1xf32>}, method = {name = "rtn"}>, <name = "m", type = tensor<1x1xf32>, components = {values = dense_resource<w> : tensor<1x1xf32>}>]>
// CHECK: content = #llq.padded_vector<16, [dense_resource<v> : tensor<1xf32>, array<f32: 1.000000e+00>]>
// CHECK: llq.weight #llq.scaled<source = #llq.scaled<source = dense_resource<w> : tensor<1x1xf32>, rows = dense_resource<v> : tensor<1xf32>> : tensor<1x1xf32>, columns = dense_resource<s> : tensor<1xf32>, clip = dense_resource<c> : tensor<1x1xf32>, group = 4> : tensor<1x1xf32>
// CHECK: llq.weight #llq.rotated<source = dense_resource<t> : tensor<2x1xf16>, output = <kind = hadamard, size = 2, seed = 3>> : tensor<2x1xf32>
// CHECK-DAG: c: "0x1000000000004040"
// CHECK-DAG: s: "0x1000000000008040"
// CHECK-DAG: t: "0x02000000003C0040"
// CHECK-DAG: v: "0x1000000000000040"
// CHECK-DAG: w: "0x100000000000803F"
llq.program @decode max_tokens = 1 {
  %w = llq.buffer weight "w" {bytes = 8, content = #llq.packed<"target", interleaved = false, [
    <name = "l", type = tensor<1x1xf32>, components = {values = dense_resource<w> : tensor<1x1xf32>}, method = {name = "rtn"}>,
    <name = "m", type = tensor<1x1xf32>, components = {values = dense_resource<w> : tensor<1x1xf32>}>]>}
  %v = llq.buffer weight "v" {bytes = 128, content = #llq.padded_vector<16, [dense_resource<v> : tensor<1xf32>, array<f32: 1.0>]>}
}

func.func @computed_weights() {
  %w = llq.weight #llq.scaled<source = #llq.scaled<source = dense_resource<w> : tensor<1x1xf32>, rows = dense_resource<v> : tensor<1xf32>> : tensor<1x1xf32>, columns = dense_resource<s> : tensor<1xf32>, clip = dense_resource<c> : tensor<1x1xf32>, group = 4> : tensor<1x1xf32>
  %r = llq.weight #llq.rotated<source = dense_resource<t> : tensor<2x1xf16>, output = <kind = hadamard, size = 2, seed = 3>> : tensor<2x1xf32>
  return
}

{-#
  dialect_resources: {
    builtin: {
      c: "0x1000000000004040",
      s: "0x1000000000008040",
      t: "0x02000000003C0040",
      v: "0x1000000000000040",
      w: "0x100000000000803F"
    }
  }
#-}
