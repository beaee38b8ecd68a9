// RUN: llq-opt %s --llq-rotate --verify-diagnostics --split-input-file
// RUN: not llq-opt %s --split-input-file --llq-rotate='residual=false values=false down=false' 2>&1 | FileCheck %s

// CHECK: error: llq-rotate: residual, values and down are all false, one of them has to be true

// expected-error@+1 {{has no function @forward of one block}}
module {
}

// -----

// expected-error@+1 {{llq-rotate: goes in front of llq-keep-originals, which has kept weights that are not rotated}}
module attributes {llq.keep_originals} {
}

// -----

// expected-error@+1 {{llq-rotate: found no llq.linear, the normal form of a model is needed}}
module {
  func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
    return %x : tensor<?x2xf32>
  }
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<1x1xi8>, scales = dense_resource<s> : tensor<1x1xf32>} : !llq.quantized<1x2, #llq.uniform<bits = 4, group = 0, zero = none, scale = f32>>
  // expected-error@+2 {{'llq.linear' op "layers.0.self_attn.q_proj" is quantized already}}
  // expected-note@+1 {{run llq-rotate in front of what quantizes}}
  %y = llq.linear "layers.0.self_attn.q_proj" %x, %w : tensor<?x2xf32>, !llq.quantized<1x2, #llq.uniform<bits = 4, group = 0, zero = none, scale = f32>> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+2 {{'llq.linear' op "layers.0.self_attn.q_proj" has been through smoothquant already}}
  // expected-note@+1 {{run llq-rotate once, in front of what scales or quantizes}}
  %y = llq.linear "layers.0.self_attn.q_proj" %x, %w {llq.prepared = [{name = "smoothquant", alpha = 0.5}]} : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+2 {{'llq.linear' op "layers.0.self_attn.q_proj" has statistics of inputs that a rotation changes}}
  // expected-note@+1 {{run llq-rotate in front of llq-attach-stats}}
  %y = llq.linear "layers.0.self_attn.q_proj" %x, %w {llq.stats = {
    tokens = 1 : i64, abs_max = dense<1.0> : tensor<2xf32>,
    mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%ids: tensor<?xi32>) -> tensor<?x1xf32> {
  %e = llq.weight dense_resource<e> : tensor<4x2xf16>
  %x = llq.embedding %ids, %e : tensor<?xi32>, tensor<4x2xf16> -> tensor<?x2xf32>
  %g = llq.weight dense_resource<g> : tensor<2xf32>
  // expected-error@+1 {{weight inf in row 0, column 1, weights need to be finite}}
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  %y = llq.linear "layers.0.self_attn.q_proj" %n, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      g: "0x040000000000803F0000807F"
    }
  }
#-}
