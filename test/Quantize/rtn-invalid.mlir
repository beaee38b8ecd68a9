// RUN: llq-opt %s --llq-quantize-rtn='bits=4 head-bits=8 embedding-bits=4' --verify-diagnostics --split-input-file

// expected-error@+1 {{llq-quantize-rtn: found no llq.linear to quantize, the normal form of a model is needed}}
module {}

// -----

func.func @quantized_already(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<4x2xi8>, scales = dense_resource<s> : tensor<4x1xf16>} : !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
  // expected-error@+2 {{'llq.linear' op "layers.0.mlp.up_proj" is quantized already, as #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>}}
  // expected-note@+1 {{exclude it with except=layers.0.mlp.up_proj or run llq-dequantize first}}
  %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, !llq.quantized<4x4, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @weight_from_elsewhere(%x: tensor<?x4xf32>, %w: tensor<4x4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{'llq.linear' op "layers.0.mlp.up_proj" has a weight that is not an llq.weight}}
  %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @tied_with_two_widths(%ids: tensor<?xi32>) -> tensor<?x2xf32> {
  %w = llq.weight dense_resource<w> : tensor<2x4xf16>
  %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<2x4xf16> -> tensor<?x4xf32>
  // expected-error@+1 {{'llq.linear' op "lm_head" shares its weight with the embedding, but embedding-bits is 4 and head-bits 8}}
  %y = llq.linear "lm_head" %x, %w : tensor<?x4xf32>, tensor<2x4xf16> -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @nan(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = llq.weight dense_resource<nan> : tensor<2x4xf32>
  // expected-error@+1 {{'llq.linear' op "layers.0.mlp.up_proj" has weight nan in row 1, column 2, weights need to be finite}}
  %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

{-#
  dialect_resources: {
    builtin: {
      nan: "0x040000000000803F0000803F0000803F0000803F0000803F0000803F0000C07F0000803F"
    }
  }
#-}

// -----

func.func @too_large_for_scales_in_f16(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<large> : tensor<1x2xf32>
  // expected-error@+2 {{'llq.linear' op "layers.0.mlp.up_proj" has weights too large for scales in f16}}
  // expected-note@+1 {{leave it out with except=layers.0.mlp.up_proj or quantize it with rtn(scale-type=f32)}}
  %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      // 1e30, -1e30
      large: "0x04000000CAF24971CAF249F1"
    }
  }
#-}

// -----

func.func @elided(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = llq.weight dense_resource<missing> : tensor<2x4xf32>
  // expected-error@+1 {{'llq.linear' op "layers.0.mlp.up_proj" resource 'missing' has no data: it was elided or released}}
  %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @blob_of_another_size(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = llq.weight dense_resource<short> : tensor<2x4xf32>
  // expected-error@+1 {{'llq.linear' op "layers.0.mlp.up_proj" resource 'short' has 4 bytes, its type tensor<2x4xf32> needs 32}}
  %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x4xf32>, tensor<2x4xf32> -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

{-#
  dialect_resources: {
    builtin: {
      short: "0x040000000000803F"
    }
  }
#-}

// -----

func.func @too_large(%x: tensor<?x1048576xf32>) -> tensor<?x1048577xf32> {
  %w = llq.weight dense_resource<missing> : tensor<1048577x1048576xf32>
  // expected-error@+1 {{'llq.linear' op "layers.0.mlp.up_proj" quantized weight of 1048577 x 1048576 is too large}}
  %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x1048576xf32>, tensor<1048577x1048576xf32> -> tensor<?x1048577xf32>
  return %y : tensor<?x1048577xf32>
}

// -----

func.func @bits_out_of_range(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<one> : tensor<1x2xf32>
  // expected-error@+1 {{'llq.linear' op llq.bits is an i64 of 2 to 8, found 9 : i64}}
  %y = llq.linear "layers.0.mlp.up_proj" %x, %w {llq.bits = 9 : i64} : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}
