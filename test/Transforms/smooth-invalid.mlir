// RUN: llq-opt %s --llq-smooth --verify-diagnostics --split-input-file

// expected-error@+2 {{has no calibration samples}}
// expected-note@+1 {{give llq-compile --calibration or run llq-load-calibration first}}
module {
  func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
    %g = llq.weight dense_resource<g> : tensor<2xf32>
    %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
    %w = llq.weight dense_resource<w> : tensor<1x2xf32>
    %y = llq.linear "layers.0.self_attn.q_proj" %n, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
    return %y : tensor<?x1xf32>
  }
}

// -----

// A layer without a norm, and the head: nothing to smooth.
// expected-error@+1 {{llq-smooth: found no llq.linear behind an llq.rms_norm, the normal form of a model is needed}}
module {
  func.func @forward(%x: tensor<?x2xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>) {
    %g = llq.weight dense_resource<g> : tensor<2xf32>
    %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
    %w = llq.weight dense_resource<w> : tensor<1x2xf32>
    %y = llq.linear "layers.0.self_attn.o_proj" %x, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
    %z = llq.linear "lm_head" %n, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
    return %y, %z : tensor<?x1xf32>, tensor<?x1xf32>
  }
}

// -----

// expected-error@+1 {{has no function @forward of one block}}
module {
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %g = llq.weight dense_resource<g> : tensor<2xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<1x1xi8>, scales = dense_resource<s> : tensor<1x1xf32>} : !llq.quantized<1x2, #llq.uniform<bits = 4, group = 0, zero = none, scale = f32>>
  // expected-error@+2 {{'llq.linear' op "layers.0.self_attn.q_proj" is quantized already}}
  // expected-note@+1 {{run llq-smooth in front of what quantizes}}
  %y = llq.linear "layers.0.self_attn.q_proj" %n, %w : tensor<?x2xf32>, !llq.quantized<1x2, #llq.uniform<bits = 4, group = 0, zero = none, scale = f32>> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %g = llq.weight dense_resource<g> : tensor<2xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
  %q = llq.quantize_activation %n : tensor<?x2xf32> -> !llq.quantized<?x2, #llq.dynamic<bits = 8, group = 0>>
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+2 {{'llq.linear' op "layers.0.self_attn.q_proj" has quantized activations already}}
  // expected-note@+1 {{run llq-smooth in front of what quantizes}}
  %y = llq.linear "layers.0.self_attn.q_proj" %q, %w : !llq.quantized<?x2, #llq.dynamic<bits = 8, group = 0>>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> (tensor<?x1xf32>, tensor<?x2xf32>) {
  %g = llq.weight dense_resource<g> : tensor<2xf32>
  // expected-error@+1 {{has a result that other ops than linear layers read, its scales cannot be folded}}
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  %y = llq.linear "layers.0.self_attn.q_proj" %n, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  // expected-note@+1 {{it is read here}}
  %z = llq.add %x, %n : tensor<?x2xf32>
  return %y, %z : tensor<?x1xf32>, tensor<?x2xf32>
}

// -----

// Weights that have been quantized and spelled out again.
func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %g = llq.weight dense_resource<g> : tensor<2xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
  // expected-error@+1 {{permutes the channels that scales would be folded into}}
  %p = llq.permute_channels %n by dense<[1, 0]> : tensor<2xi32> : tensor<?x2xf32>
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  %y = llq.linear "layers.0.self_attn.q_proj" %p, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>, %g: tensor<2xf32>) -> tensor<?x1xf32> {
  // expected-error@+1 {{has a weight that is not an llq.weight}}
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  %y = llq.linear "layers.0.self_attn.q_proj" %n, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %g = llq.weight dense_resource<huge> : tensor<2xf32>
  // expected-error@+1 {{has a weight of INF in channel 1 once it is divided by}}
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  %y = llq.linear "layers.0.self_attn.q_proj" %n, %w {llq.stats = {
    tokens = 1 : i64, abs_max = dense<[1.0, 1.0e-05]> : tensor<2xf32>,
    mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      // 1, 3e38
      huge: "0x040000000000803FE6B1617F",
      w: "0x040000000000803F0000003F"
    }
  }
#-}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %g = llq.weight dense_resource<g> : tensor<2xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
  %w = llq.weight dense_resource<large> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "layers.0.self_attn.q_proj" has weights of up to 3.000000e+38 in column 1 that overflow once they are multiplied by}}
  %y = llq.linear "layers.0.self_attn.q_proj" %n, %w {llq.stats = {
    tokens = 1 : i64, abs_max = dense<1.0e+10> : tensor<2xf32>,
    mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      g: "0x040000000000803F0000803F",
      // 1, 3e38
      large: "0x040000000000803FE6B1617F"
    }
  }
#-}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %g = llq.weight dense_resource<g> : tensor<2xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
  %w = llq.weight dense_resource<nan> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "layers.0.self_attn.q_proj" has weight nan in row 0, column 1, weights need to be finite}}
  %y = llq.linear "layers.0.self_attn.q_proj" %n, %w {llq.stats = {
    tokens = 1 : i64, abs_max = dense<1.0> : tensor<2xf32>,
    mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      g: "0x040000000000803F0000803F",
      nan: "0x040000000000803F0000C07F"
    }
  }
#-}
