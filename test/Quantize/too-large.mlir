// Weights of 100,000 to 600,000, whose scales f16 cannot hold, are an error,
// whatever the method and the format.
//
// RUN: not llq-opt %s --llq-quantize-gptq=bits=2 2>&1 | FileCheck %s
// RUN: not llq-opt %s --llq-quantize-pbllm 2>&1 | FileCheck %s
// RUN: not llq-opt %s --llq-quantize-billm 2>&1 | FileCheck %s
// RUN: not llq-opt %s --llq-quantize-dbllm 2>&1 | FileCheck %s
// RUN: not llq-opt %s --llq-quantize-dbllm=compensate=false 2>&1 | FileCheck %s
// RUN: not llq-opt %s --llq-quantize-slimllm 2>&1 | FileCheck %s

// CHECK: error: 'llq.linear' op "a" has weights too large for scales in f16
// CHECK: note: leave it out with except=a or quantize it with rtn(scale-type=f32)
func.func @forward(%x: tensor<?x4xf32>) -> tensor<?x3xf32> {
  %w = llq.weight dense_resource<a> : tensor<3x4xf32>
  %y = llq.linear "a" %x, %w {llq.stats = {
    tokens = 9 : i64, abs_max = dense<1.0> : tensor<4xf32>,
    mean_abs = dense<1.0> : tensor<4xf32>, mean_square = dense<1.0> : tensor<4xf32>,
    second_moment = dense<[[1.0, 0.1, 0.1, 0.1], [0.1, 1.0, 0.1, 0.1],
                           [0.1, 0.1, 1.0, 0.1], [0.1, 0.1, 0.1, 1.0]]> : tensor<4x4xf32>}}
    : tensor<?x4xf32>, tensor<3x4xf32> -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

{-#
  dialect_resources: {
    builtin: {
      a: "0x040000000024f4c80050c3c8007c92c8005043c80050c3c7000000000050c34700504348007c92480050c3480024f448007c1249"
    }
  }
#-}
