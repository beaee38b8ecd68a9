// The worked example of docs/methods/hqq.md: step 0.2171429, zero point 2.595395
// after two rounds, codes 0 3 4 2 5 1 7 3. As stored, step and zero are halves.
//
// RUN: llq-opt %s --llq-quantize-hqq='bits=3 group-size=0' | FileCheck %s
// RUN: llq-opt %s --llq-quantize-hqq='bits=3 group-size=0 iterations=0' | FileCheck %s --check-prefix=FIRST
// RUN: llq-opt %s --llq-quantize-hqq='bits=3 group-size=4' | FileCheck %s --check-prefix=GROUPS
// RUN: not llq-opt %s --llq-quantize-hqq='power=1' 2>&1 | FileCheck %s --check-prefix=POWER
// RUN: not llq-opt %s --llq-quantize-hqq='beta=0' 2>&1 | FileCheck %s --check-prefix=BETA
// RUN: not llq-opt %s --llq-quantize-hqq='scheme=signed' 2>&1 | FileCheck %s --check-prefix=SCHEME

// CHECK: llq.quantized_weight {{.*}} : <1x8, #llq.uniform<bits = 3, group = 0, zero = float, scale = f16>>
// CHECK: llq.linear "a" {{.*}}method = {{.*}}name = "hqq", options = "beta=1.000000e+01 bits=3
// CHECK-DAG: a.codes: "0x1000000018D57C"
// 0.2171, 2.596
// CHECK-DAG: a.scales: "0x10000000F332"
// CHECK-DAG: a.zeros: "0x100000003141"
// 2.855
// FIRST-DAG: a.zeros: "0x10000000B641"
// GROUPS: tensor<1x2xf16>
// POWER: error: llq-quantize-hqq: power is above 0 and below 1 and beta above 0, found power 1.0{{.*}} and beta 1.0
// BETA: found power 7.0{{.*}} and beta 0.0
// SCHEME: no such option scheme

func.func @forward(%x: tensor<?x8xf32>) -> tensor<?x1xf32> {
  %w = llq.weight dense_resource<a> : tensor<1x8xf32>
  %y = llq.linear "a" %x, %w : tensor<?x8xf32>, tensor<1x8xf32> -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

{-#
  dialect_resources: {
    builtin: {
      a: "0x0400000052B81EBFAE47E13D3333B33E0AD7A3BD5C8F023F713D8ABE6666663F0AD7A33C"
    }
  }
#-}
