// RUN: llq-opt %s --llq-form-dispatches --verify-diagnostics --split-input-file

// expected-error @below {{has no function @forward of one block}}
module {
}

// -----

// expected-error @below {{has no function @forward of one block}}
module {
  func.func private @forward(tensor<?xi32>, index) -> tensor<?x32xf32>
}
