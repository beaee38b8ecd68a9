// Statistics that no inputs have. Anybody may have written them, so that they
// are looked at before a method believes them.
//
// RUN: llq-opt %s --llq-quantize-gptq='bits=2' --verify-diagnostics --split-input-file

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose abs_max has a negative number in channel 1}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<[0.0, -1.0]> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose mean_abs has a negative number in channel 0}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<-1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose mean_square has a negative number in channel 1}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<[1.0, -1.0e-30]> : tensor<2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose mean_square is no tensor<2xf32>}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf64>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose second_moment is no tensor<2x2xf32>}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>,
      second_moment = dense<1.0> : tensor<4xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose second_moment is not finite}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>,
      second_moment = dense<[[1.0, 0x7F800000], [0.0, 1.0]]> : tensor<2x2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose second_moment is none of real inputs: it has 5.000000e-01 in row 1, column 0, 2.500000e-01 in row 0, column 1}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>,
      second_moment = dense<[[1.0, 0.25], [0.5, 1.0]]> : tensor<2x2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// Indefinite.
func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose second_moment is none of real inputs: it has 3.000000e+00 in row 1, column 0, 4.000000e+00 and 1.000000e+00 on the diagonal}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>,
      second_moment = dense<[[1.0, 3.0], [3.0, 4.0]]> : tensor<2x2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// A channel that never fires meets no other.
func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats whose second_moment is none of real inputs: it has 1.000000e+00 in row 1, column 0, 1.000000e+00 and 0.000000e+00 on the diagonal}}
  %y = llq.linear "a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>,
      second_moment = dense<[[0.0, 1.0], [1.0, 1.0]]> : tensor<2x2xf32>}}
    : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// No dictionary at all.
func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<w> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op "a" has llq.stats that is no dictionary}}
  %y = llq.linear "a" %x, %w {llq.stats = 3 : i64} : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      w: "0x040000000000803F0000003F"
    }
  }
#-}
