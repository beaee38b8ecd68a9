// A decoder block, with grouped heads and biases, and a head of its own: all
// but the inputs of the down projection is rotated by weights.
//
// RUN: llq-opt %s --split-input-file --llq-rotate | FileCheck %s --check-prefixes=CHECK,ALL
// RUN: llq-opt %s --split-input-file --llq-rotate='seed=7 residual=false' | FileCheck %s --check-prefix=PARTS
// RUN: llq-opt %s --split-input-file --llq-rotate='values=false down=false' | FileCheck %s --check-prefix=STREAM
// RUN: llq-opt %s --split-input-file --llq-rotate --remarks-filter='llq-rotate' --remark-format=emitRemark 2>&1 | FileCheck %s --check-prefix=REMARK

// CHECK-LABEL: @forward
// The table keeps its type.
// CHECK: llq.weight #llq.rotated<source = dense_resource<e> : tensor<4x16xf16>, input = <kind = hadamard, size = 16, seed = 1>> : tensor<4x16xf16>
// CHECK: llq.embedding
// CHECK: %[[ONES:.*]] = llq.weight dense_resource<layers.0.self_attn.q_proj.norm> : tensor<16xf32>
// CHECK: llq.rms_norm %{{.*}}, %[[ONES]]
// Both take the gains of one vector.
// CHECK: llq.weight #llq.rotated<source = #llq.scaled<source = dense_resource<q> : tensor<16x16xf16>, columns = dense_resource<layers.0.self_attn.q_proj.columns> : tensor<16xf32>> : tensor<16x16xf32>, input = <kind = hadamard, size = 16, seed = 1>> : tensor<16x16xf32>
// CHECK: llq.linear "layers.0.self_attn.q_proj" {{.*}}{llq.prepared = [{name = "rotate", seed = 1.000000e+00 : f64}]}
// CHECK: llq.weight #llq.rotated<source = #llq.scaled<source = dense_resource<v> : tensor<8x16xf16>, columns = dense_resource<layers.0.self_attn.q_proj.columns> : tensor<16xf32>> : tensor<8x16xf32>, input = <kind = hadamard, size = 16, seed = 1>, output = <kind = hadamard, size = 8, seed = 1>> : tensor<8x16xf32>
// CHECK: llq.weight dense_resource<layers.0.self_attn.v_proj.bias> : tensor<8xf32>
// CHECK: %[[A:.*]] = llq.attention
// Heads of queries share the basis of their head of values.
// CHECK: llq.weight #llq.rotated<source = dense_resource<o> : tensor<16x16xf16>, input = <kind = hadamard, size = 8, seed = 1>, output = <kind = hadamard, size = 16, seed = 1>> : tensor<16x16xf32>
// CHECK: llq.linear "layers.0.self_attn.o_proj" %[[A]]
// CHECK: llq.rms_norm
// CHECK: %[[S:.*]] = llq.swiglu
// There is no Hadamard matrix of 24 channels with runs that a kernel takes.
// CHECK: %[[D:.*]] = llq.rotate %[[S]] by <kind = kronecker, size = 24, seed = 1> : tensor<?x24xf32>
// CHECK: llq.weight #llq.rotated<source = dense_resource<d> : tensor<16x24xf16>, input = <kind = kronecker, size = 24, seed = 1>, output = <kind = hadamard, size = 16, seed = 1>> : tensor<16x24xf32>
// CHECK: llq.linear "layers.0.mlp.down_proj" %[[D]]
// CHECK: llq.rms_norm
// CHECK: llq.weight #llq.rotated<source = #llq.scaled<source = dense_resource<h> : tensor<4x16xf16>, columns = dense_resource<lm_head.columns> : tensor<16xf32>> : tensor<4x16xf32>, input = <kind = hadamard, size = 16, seed = 1>> : tensor<4x16xf16>
// CHECK-NOT: llq.rotate{{ }}
// CHECK: return

// 1, 2, 1, 2, ...; what was g is gone.
// ALL-NOT: {{ g: }}
// ALL-DAG: layers.0.self_attn.q_proj.columns: "0x100000000000803F000000400000803F
// ALL-DAG: layers.0.self_attn.q_proj.norm: "0x100000000000803F0000803F0000803F
// ALL-DAG: lm_head.norm: "0x100000000000803F0000803F0000803F

// PARTS-LABEL: @forward
// PARTS: llq.weight dense_resource<e>
// PARTS: %[[G:.*]] = llq.weight dense_resource<g> : tensor<16xf32>
// PARTS: llq.rms_norm %{{.*}}, %[[G]]
// PARTS: llq.weight dense_resource<q>
// PARTS: llq.weight #llq.rotated<source = dense_resource<v> : tensor<8x16xf16>, output = <kind = hadamard, size = 8, seed = 7>> : tensor<8x16xf32>
// PARTS: llq.weight #llq.rotated<source = dense_resource<o> : tensor<16x16xf16>, input = <kind = hadamard, size = 8, seed = 7>> : tensor<16x16xf32>
// PARTS: llq.weight #llq.rotated<source = dense_resource<d> : tensor<16x24xf16>, input = <kind = kronecker, size = 24, seed = 7>> : tensor<16x24xf32>
// PARTS: llq.weight dense_resource<h>

// STREAM-LABEL: @forward
// STREAM: llq.weight #llq.rotated<source = dense_resource<o> : tensor<16x16xf16>, output = <kind = hadamard, size = 16, seed = 1>> : tensor<16x16xf32>
// STREAM-NOT: llq.rotate{{ }}
// STREAM: llq.weight #llq.rotated<source = dense_resource<d> : tensor<16x24xf16>, output = <kind = hadamard, size = 16, seed = 1>> : tensor<16x24xf32>

// REMARK: [Analysis] Rotated {{.*}}AtRunTime=0, Kind=hadamard, Size=16, What=residual
// REMARK: [Analysis] Rotated {{.*}}AtRunTime=0, Kind=hadamard, Size=8, What=values
// REMARK: [Analysis] Rotated {{.*}}AtRunTime=1, Kind=kronecker, Size=24, What=down

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
  %e = llq.weight dense_resource<e> : tensor<4x16xf16>
  %x = llq.embedding %ids, %e : tensor<?xi32>, tensor<4x16xf16> -> tensor<?x16xf32>
  %g = llq.weight dense_resource<g> : tensor<16xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x16xf32>, tensor<16xf32>
  %wq = llq.weight dense_resource<q> : tensor<16x16xf16>
  %q = llq.linear "layers.0.self_attn.q_proj" %n, %wq : tensor<?x16xf32>, tensor<16x16xf16> -> tensor<?x16xf32>
  %wk = llq.weight dense_resource<k> : tensor<8x16xf16>
  %k = llq.linear "layers.0.self_attn.k_proj" %n, %wk : tensor<?x16xf32>, tensor<8x16xf16> -> tensor<?x8xf32>
  %wv = llq.weight dense_resource<v> : tensor<8x16xf16>
  %bv = llq.weight dense_resource<b> : tensor<8xf32>
  %v = llq.linear "layers.0.self_attn.v_proj" %n, %wv bias %bv : tensor<8xf32> : tensor<?x16xf32>, tensor<8x16xf16> -> tensor<?x8xf32>
  %a = llq.attention %q, %k, %v, %past {layer = 0 : i64, heads = 2 : i64, kv_heads = 1 : i64, scale = 0.25 : f32} : tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x16xf32>
  %wo = llq.weight dense_resource<o> : tensor<16x16xf16>
  %o = llq.linear "layers.0.self_attn.o_proj" %a, %wo : tensor<?x16xf32>, tensor<16x16xf16> -> tensor<?x16xf32>
  %y = llq.add %x, %o : tensor<?x16xf32>
  %m = llq.rms_norm %y, %g {epsilon = 1.0e-05 : f32} : tensor<?x16xf32>, tensor<16xf32>
  %wg = llq.weight dense_resource<gate> : tensor<24x16xf16>
  %gate = llq.linear "layers.0.mlp.gate_proj" %m, %wg : tensor<?x16xf32>, tensor<24x16xf16> -> tensor<?x24xf32>
  %wu = llq.weight dense_resource<up> : tensor<24x16xf16>
  %up = llq.linear "layers.0.mlp.up_proj" %m, %wu : tensor<?x16xf32>, tensor<24x16xf16> -> tensor<?x24xf32>
  %s = llq.swiglu %gate, %up : tensor<?x24xf32>
  %wd = llq.weight dense_resource<d> : tensor<16x24xf16>
  %d = llq.linear "layers.0.mlp.down_proj" %s, %wd : tensor<?x24xf32>, tensor<16x24xf16> -> tensor<?x16xf32>
  %z = llq.add %y, %d : tensor<?x16xf32>
  %f = llq.rms_norm %z, %g {epsilon = 1.0e-05 : f32} : tensor<?x16xf32>, tensor<16xf32>
  %wh = llq.weight dense_resource<h> : tensor<4x16xf16>
  %h = llq.linear "lm_head" %f, %wh : tensor<?x16xf32>, tensor<4x16xf16> -> tensor<?x4xf32>
  return %h : tensor<?x4xf32>
}

{-#
  dialect_resources: {
    builtin: {
      b: "0x040000000000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F",
      g: "0x040000000000803F000000400000803F000000400000803F000000400000803F000000400000803F000000400000803F000000400000803F000000400000803F00000040"
    }
  }
#-}

// -----

// One table for the embedding and the head stays, and the last norm keeps its
// gains; so does a norm that is read by others than layers. What is added that
// is no layer's alone is rotated at run time too, once for all that read it.

// CHECK-LABEL: @forward
// CHECK: %[[E:.*]] = llq.weight dense_resource<e>
// CHECK: %[[X:.*]] = llq.embedding %{{.*}}, %[[E]]
// CHECK: %[[R:.*]] = llq.rotate %[[X]] by <kind = hadamard, size = 16, seed = 1> : tensor<?x16xf32>
// CHECK: %[[P:.*]] = llq.rotate %[[R]] by <kind = hadamard, size = 16, seed = 1> transposed
// CHECK: %[[G:.*]] = llq.weight dense_resource<g>
// CHECK: %[[N:.*]] = llq.rms_norm %[[P]], %[[G]]
// CHECK: llq.weight dense_resource<u>
// CHECK: %[[U:.*]] = llq.linear "layers.0.a" %[[N]]
// CHECK: %[[V:.*]] = llq.rotate %[[U]] by <kind = hadamard, size = 16, seed = 1> : tensor<?x16xf32>
// CHECK: %[[Y:.*]] = llq.add %[[R]], %[[V]]
// CHECK: llq.weight #llq.rotated<source = dense_resource<w> : tensor<16x16xf16>, output = <kind = hadamard, size = 16, seed = 1>>
// CHECK: llq.weight dense_resource<layers.0.b.bias> : tensor<16xf32>
// CHECK: %[[B:.*]] = llq.linear "layers.0.b" %[[U]]
// CHECK: %[[Z:.*]] = llq.add %[[Y]], %[[B]]
// CHECK: %[[T:.*]] = llq.rotate %[[Z]] by <kind = hadamard, size = 16, seed = 1> transposed
// CHECK: %[[F:.*]] = llq.rms_norm %[[T]], %[[G]]
// CHECK: %[[H:.*]] = llq.linear "lm_head" %[[F]], %[[E]]
// CHECK: return %[[H]], %[[N]], %[[T]]

// REMARK: [Analysis] Rotated {{.*}}AtRunTime=5, Kind=hadamard, Size=16, What=residual
// REMARK: [Missed] NotFolded {{.*}}Channels=16, Reason="the table is quantized, or the head's too"
// REMARK: [Missed] NotFolded {{.*}}Channels=16, Reason="what is added is no layer's result
// REMARK: [Missed] NotFolded {{.*}}Channels=16, Reason="it is no norm read by nothing but layers

func.func @forward(%ids: tensor<?xi32>, %past: index) -> (tensor<?x4xf32>, tensor<?x16xf32>, tensor<?x16xf32>) {
  %e = llq.weight dense_resource<e> : tensor<4x16xf16>
  %x = llq.embedding %ids, %e : tensor<?xi32>, tensor<4x16xf16> -> tensor<?x16xf32>
  %g = llq.weight dense_resource<g> : tensor<16xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x16xf32>, tensor<16xf32>
  %wa = llq.weight dense_resource<u> : tensor<16x16xf16>
  %a = llq.linear "layers.0.a" %n, %wa : tensor<?x16xf32>, tensor<16x16xf16> -> tensor<?x16xf32>
  %y = llq.add %x, %a : tensor<?x16xf32>
  %wb = llq.weight dense_resource<w> : tensor<16x16xf16>
  %b = llq.weight dense_resource<b> : tensor<16xf32>
  %l = llq.linear "layers.0.b" %a, %wb bias %b : tensor<16xf32> : tensor<?x16xf32>, tensor<16x16xf16> -> tensor<?x16xf32>
  %z = llq.add %y, %l : tensor<?x16xf32>
  %f = llq.rms_norm %z, %g {epsilon = 1.0e-05 : f32} : tensor<?x16xf32>, tensor<16xf32>
  %h = llq.linear "lm_head" %f, %e : tensor<?x16xf32>, tensor<4x16xf16> -> tensor<?x4xf32>
  return %h, %n, %z : tensor<?x4xf32>, tensor<?x16xf32>, tensor<?x16xf32>
}

{-#
  dialect_resources: {
    builtin: {
      b: "0x040000000000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F0000803F",
      g: "0x040000000000803F000000400000803F000000400000803F000000400000803F000000400000803F000000400000803F000000400000803F000000400000803F00000040"
    }
  }
#-}
