// The instructions that each level is made of.
// RUN: llq-opt %s --llq-form-dispatches --llq-lower-to-cpu=levels=x86-64-v2 --llq-test-emit-assembly -o /dev/null > %t.v2
// RUN: FileCheck %s --check-prefix=V2 < %t.v2
// RUN: FileCheck %s --check-prefix=V2NOT < %t.v2
// RUN: llq-opt %s --llq-form-dispatches --llq-lower-to-cpu=levels=x86-64-v3 --llq-test-emit-assembly -o /dev/null > %t.v3
// RUN: FileCheck %s --check-prefix=V3 < %t.v3
// RUN: FileCheck %s --check-prefix=V3NOT < %t.v3
// RUN: llq-opt %s --llq-form-dispatches --llq-lower-to-cpu=levels=x86-64-v4 --llq-test-emit-assembly -o /dev/null > %t.v4
// RUN: FileCheck %s --check-prefix=V4 < %t.v4
// RUN: llq-opt %s --llq-form-dispatches --llq-lower-to-cpu=levels=armv8.6-a --llq-test-emit-assembly -o /dev/null > %t.arm
// RUN: FileCheck %s --check-prefix=ARM < %t.arm
// Kernels call nothing and keep nothing.
// RUN: cat %t.v2 %t.v3 %t.v4 %t.arm | FileCheck %s --check-prefix=CALL

// V2: // level x86-64-v2
// V2-LABEL: linear_32x32_llquniform_bits4_group0_zeronone_scalef16_int8:
// V2: pmaddubsw {{.*}}xmm
// V2: pmaddwd {{.*}}xmm
// No f16 conversion, no fused multiply-add, no AVX register or instruction.
// V2NOT-NOT: {{vcvt|vf[n]?m|[yz]mm}}
// V2NOT-NOT: {{[[:space:]]v[a-z]+[[:space:]]}}

// V3: // level x86-64-v3
// V3-LABEL: linear_32x32_llquniform_bits4_group0_zeronone_scalef16_int8:
// V3: vpmaddubsw {{.*}}ymm
// V3: vpmaddwd {{.*}}ymm
// V3-LABEL: linear_32x32_f16_exact:
// V3: vcvtph2ps
// V3: vfmadd{{.*}}ymm
// V3NOT-NOT: {{zmm|vpdpbusd|%k[0-7]}}

// V4: // level x86-64-v4
// V4-LABEL: linear_32x32_llquniform_bits4_group0_zeronone_scalef16_int8:
// V4: vpdpbusd {{.*}}zmm
// V4-LABEL: linear_32x32_f16_exact:
// V4: vcvtph2ps {{.*}}zmm
// V4: vfmadd{{.*}}zmm

// ARM: // level armv8.6-a
// ARM-LABEL: linear_32x32_llquniform_bits4_group0_zeronone_scalef16_int8:
// ARM: usdot v{{[0-9]+}}.4s, v{{[0-9]+}}.16b, v{{[0-9]+}}.16b
// ARM-LABEL: linear_32x32_f16_exact:
// ARM: fcvtl
// ARM: fmla v{{[0-9]+}}.4s

// CALL-NOT: {{[[:space:]](call|callq|bl|blr)[[:space:]]}}
// CALL-NOT: @PLT
// CALL-NOT: .bss

!q = !llq.quantized<?x32, #llq.dynamic<bits = 8, group = 32>>
!w = !llq.quantized<32x32, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x32xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x32xf16>
  %n = llq.weight dense_resource<n> : tensor<32xf32>
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %f = llq.weight dense_resource<f> : tensor<32x32xf16>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x32xf16> -> tensor<?x32xf32>
  %positions = llq.positions %ids, %past : tensor<?xi32>
  %cos, %sin = llq.rotary_table %positions {frequencies = array<f32: 1.0, 0.1, 0.01, 0.001>} : tensor<?xi32> -> tensor<?x4xf32>
  %h = llq.rms_norm %x, %n {epsilon = 1.0e-05 : f32} : tensor<?x32xf32>, tensor<32xf32>
  %q = llq.quantize_activation %h : tensor<?x32xf32> -> !q
  %y = llq.linear "int8" %q, %w : !q, !w -> tensor<?x32xf32>
  %z = llq.linear "exact" %y, %f : tensor<?x32xf32>, tensor<32x32xf16> -> tensor<?x32xf32>
  %r = llq.rope %z, %cos, %sin : tensor<?x32xf32>, tensor<?x4xf32>
  %a = llq.attention %r, %y, %y, %past {layer = 0, heads = 4, kv_heads = 4, scale = 0.35 : f32, cache = #llq<cache_type f16>} : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
  %b = llq.attention %z, %y, %y, %past {layer = 1, heads = 4, kv_heads = 4, scale = 0.35 : f32, cache = #llq<cache_type int8>} : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
  %c = llq.attention %z, %y, %y, %past {layer = 2, heads = 4, kv_heads = 4, scale = 0.35 : f32, cache = #llq<cache_type int4>} : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
  %h2 = llq.add %b, %c : tensor<?x32xf32>
  %g = llq.swiglu %a, %h2 : tensor<?x32xf32>
  return %g : tensor<?x32xf32>
}
