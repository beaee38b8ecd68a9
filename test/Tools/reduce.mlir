// A module shrinks by a pass as long as the script finds it interesting.
// RUN: llq-reduce %s -opt-reduction-pass='opt-pass=symbol-dce test=%S/Inputs/has-linear.sh' | FileCheck %s

// CHECK-NOT: func.func private @boring
func.func private @boring(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %y = llq.add %x, %x : tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// CHECK: func.func @interesting
// CHECK: llq.linear
func.func @interesting(%x: tensor<?x4xf32>, %w: tensor<4x4xf32>) {
  %y = llq.linear "l" %x, %w : tensor<?x4xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
  return
}
