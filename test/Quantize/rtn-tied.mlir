// An embedding and a head that share a table are chosen both or not at all.
//
// RUN: not llq-opt %s --llq-quantize-rtn='embedding-bits=4 except=lm_head' 2>&1 | FileCheck %s
// RUN: not llq-opt %s --llq-quantize-rtn='head-bits=4 only=lm_head' 2>&1 | FileCheck %s
// RUN: llq-opt %s --llq-quantize-rtn='embedding-bits=4 except=lm_head except=embed_tokens' | FileCheck %s --check-prefix=NEITHER

// CHECK: error: 'llq.linear' op "lm_head" shares its weight with embed_tokens, only and except choose both or neither of them

// NEITHER: llq.linear "layers.0.mlp.up_proj" {{.*}}!llq.quantized
// NEITHER: llq.linear "lm_head" {{.*}}tensor<4x4xf32> -> tensor<?x4xf32>
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
  %t = llq.weight dense_resource<t> : tensor<4x4xf32>
  %w = llq.weight dense_resource<w> : tensor<4x4xf32>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<4x4xf32> -> tensor<?x4xf32>
  %u = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
  %y = llq.linear "lm_head" %u, %t : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

{-#
  dialect_resources: {
    builtin: {
      t: "0x040000000000803F9A99193F0000803F0000803F0000803F9A99193F0000803F0000803F0000803F9A99193F0000803F0000803F0000803F9A99193F0000803F0000803F",
      w: "0x04000000000000409A99193F0000803F0000803F0000803F9A99193F0000803F0000803F0000803F9A99193F0000803F0000803F0000803F9A99193F0000803F0000803F"
    }
  }
#-}
