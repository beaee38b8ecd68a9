// RUN: llq-opt %s --llq-set-cache | FileCheck %s --check-prefix=F16
// RUN: llq-opt %s --llq-set-cache=type=int8 | FileCheck %s --check-prefix=INT8
// RUN: llq-opt %s --llq-set-cache=type=int4 | FileCheck %s --check-prefix=INT4
// RUN: llq-opt %s --llq-set-cache=type=f32 | FileCheck %s --check-prefix=F32

// F16: llq.attention {{.*}}cache = #llq<cache_type f16>
// INT8: llq.attention {{.*}}cache = #llq<cache_type int8>
// INT4: llq.attention {{.*}}cache = #llq<cache_type int4>
// F32: llq.attention
// F32-NOT: cache_type
func.func @forward(%x: tensor<?x4xf32>, %past: index) -> tensor<?x4xf32> {
  %y = llq.attention %x, %x, %x, %past {layer = 0, heads = 1, kv_heads = 1, scale = 0.5 : f32, cache = #llq<cache_type f16>} : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
