// Layers outside of @forward have no inputs that samples could show. One that
// shares the embedding's table is rounded with it.
//
// RUN: echo "0 1 2 3 0 1 2 3 0 1 2 3" > %t.ids
// RUN: not llq-opt %s --llq-quantize-gptq 2>&1 | FileCheck %s
// RUN: llq-opt %s --llq-quantize-gptq=embedding-bits=4 | FileCheck %s --check-prefix=TABLE
// RUN: llq-opt %s --llq-quantize-quip=embedding-bits=4 | FileCheck %s --check-prefix=TABLE
// RUN: not llq-opt %s --llq-quantize-quip 2>&1 | FileCheck %s
// RUN: not llq-opt %s --llq-load-calibration='file=%t.ids length=12' --llq-quantize-rtn=bits=8 --llq-quantize-activations=per=tensor 2>&1 | FileCheck %s

// CHECK: error: 'llq.linear' op "proj" is not in @forward, only layers that a model runs through can be calibrated
// TABLE: llq.linear "proj" {{.*}}!llq.quantized<6x4, #llq.uniform<bits = 4,
// TABLE: llq.embedding {{.*}}!llq.quantized<6x4, #llq.uniform<bits = 4,
module attributes {llq.architecture = #llq.architecture<hidden = 4, layers = 1, heads = 1, kv_heads = 1, head_dim = 4, ffn = 4, vocab = 6, context_length = 64, rope_theta = 1.0 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-5 : f64, tied_embeddings = false>} {
  func.func @aux(%x: tensor<?x4xf32>) -> tensor<?x6xf32> {
    %w = llq.weight dense_resource<t> : tensor<6x4xf32>
    %y = llq.linear "proj" %x, %w : tensor<?x4xf32>, tensor<6x4xf32> -> tensor<?x6xf32>
    return %y : tensor<?x6xf32>
  }
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
    %t = llq.weight dense_resource<t> : tensor<6x4xf32>
    %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<6x4xf32> -> tensor<?x4xf32>
    return %x : tensor<?x4xf32>
  }
}

{-#
  dialect_resources: {
    builtin: {
      t: "0x040000000000803F9A99193F0000803F0000803F0000803F9A99193F0000803F0000803F0000803F9A99193F0000803F0000803F0000803F9A99193F0000803F0000803F0000803F9A99193F0000803F0000803F0000803F9A99193F0000803F0000803F"
    }
  }
#-}
