// Inputs are independent, and their mean squares say that columns are rounded
// in the order 2, 0, 3, 1: groups are 3, 1 and 6, 8 of the weight 1, 8, 3, 6.
//
// RUN: llq-opt %s --llq-quantize-gptq='bits=4 group-size=2 scale-type=f32 act-order=true' | FileCheck %s --check-prefixes=CHECK,PERMUTED
// RUN: llq-opt %s --llq-quantize-gptq='bits=4 group-size=2 scale-type=f32 order=activation only=a,c' --llq-quantize-gptq='bits=4 group-size=2 scale-type=f32 act-order=true only=b' | FileCheck %s --check-prefixes=CHECK,PERMUTED
// Nothing is permuted where groups are columns as they were.
// RUN: llq-opt %s --llq-quantize-gptq='bits=4 group-size=2 scale-type=f32 act-order=true static-groups=true' | FileCheck %s --check-prefixes=CHECK,PLAIN
// RUN: llq-opt %s --llq-quantize-gptq='bits=4 group-size=2 scale-type=f32 order=group-aware' | FileCheck %s --check-prefixes=CHECK,PLAIN
// RUN: llq-opt %s --llq-quantize-gptq='bits=4 group-size=0 scale-type=f32 act-order=true' | FileCheck %s --check-prefix=ROW
// RUN: llq-opt %s --llq-quantize-gptq='bits=4 group-size=4 scale-type=f32 act-order=true' | FileCheck %s --check-prefix=ROW

// CHECK: @forward(%[[X:[^:]*]]: tensor<?x4xf32>, %[[Z:[^:]*]]: tensor<?x4xf32>)
// One permutation for the layers of a site, also if they are quantized one after
// another. The order of the other site changes nothing.
// PERMUTED: %[[P:.*]] = llq.permute_channels %[[X]] by dense<[2, 0, 3, 1]>
// PERMUTED-NOT: llq.permute_channels
// PERMUTED: llq.linear "a" %[[P]],
// PERMUTED: llq.linear "b" %[[P]],
// PERMUTED: llq.linear "c" %[[Z]],
// PLAIN-NOT: llq.permute_channels
// PLAIN: llq.linear "a" %[[X]],
// ROW-NOT: llq.permute_channels
// ROW: return
// Codes 15, 5, 11, 15 of scales 3 / 15 and 8 / 15, and 5, 15, 15, 11.
// PERMUTED-DAG: a.codes: "0x100000005FFB"
// PERMUTED-DAG: a.scales: "0x10000000CDCC4C3E8988083F"
// PERMUTED-DAG: b.codes: "0x10000000F5BF"
// PERMUTED-DAG: b.scales: "0x10000000CDCC4C3E8988083F"
// Groups 1, 8 and 3, 6: codes 2, 15, 8, 15.
// PLAIN-DAG: a.codes: "0x10000000F2F8"

func.func @forward(%x: tensor<?x4xf32>, %z: tensor<?x4xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>) {
  %wa = llq.weight dense_resource<a> : tensor<1x4xf32>
  %wb = llq.weight dense_resource<b> : tensor<1x4xf32>
  %wc = llq.weight dense_resource<c> : tensor<1x4xf32>
  %a = llq.linear "a" %x, %wa {llq.stats = {
    tokens = 4 : i64, abs_max = dense<1.0> : tensor<4xf32>,
    mean_abs = dense<1.0> : tensor<4xf32>,
    mean_square = dense<[3.0, 1.0, 4.0, 2.0]> : tensor<4xf32>,
    second_moment = dense<[[3.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0],
                           [0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 2.0]]> : tensor<4x4xf32>}}
    : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  %b = llq.linear "b" %x, %wb {llq.stats = {
    tokens = 4 : i64, abs_max = dense<1.0> : tensor<4xf32>,
    mean_abs = dense<1.0> : tensor<4xf32>,
    mean_square = dense<[3.0, 1.0, 4.0, 2.0]> : tensor<4xf32>,
    second_moment = dense<[[3.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0],
                           [0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 2.0]]> : tensor<4x4xf32>}}
    : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  %c = llq.linear "c" %z, %wc {llq.stats = {
    tokens = 4 : i64, abs_max = dense<1.0> : tensor<4xf32>,
    mean_abs = dense<1.0> : tensor<4xf32>,
    mean_square = dense<1.0> : tensor<4xf32>,
    second_moment = dense<[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0],
                           [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]> : tensor<4x4xf32>}}
    : tensor<?x4xf32>, tensor<1x4xf32> -> tensor<?x1xf32>
  return %a, %b, %c : tensor<?x1xf32>, tensor<?x1xf32>, tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      // 1, 8, 3, 6
      a: "0x040000000000803F00000041000040400000C040",
      // 3, 6, 1, 8
      b: "0x04000000000040400000C0400000803F00000041",
      // 1, 2, 3, 4
      c: "0x040000000000803F000000400000404000008040"
    }
  }
#-}
