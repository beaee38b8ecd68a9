// RUN: llq-opt %s --llq-form-dispatches --llq-lower-to-cpu='levels=x86-64-v3' --verify-diagnostics --split-input-file -o /dev/null
// RUN: not llq-opt %s --split-input-file --llq-lower-to-cpu='levels=x86-64-v9' 2>&1 | FileCheck %s --check-prefix=LEVEL
// RUN: not llq-opt %s --split-input-file --llq-lower-to-cpu='levels=x86-64-v3,x86-64-v3' 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not llq-opt %s --split-input-file --llq-lower-to-cpu='max-tokens=0' 2>&1 | FileCheck %s --check-prefix=TOKENS
// RUN: not llq-opt %s --split-input-file --llq-lower-to-cpu='max-tokens=100000' 2>&1 | FileCheck %s --check-prefix=TOKENS
// RUN: not llq-opt %s --split-input-file --llq-lower-to-cpu 2>&1 | FileCheck %s --check-prefix=REGION

// LEVEL: error: unknown cpu level 'x86-64-v9'
// TWICE: error: cpu level 'x86-64-v3' is given twice
// TOKENS: error: max-tokens is 1 to 65536, found {{0|100000}}
// REGION: error: 'llq.embedding' op is not in a region: run llq-form-dispatches first

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x8xf16>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x8xf16> -> tensor<?x8xf32>
  return %x : tensor<?x8xf32>
}

// -----

// expected-error @below {{needs arguments that are ids (tensor<?xi32>), past (index) or activations (tensor<?xKxf32>), found 'tensor<?x?xf32>'}}
func.func @forward(%x: tensor<?x?xf32>, %past: index) -> tensor<?x?xf32> {
  return %x : tensor<?x?xf32>
}

// -----

// An argument is no buffer of the program's own.
func.func @forward(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{needs a result with a buffer of its own}}
  return %x : tensor<?x8xf32>
}

// -----

// An input is no result of rows.
func.func @forward(%ids: tensor<?xi32>, %past: index) -> index {
  // expected-error @below {{has an operand that the cpu target cannot place}}
  return %past : index
}

// -----

// A group that is no multiple of 4 columns.
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x12xf16>
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<8x6xi8>, scales = dense_resource<s> : tensor<8x2xf16>}
     : !llq.quantized<8x12, #llq.uniform<bits = 4, group = 6, zero = none, scale = f16>>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x12xf16> -> tensor<?x12xf32>
  // expected-error @below {{layer "head": the cpu target needs a group size that is a multiple of 4, found 6}}
  %y = llq.linear "head" %x, %w : tensor<?x12xf32>, !llq.quantized<8x12, #llq.uniform<bits = 4, group = 6, zero = none, scale = f16>> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Sizes that no memory holds.
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<4611686018427387904x8xf16>
  // expected-error @below {{layer "embed_tokens": the cpu target cannot hold a weight of 4611686018427387904 x 8}}
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<4611686018427387904x8xf16> -> tensor<?x8xf32>
  return %x : tensor<?x8xf32>
}

// -----

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x0xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x0xf16>
  // expected-error @below {{layer "embed_tokens": the cpu target cannot hold a weight of 9 x 0}}
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x0xf16> -> tensor<?x0xf32>
  return %x : tensor<?x0xf32>
}

// -----

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x8xf16>
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<8x4xi8>, scales = dense_resource<s> : tensor<8x1xf16>}
     : !llq.quantized<8x8, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x8xf16> -> tensor<?x8xf32>
  // expected-error @below {{the cpu target has no kernel for #llq.dynamic<bits = 6, group = 64>, groups of activations are 32 columns or a token}}
  %q = llq.quantize_activation %x : tensor<?x8xf32> -> !llq.quantized<?x8, #llq.dynamic<bits = 6, group = 64>>
  %y = llq.linear "head" %q, %w : !llq.quantized<?x8, #llq.dynamic<bits = 6, group = 64>>, !llq.quantized<8x8, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x9xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x8xf16>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x8xf16> -> tensor<?x8xf32>
  %q = llq.quantize_activation %x : tensor<?x8xf32> -> !llq.quantized<?x8, #llq.dynamic<bits = 8, group = 32>>
  // expected-error @below {{"head" has quantized activations and a weight that is not}}
  %y = llq.linear "head" %q, %t : !llq.quantized<?x8, #llq.dynamic<bits = 8, group = 32>>, tensor<9x8xf16> -> tensor<?x9xf32>
  return %y : tensor<?x9xf32>
}

// -----

// A weight that is computed; llq-opt --canonicalize folds it.
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x8xf32>
  %c = llq.quantized_weight {codes = dense_resource<c> : tensor<8x4xi8>, scales = dense_resource<s> : tensor<8x1xf16>}
     : !llq.quantized<8x8, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x8xf32> -> tensor<?x8xf32>
  // expected-error @below {{has no kernel on the cpu target}}
  %w = llq.dequantize %c : !llq.quantized<8x8, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>> -> tensor<8x8xf32>
  %y = llq.linear "head" %x, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// A group of two kernels, made by hand.
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x8xf32>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x8xf32> -> tensor<?x8xf32>
  %r:2 = llq.region : tensor<?x8xf32>, tensor<?x8xf32> {
    %n = llq.add %x, %x : tensor<?x8xf32>
    // expected-error @below {{has an operand that the cpu target cannot place}}
    %y = llq.add %n, %x : tensor<?x8xf32>
    llq.yield %n, %y : tensor<?x8xf32>, tensor<?x8xf32>
  }
  return %r#0 : tensor<?x8xf32>
}

// -----

// A group that fuses what belongs to no product.
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<8x8xf32>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<8x8xf32> -> tensor<?x8xf32>
  // expected-error @below {{is no group of llq-form-dispatches}}
  %r = llq.region : tensor<?x8xf32> {
    %n = llq.linear "head" %x, %t : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    %y = llq.add %x, %x : tensor<?x8xf32>
    llq.yield %y : tensor<?x8xf32>
  }
  return %r : tensor<?x8xf32>
}

// -----

// Rotation without attention behind it.
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x8xf16>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x8xf16> -> tensor<?x8xf32>
  %positions = llq.positions %ids, %past : tensor<?xi32>
  %cos, %sin = llq.rotary_table %positions {frequencies = array<f32: 1.0, 0.1>} : tensor<?xi32> -> tensor<?x2xf32>
  // expected-error @below {{holds a rotary embedding apart from its attention}}
  %y = llq.rope %x, %cos, %sin : tensor<?x8xf32>, tensor<?x2xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Sines in the place of cosines.
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x8xf16>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x8xf16> -> tensor<?x8xf32>
  %positions = llq.positions %ids, %past : tensor<?xi32>
  %cos, %sin = llq.rotary_table %positions {frequencies = array<f32: 1.0, 0.1>} : tensor<?xi32> -> tensor<?x2xf32>
  // expected-error @below {{needs cosines and sines of one table for heads of 4}}
  %q = llq.rope %x, %sin, %cos : tensor<?x8xf32>, tensor<?x2xf32>
  %y = llq.attention %q, %x, %x, %past {layer = 0, heads = 2, kv_heads = 2, scale = 0.5 : f32} : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// A table for heads of another size.
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x8xf16>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x8xf16> -> tensor<?x8xf32>
  %positions = llq.positions %ids, %past : tensor<?xi32>
  %cos, %sin = llq.rotary_table %positions {frequencies = array<f32: 1.0, 0.1>} : tensor<?xi32> -> tensor<?x2xf32>
  // expected-error @below {{needs cosines and sines of one table for heads of 8}}
  %q = llq.rope %x, %cos, %sin : tensor<?x8xf32>, tensor<?x2xf32>
  %y = llq.attention %q, %x, %x, %past {layer = 0, heads = 1, kv_heads = 1, scale = 0.5 : f32} : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x2xf32> {
  // expected-error @below {{needs the positions of the call}}
  %cos, %sin = llq.rotary_table %ids {frequencies = array<f32: 1.0, 0.1>} : tensor<?xi32> -> tensor<?x2xf32>
  return %cos : tensor<?x2xf32>
}

// -----

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x2xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x2xf16>
  // expected-error @below {{needs the positions of the call}}
  %cos, %sin = llq.rotary_lookup %ids, %t, %t : tensor<?xi32>, tensor<9x2xf16>, tensor<9x2xf16> -> tensor<?x2xf32>
  return %cos : tensor<?x2xf32>
}

// -----

// Positions behind the last row.
module attributes {llq.architecture = #llq.architecture<hidden = 8, layers = 1, heads = 2, kv_heads = 1, head_dim = 4, ffn = 8, vocab = 9, context_length = 10, rope_theta = 0.0 : f64, rope_scaling = "table", rope_parameters = [], norm_eps = 1.0e-5 : f64, tied_embeddings = true>} {
  func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x2xf32> {
    %t = llq.weight dense_resource<t> : tensor<9x2xf16>
    %positions = llq.positions %ids, %past : tensor<?xi32>
    // expected-error @below {{has tables for 9 positions, the context is 10}}
    %cos, %sin = llq.rotary_lookup %positions, %t, %t : tensor<?xi32>, tensor<9x2xf16>, tensor<9x2xf16> -> tensor<?x2xf32>
    return %cos : tensor<?x2xf32>
  }
}

// -----

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x9xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x9xf16>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x9xf16> -> tensor<?x9xf32>
  // expected-error @below {{needs an even head dimension on the cpu target}}
  %y = llq.attention %x, %x, %x, %past {layer = 0, heads = 3, kv_heads = 3, scale = 0.5 : f32} : tensor<?x9xf32>, tensor<?x9xf32>, tensor<?x9xf32> -> tensor<?x9xf32>
  return %y : tensor<?x9xf32>
}

// -----

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x65568xf16>
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<8x65568xi8>, scales = dense_resource<s> : tensor<8x1xf16>}
     : !llq.quantized<8x65568, #llq.uniform<bits = 8, group = 0, zero = none, scale = f16>>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x65568xf16> -> tensor<?x65568xf32>
  %q = llq.quantize_activation %x : tensor<?x65568xf32> -> !llq.quantized<?x65568, #llq.dynamic<bits = 8, group = 0>>
  // expected-error @below {{"head" has groups of 65568 weights; integer sums of 32 bits hold the products of 65536}}
  %y = llq.linear "head" %q, %w : !llq.quantized<?x65568, #llq.dynamic<bits = 8, group = 0>>, !llq.quantized<8x65568, #llq.uniform<bits = 8, group = 0, zero = none, scale = f16>> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// Permuting is the second step of a pass over rows, normalization the first.
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
  %w = llq.weight dense_resource<w> : tensor<4x4xf16>
  %n = llq.weight dense_resource<n> : tensor<4xf32>
  %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<4x4xf16> -> tensor<?x4xf32>
  // expected-error @below {{is no group of llq-form-dispatches}}
  %y = llq.region : tensor<?x4xf32> {
    %a = llq.permute_channels %x by dense<[2, 0, 3, 1]> : tensor<4xi32> : tensor<?x4xf32>
    %b = llq.rms_norm %a, %n {epsilon = 1.0e-05 : f32} : tensor<?x4xf32>, tensor<4xf32>
    llq.yield %b : tensor<?x4xf32>
  }
  return %y : tensor<?x4xf32>
}
