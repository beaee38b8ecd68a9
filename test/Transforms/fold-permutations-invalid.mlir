// RUN: llq-opt %s --llq-fold-permutations --verify-diagnostics

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = llq.weight dense_resource<nowhere> : tensor<2x2xf16>
  // expected-error@+1 {{'llq.linear' op "a" resource 'nowhere' has no data: it was elided or released}}
  %a = llq.linear "a" %x, %w : tensor<?x2xf32>, tensor<2x2xf16> -> tensor<?x2xf32>
  %p = llq.permute_channels %a by dense<[1, 0]> : tensor<2xi32> : tensor<?x2xf32>
  return %p : tensor<?x2xf32>
}
