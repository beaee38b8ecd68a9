// Samples are token ids: a part of a model that reads anything else has no
// inputs to measure or to train with.
//
// RUN: echo "0 1 2 3" > %t.ids
// RUN: not llq-opt %s --llq-load-calibration='file=%t.ids length=4' --llq-attach-stats 2>&1 | FileCheck %s --check-prefix=STATS
// RUN: not llq-opt %s --llq-load-calibration='file=%t.ids length=4' --llq-keep-originals --llq-quantize-rtn='bits=2 group-size=0' --llq-tune-scales=epochs=1 2>&1 | FileCheck %s --check-prefix=TUNE
// RUN: sed 's/return %%z : .*/return/; s/-> tensor<?x4xf32> {/{/' %s | not llq-opt --llq-load-calibration='file=%t.ids length=4' --llq-attach-stats 2>&1 | FileCheck %s --check-prefix=NOTHING

// STATS: error: 'llq.linear' op "layers.0.mlp.down_proj" needs activations that are arguments of @forward, samples are token ids only
// TUNE: error: cannot be tuned through an argument of @forward of type 'tensor<?x4xf32>'
// NOTHING: error: 'func.func' op returns nothing, a model has a result
module attributes {llq.architecture = #llq.architecture<hidden = 4, layers = 1, heads = 1, kv_heads = 1, head_dim = 4, ffn = 4, vocab = 4, context_length = 64, rope_theta = 1.0 : f64, rope_scaling = "none", rope_parameters = [], norm_eps = 1.0e-5 : f64, tied_embeddings = false>} {
  func.func @forward(%ids: tensor<?xi32>, %past: index, %x: tensor<?x4xf32>) -> tensor<?x4xf32> {
    %n = llq.weight dense_resource<n> : tensor<4xf32>
    %x0 = llq.rms_norm %x, %n {epsilon = 1.0e-05 : f32} : tensor<?x4xf32>, tensor<4xf32>
    %w = llq.weight dense_resource<w> : tensor<4x4xf32>
    %y = llq.linear "layers.0.mlp.down_proj" %x0, %w : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
    %z = llq.add %x, %y : tensor<?x4xf32>
    return %z : tensor<?x4xf32>
  }
}

{-#
  dialect_resources: {
    builtin: {
      n: "0x040000000000803F0000803F0000803F0000803F",
      w: "0x04000000aedf0abf85fa633fe6874d3f825670bfc3f872bf20a0a93d29d8603f314b73bee21911bf58811fbe912171bf6e7e0ebf9469febd773909bc28a908bfdccb09bf"
    }
  }
#-}
