// RUN: not llq-opt %s --llq-tune-scales 2>&1 | FileCheck %s --check-prefix=SOURCE
// RUN: not llq-opt %s --llq-quantize-rtn='bits=2 group-size=0' --llq-tune-scales 2>&1 | FileCheck %s --check-prefix=LOST
// RUN: not llq-opt %s --llq-keep-originals --llq-quantize-rtn='bits=2 group-size=0' --llq-tune-scales 2>&1 | FileCheck %s --check-prefix=SAMPLES
// RUN: not llq-opt %s --llq-keep-originals --llq-quantize-rtn='bits=2 group-size=0' --llq-tune-scales='learning-rate=0' 2>&1 | FileCheck %s --check-prefix=RATE
// RUN: not llq-opt %s --llq-keep-originals --llq-quantize-rtn='bits=2 group-size=0' --llq-tune-scales='only=layers.7.*' 2>&1 | FileCheck %s --check-prefix=ONLY
// RUN: not llq-opt %s --llq-keep-originals --llq-quantize-rtn='bits=8 group-size=0' --llq-set-accuracy --llq-tune-scales 2>&1 | FileCheck %s --check-prefix=ACTIVATIONS
// RUN: not llq-opt %s --llq-tune-scales='epochs=0' 2>&1 | FileCheck %s --check-prefix=EPOCHS

// SOURCE: error: llq-tune-scales: found no quantized layer with scales to train, it goes behind a method, as in 'rtn(bits=2) tune'
// LOST: error: 'llq.linear' op "layers.0.mlp.up_proj" has no original weight to compare with, run llq-keep-originals in front of what quantizes it
// SAMPLES: error: has no calibration samples
// RATE: error: llq-tune-scales: learning-rate is above 0 and at most 1, found 0
// ONLY: error: llq-tune-scales: only=layers.7.* matches no layer
// ACTIVATIONS: error: 'llq.linear' op "layers.0.mlp.up_proj" has quantized activations, tune it in front of what quantizes them
// EPOCHS: epochs

func.func @forward(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %w = llq.weight dense_resource<a> : tensor<2x2xf32>
  %y = llq.linear "layers.0.mlp.up_proj" %x, %w : tensor<?x2xf32>, tensor<2x2xf32> -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

{-#
  dialect_resources: {
    builtin: {
      // 1, 0.6, 1, 1
      a: "0x040000000000803F9A99193F0000803F0000803F"
    }
  }
#-}
