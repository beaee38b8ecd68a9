// RUN: llq-opt %s --llq-quantize-gptq='bits=2' --verify-diagnostics --split-input-file

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
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose mean_abs is no tensor<2xf32>}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<3xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats without a positive number of tokens}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 0 : i64}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose mean_abs is not finite}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<[1.0, 0x7FC00000]> : tensor<2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has no second moment of its inputs, the method needs one}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose second_moment is none of real inputs: it has -1.000000e+00 in row 0, column 0, -1.000000e+00 and -1.000000e+00 on the diagonal}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>,
      second_moment = dense<[[-1.0, 0.0], [0.0, 1.0]]> : tensor<2x2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  return %x : tensor<?x2xf32>
}
func.func @other(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" is not in @forward, only layers that a model runs through can be calibrated}}
  %y = llq.linear "a" %x, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// Samples that do not fit the model.
// expected-error@+1 {{llq.calibration needs i32 resource 'ids' and array 'lengths'}}
module attributes {llq.calibration = {lengths = array<i64: 1>}} {
  func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
    %w = llq.weight dense_resource<w> : tensor<1x2xf32>
    %y = llq.linear "a" %x, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
    return %y : tensor<?x1xf32>
  }
}

{-#
  dialect_resources: {
    builtin: {
      w: "0x040000000000803F0000003F"
    }
  }
#-}
