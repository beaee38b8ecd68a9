// Bits of a layer's own (llq-allocate-bits) are searched for too: at 2 bits awq
// finds alpha = 0.3 here, at 4 bits nothing better than rounding (awq.mlir).
// Methods without a choice of bits per layer say so.
//
// RUN: llq-opt %s --llq-quantize-awq='bits=4 group-size=0 scale-type=f32 clip-search=false' | FileCheck %s
// RUN: not llq-opt %s --llq-quantize-quip 2>&1 | FileCheck %s --check-prefix=QUIP
// RUN: not llq-opt %s --llq-quantize-slimllm 2>&1 | FileCheck %s --check-prefix=SLIMLLM
// RUN: not llq-opt %s --llq-quantize-billm 2>&1 | FileCheck %s --check-prefix=BILLM

// CHECK: method = {alpha = 3.0{{.*}}e-01 : f64, {{.*}}cost_ratio = 0.00228
// QUIP: error: 'llq.linear' op "a" has llq.bits = 2, but llq-quantize-quip takes no bits per layer, as --fit chooses them: use rtn, hqq, gptq or awq
// SLIMLLM: "a" has llq.bits = 2, but llq-quantize-slimllm takes no bits per layer
// BILLM: "a" has llq.bits = 2, but llq-quantize-billm takes no bits per layer
func.func @forward(%x: tensor<?x4xf32>) -> tensor<?x1xf32> {
  %g = llq.weight dense_resource<g> : tensor<4xf32>
  %n = llq.rms_norm %x, %g {epsilon = 1.0e-05 : f32} : tensor<?x4xf32>, tensor<4xf32>
  %a = llq.weight dense_resource<a> : tensor<1x4xf32>
  %y = llq.linear "a" %n, %a {llq.bits = 2 : i64, llq.stats = {
    tokens = 2 : i64, abs_max = dense<[4.0, 1.0, 0.5, 0.25]> : tensor<4xf32>,
    mean_abs = dense<[4.0, 1.0, 0.5, 0.25]> : tensor<4xf32>,
    mean_square = dense<[16.0, 1.0, 0.25, 0.0625]> : tensor<4xf32>,
    second_moment = dense<[[16.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 0.25],
                           [2.0, 0.0, 0.25, 0.0], [0.0, 0.25, 0.0, 0.0625]]> : tensor<4x4xf32>}}
    : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      g: "0x040000000000803F0000803F0000803F0000803F",
      a: "0x040000009A99993E000000BF0000803FCDCCCC3D"
    }
  }
#-}
