// RUN: llq-opt %s --llq-quantize-activations='per=tensor except=*nothing' --verify-diagnostics --split-input-file
// RUN: not llq-opt %S/activations.mlir --llq-quantize-activations='only=*.v_proj' 2>&1 | FileCheck %s --check-prefix=SOURCE
// RUN: not llq-opt %S/activations.mlir --llq-quantize-activations='only=*.x_proj' 2>&1 | FileCheck %s --check-prefix=GLOB
// RUN: not llq-opt %S/activations.mlir --llq-quantize-activations='only=[' 2>&1 | FileCheck %s --check-prefix=BRACKET
// RUN: not llq-opt %S/activations.mlir --llq-quantize-activations --llq-quantize-activations='bits=4' 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not llq-opt %S/activations.mlir --llq-quantize-activations='per=tensor only=*.k_proj' 2>&1 | FileCheck %s --check-prefix=SAMPLES

// SOURCE: "layers.0.self_attn.v_proj" has a weight that is not quantized
// SOURCE: note: integer products need quantized weights: put a method that quantizes it, such as rtn, in front of activations
// GLOB: error: llq-quantize-activations: only=*.x_proj matches no layer
// BRACKET: error: llq-quantize-activations: only=[:
// TWICE: "layers.0.self_attn.q_proj" has quantized inputs already, as #llq.dynamic<bits = 8, group = 0>
// TWICE: note: exclude it with except=layers.0.self_attn.q_proj
// SAMPLES: error: has no calibration samples
// SAMPLES: note: give llq-compile --calibration or run llq-load-calibration first

// expected-error@+2 {{llq-quantize-activations: found no layer with a quantized weight}}
// expected-note@+1 {{quantize weights first, as in 'rtn(bits=8,group-size=0,scheme=signed) activations(bits=8)'}}
module {
  func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
    %w = llq.weight dense_resource<w> : tensor<1x2xf32>
    %y = llq.linear "layers.0.nothing" %x, %w : tensor<?x2xf32>, tensor<1x2xf32> -> tensor<?x1xf32>
    return %y : tensor<?x1xf32>
  }
}

// -----

!w = !llq.quantized<1x2, #llq.uniform<bits = 8, group = 0, zero = none, scale = f16>>
func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<1x2xi8>, scales = dense_resource<s> : tensor<1x1xf16>} : !w
  %n = llq.linear "nothing" %x, %w : tensor<?x2xf32>, !w -> tensor<?x1xf32>
  // expected-error@+1 {{'llq.linear' op "layers.0.a" has llq.stats whose abs_max is not finite}}
  %y = llq.linear "layers.0.a" %x, %w {llq.stats = {tokens = 4 : i64, abs_max = dense<[1.0, 0x7F800000]> : tensor<2xf32>}}
    : tensor<?x2xf32>, !w -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// expected-error@+2 {{llq-quantize-activations: per=tensor needs at least 16 calibration tokens, found 15}}
// expected-note@+1 {{give more or longer samples, or per=token}}
module {
  func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x1xf32> {
    %w = llq.quantized_weight {codes = dense_resource<c> : tensor<1x2xi8>, scales = dense_resource<s> : tensor<1x1xf16>} : !llq.quantized<1x2, #llq.uniform<bits = 8, group = 0, zero = none, scale = f16>>
    %n = llq.linear "nothing" %x, %w : tensor<?x2xf32>, !llq.quantized<1x2, #llq.uniform<bits = 8, group = 0, zero = none, scale = f16>> -> tensor<?x1xf32>
    %y = llq.linear "layers.0.a" %x, %w {llq.stats = {tokens = 15 : i64, abs_max = dense<1.0> : tensor<2xf32>, mean_abs = dense<1.0> : tensor<2xf32>, mean_square = dense<1.0> : tensor<2xf32>}}
      : tensor<?x2xf32>, !llq.quantized<1x2, #llq.uniform<bits = 8, group = 0, zero = none, scale = f16>> -> tensor<?x1xf32>
    return %y : tensor<?x1xf32>
  }
}
