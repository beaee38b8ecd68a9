// RUN: llq-opt %s --llq-quantize-awq='bits=4' --verify-diagnostics --split-input-file

// expected-error@+2 {{has no calibration samples}}
// expected-note@+1 {{give llq-compile --calibration or run llq-load-calibration first}}
module {
  func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
    %w = llq.weight dense_resource<w> : tensor<1x2xf32>
    %y = llq.linear "a" %x, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
    return %y : tensor<?x1xf32>
  }
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has no second moment of its inputs, awq needs one}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<1x1xi8>, scales = dense_resource<s> : tensor<1x1xf32>} : !llq.quantized<1x2, #llq.uniform<bits = 4, group = 0, zero = none, scale = f32>>
  // expected-error@+2 {{'llq.linear' op "a" is quantized already}}
  // expected-note@+1 {{exclude it with except=a or run llq-dequantize first}}
  %y = llq.linear "a" %x, %w : tensor<?x2xf32>, !llq.quantized<1x2, #llq.uniform<bits = 4, group = 0, zero = none, scale = f32>> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<bad> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has weight nan in row 0, column 1, weights need to be finite}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>,
      second_moment = dense<1.0> : tensor<2x2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      bad: "0x040000000000803F0000C07F"
    }
  }
#-}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %g = llq.weight dense_resource<norm> : tensor<2xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x2xf32>, tensor<2xf32>
  %w = llq.weight dense_resource<large> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has weights and inputs whose products overflow}}
  %y = llq.linear "a" %n, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0e15> : tensor<2xf32>, mean_abs = dense<1.0e15> : tensor<2xf32>, mean_square = dense<1.0e30> : tensor<2xf32>,
      second_moment = dense<1.0e30> : tensor<2x2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      norm: "0x040000000000803F0000803F",
      // 1e30, 3e29
      large: "0x04000000CAF249718C567270"
    }
  }
#-}

// -----

func.func @forward(%x: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<twice> : tensor<1x1xf32>
  %v = llq.weight dense_resource<again> : tensor<1x1xf32>
  %y = llq.linear "layers.0.a" %x, %w {llq.stats = {
    tokens = 9 : i64, abs_max = dense<1.0> : tensor<1xf32>, mean_abs = dense<1.0> : tensor<1xf32>,
    mean_square = dense<1.0> : tensor<1xf32>, second_moment = dense<1.0> : tensor<1x1xf32>}}
    : tensor<?x1xf32>, tensor<1x1xf32> -> tensor<?x1xf32>
  // expected-error@+1 {{'llq.linear' op "layers.0.a" is not the only layer of this name}}
  %z = llq.linear "layers.0.a" %y, %v {llq.stats = {
    tokens = 9 : i64, abs_max = dense<1.0> : tensor<1xf32>, mean_abs = dense<1.0> : tensor<1xf32>,
    mean_square = dense<1.0> : tensor<1xf32>, second_moment = dense<1.0> : tensor<1x1xf32>}}
    : tensor<?x1xf32>, tensor<1x1xf32> -> tensor<?x1xf32>
  return %z : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      twice: "0x040000000000803F",
      again: "0x0400000000000040"
    }
  }
#-}
