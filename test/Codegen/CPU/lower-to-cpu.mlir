// A program and its kernels.
// RUN: llq-opt %s --llq-form-dispatches --llq-lower-to-cpu='levels=x86-64-v3 max-tokens=8' --split-input-file | FileCheck %s -enable-var-scope
// RUN: llq-opt %s --llq-form-dispatches --llq-lower-to-cpu='levels=x86-64-v3' --verify-roundtrip --split-input-file -o /dev/null
// RUN: llq-opt %s --llq-form-dispatches --llq-lower-to-cpu --split-input-file | FileCheck %s --check-prefix=LEVELS

// A decoder block with int8 activations. All that follows the last append to a
// cache runs for the tokens whose outputs are asked for only.

// CHECK-LABEL: llq.program @cpu max_tokens = 8 attributes {
// CHECK-SAME: outputs = 32
// CHECK-SAME: scratch_bytes = 64
// CHECK: %[[IDS:.*]] = llq.buffer input "ids" {bytes_per_token = 4 : i64}
// CHECK: %[[TABLE:.*]] = llq.buffer weight "embed_tokens" {bytes = 4096
// CHECK-SAME: values = dense_resource<t>
// CHECK: %[[X:.*]] = llq.buffer temporary {{.*}} {bytes_per_token = 128 : i64}
// CHECK: llq.dispatch @[[EMBED:embedding_32_f16]](%[[IDS]], %[[TABLE]], %[[X]]) {items_per_token = 1 : i64, num_writes = 1 : i64}
// CHECK: %[[FREQ:.*]] = llq.buffer weight "rotary_frequencies" {bytes = 128 : i64, content = #llq.padded_vector<32
// CHECK: %[[ROTARY:.*]] = llq.buffer temporary "rotary" {bytes_per_token = 128 : i64}
// CHECK: llq.dispatch @{{rotary.*}}(%[[FREQ]], %[[ROTARY]])
// CHECK: %[[NORM:.*]] = llq.buffer weight {{.*}} {bytes = 128 : i64, content = #llq.padded_vector<32, [dense_resource<n>
// 32 codes, a scale and a sum.
// CHECK: %[[XQ:.*]] = llq.buffer temporary {{.*}} {bytes_per_token = 40 : i64}
// CHECK: llq.dispatch @[[NORMQ:norm_.*_quantize_int8_32]](%[[X]], %[[NORM]], %[[XQ]]) {items_per_token = 1 : i64, num_writes = 1 : i64}
// Three weights of 2 tiles of 64 + 4 * 64 bytes, 6 tiles of work.
// CHECK: %[[WQKV:.*]] = llq.buffer weight "q" {bytes = 1920 : i64, content = #llq.packed<"cpu", interleaved = false, [<name = "q"{{.*}}<name = "k"{{.*}}<name = "v"
// CHECK: %[[QKV:.*]] = llq.buffer temporary {{.*}} {bytes_per_token = 384 : i64}
// CHECK: llq.dispatch @{{linear_96x32_.*_int8}}(%[[XQ]], %[[WQKV]], %[[QKV]]) {items = 6 : i64, num_writes = 1 : i64}
// CHECK: %[[CACHE:.*]] = llq.buffer state "kv.0" {bytes_per_position = 256 : i64}
// CHECK: llq.dispatch @{{rope_append_4_4_8_f32_0_96_32_96_64_96}}(%[[QKV]], %[[QKV]], %[[QKV]], %[[ROTARY]], %[[Q:.*]], %[[CACHE]]) {items_per_token = 4 : i64, num_writes = 2 : i64}
// CHECK: llq.dispatch @{{attention_4_4_8_f32.*}}(%[[Q]], %[[CACHE]], %[[A:.*]]) {items_per_token = 4 : i64, num_writes = 1 : i64, outputs_only}
// CHECK: llq.dispatch @quantize_int8_32(%[[A]], %[[AQ:.*]]) {{.*}}outputs_only
// CHECK: llq.dispatch @[[ADD:linear_32x32_.*_int8_add]](%[[AQ]], %{{.*}}, %[[X]], %[[X1:.*]]) {items = 2 {{.*}}outputs_only
// The same kernel again.
// CHECK: llq.dispatch @[[NORMQ]](%[[X1]], %{{.*}}, %[[MQ:.*]]) {{.*}}outputs_only
// CHECK: %[[WGU:.*]] = llq.buffer weight "gate" {bytes = 1280 : i64, content = #llq.packed<"cpu", interleaved = true, [<name = "gate"{{.*}}<name = "up"
// CHECK: %[[G:.*]] = llq.buffer temporary "gated{{.*}}" {bytes_per_token = 128 : i64}
// CHECK: llq.dispatch @{{linear_64x32_.*_int8_swiglu}}(%[[MQ]], %[[WGU]], %[[G]]) {items = 2 {{.*}}outputs_only
// CHECK: llq.dispatch @quantize_int8_32(%[[G]], %[[GQ:.*]]) {{.*}}outputs_only
// CHECK: %[[Y:.*]] = llq.buffer output "outputs" {bytes_per_token = 128 : i64}
// CHECK: llq.dispatch @[[ADD]](%[[GQ]], %{{.*}}, %[[X1]], %[[Y]]) {items = 2 {{.*}}outputs_only
// CHECK-NOT: llq.dispatch
// CHECK: module @"kernels-x86-64-v3" attributes {llq.level = "x86-64-v3"}
// CHECK-DAG: func.func @[[EMBED]](%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: !llvm.ptr)
// CHECK-DAG: func.func @[[NORMQ]](
// CHECK-DAG: func.func @[[ADD]](
// Nine kernels for eleven dispatches.
// CHECK-NOT: func.func @forward

// LEVELS: module @"kernels-x86-64-v2"
// LEVELS-COUNT-9: func.func
// LEVELS-NOT: func.func
// LEVELS: module @"kernels-x86-64-v3"
// LEVELS-COUNT-9: func.func
// LEVELS-NOT: func.func
// LEVELS: module @"kernels-x86-64-v4"
// LEVELS-COUNT-9: func.func
// LEVELS-NOT: func.func
// LEVELS: module @"kernels-x86-64-v4-vbmi2"
// LEVELS-COUNT-9: func.func
// LEVELS-NOT: func.func
// LEVELS: llq.program
!w = !llq.quantized<32x32, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
!x = !llq.quantized<?x32, #llq.dynamic<bits = 8, group = 32>>
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x32xf32> {
  %table = llq.weight dense_resource<t> : tensor<50x32xf16>
  %x = llq.embedding %ids, %table : tensor<?xi32>, tensor<50x32xf16> -> tensor<?x32xf32>
  %positions = llq.positions %ids, %past : tensor<?xi32>
  %cos, %sin = llq.rotary_table %positions {frequencies = array<f32: 1.0, 0.1, 0.01, 0.001>} : tensor<?xi32> -> tensor<?x4xf32>
  %n = llq.weight dense_resource<n> : tensor<32xf32>
  %h = llq.rms_norm %x, %n {epsilon = 1.0e-05 : f32} : tensor<?x32xf32>, tensor<32xf32>
  %hq = llq.quantize_activation %h : tensor<?x32xf32> -> !x
  %wq = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %q = llq.linear "q" %hq, %wq : !x, !w -> tensor<?x32xf32>
  %qr = llq.rope %q, %cos, %sin : tensor<?x32xf32>, tensor<?x4xf32>
  %wk = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %k = llq.linear "k" %hq, %wk : !x, !w -> tensor<?x32xf32>
  %kr = llq.rope %k, %cos, %sin : tensor<?x32xf32>, tensor<?x4xf32>
  %wv = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %v = llq.linear "v" %hq, %wv : !x, !w -> tensor<?x32xf32>
  %a = llq.attention %qr, %kr, %v, %past {layer = 0, heads = 4, kv_heads = 4, scale = 0.35 : f32} : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
  %aq = llq.quantize_activation %a : tensor<?x32xf32> -> !x
  %wo = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %o = llq.linear "o" %aq, %wo : !x, !w -> tensor<?x32xf32>
  %x1 = llq.add %o, %x : tensor<?x32xf32>
  %m = llq.rms_norm %x1, %n {epsilon = 1.0e-05 : f32} : tensor<?x32xf32>, tensor<32xf32>
  %mq = llq.quantize_activation %m : tensor<?x32xf32> -> !x
  %wu = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %up = llq.linear "up" %mq, %wu : !x, !w -> tensor<?x32xf32>
  %wg = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %gate = llq.linear "gate" %mq, %wg : !x, !w -> tensor<?x32xf32>
  %g = llq.swiglu %gate, %up : tensor<?x32xf32>
  %gq = llq.quantize_activation %g : tensor<?x32xf32> -> !x
  %wd = llq.quantized_weight {codes = dense_resource<c> : tensor<32x16xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %d = llq.linear "down" %gq, %wd : !x, !w -> tensor<?x32xf32>
  %y = llq.add %x1, %d : tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

// A tied table is stored once, in the layout of the product; rows are padded to
// 32, also those of the outputs.

// CHECK-LABEL: llq.program @cpu
// CHECK-SAME: outputs = 50
// CHECK: %[[TABLE:.*]] = llq.buffer weight "embed_tokens" {bytes = 8192
// CHECK: llq.dispatch @embedding_40_bf16(%{{.*}}, %[[TABLE]], %[[X:.*]]) {items_per_token = 1 : i64, num_writes = 1 : i64, outputs_only}
// CHECK: %[[Y:.*]] = llq.buffer output "outputs" {bytes_per_token = 256 : i64}
// CHECK: llq.dispatch @linear_64x40_bf16_exact(%[[X]], %[[TABLE]], %[[Y]]) {items = 4 : i64, num_writes = 1 : i64, outputs_only}
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x50xf32> {
  %w = llq.weight dense_resource<w> : tensor<50x40xbf16>
  %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<50x40xbf16> -> tensor<?x40xf32>
  %y = llq.linear "lm_head" %x, %w : tensor<?x40xf32>, tensor<50x40xbf16> -> tensor<?x50xf32>
  return %y : tensor<?x50xf32>
}

// -----

// Biases follow each other as the rows of the weights do. Scratch holds a
// head, and behind it what is cached of it.
// Without rotation no table is read.

// CHECK-LABEL: llq.program @cpu
// CHECK-SAME: scratch_bytes = 240
// CHECK: llq.buffer weight "q" {bytes = 10240
// CHECK: %[[BIAS:.*]] = llq.buffer weight "q.bias" {bytes = 640 : i64, content = #llq.padded_vector<32, [dense_resource<bq> : tensor<80xf16>, dense_resource<bk> : tensor<40xf16>
// CHECK: llq.dispatch @linear_160x7_f16_exact_bias(%{{.*}}, %{{.*}}, %[[BIAS]], %[[QK:.*]]) {items = 10
// CHECK: %[[V:.*]] = llq.buffer temporary "v
// CHECK: llq.dispatch @linear_64x7_f16_exact(%{{.*}}, %{{.*}}, %[[V]])
// Keys and values of 40 f16 each.
// CHECK: llq.buffer state "kv.3" {bytes_per_position = 160 : i64}
// CHECK: llq.dispatch @rope_append_2_1_40_f16_0_160_96_160_0_64_none(%[[QK]], %[[QK]], %[[V]], %{{.*}}) {items_per_token = 1
// CHECK: llq.dispatch @attention_2_1_40_f16
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x80xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x7xf16>
  %wq = llq.weight dense_resource<wq> : tensor<80x7xf16>
  %wk = llq.weight dense_resource<wk> : tensor<40x7xf16>
  %wv = llq.weight dense_resource<wv> : tensor<40x7xf16>
  %bq = llq.weight dense_resource<bq> : tensor<80xf16>
  %bk = llq.weight dense_resource<bk> : tensor<40xf16>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x7xf16> -> tensor<?x7xf32>
  %q = llq.linear "q" %x, %wq bias %bq : tensor<80xf16> : tensor<?x7xf32>, tensor<80x7xf16> -> tensor<?x80xf32>
  %k = llq.linear "k" %x, %wk bias %bk : tensor<40xf16> : tensor<?x7xf32>, tensor<40x7xf16> -> tensor<?x40xf32>
  %v = llq.linear "v" %x, %wv : tensor<?x7xf32>, tensor<40x7xf16> -> tensor<?x40xf32>
  %a = llq.attention %q, %k, %v, %past {layer = 3, heads = 2, kv_heads = 1, scale = 0.25 : f32, cache = #llq<cache_type f16>} : tensor<?x80xf32>, tensor<?x40xf32>, tensor<?x40xf32> -> tensor<?x80xf32>
  return %a : tensor<?x80xf32>
}

// -----

// What is not fused reads the parts of a product where they are.

// CHECK-LABEL: llq.program @cpu
// CHECK: llq.dispatch @linear_128x32_f16_exact_bias(%{{.*}}, %{{.*}}, %{{.*}}, %[[GU:.*]]) {items = 8
// CHECK: llq.dispatch @swiglu_40_0_128_64_128(%[[GU]], %[[GU]], %[[S:.*]])
// CHECK: llq.dispatch @add_40_0_64_0_64(%[[S]], %[[S]], %{{.*}})
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x40xf32> {
  %w = llq.weight dense_resource<w> : tensor<40x32xf16>
  %b = llq.weight dense_resource<b> : tensor<40xf16>
  %x = llq.embedding %ids, %w : tensor<?xi32>, tensor<40x32xf16> -> tensor<?x32xf32>
  %g = llq.linear "g" %x, %w bias %b : tensor<40xf16> : tensor<?x32xf32>, tensor<40x32xf16> -> tensor<?x40xf32>
  %u = llq.linear "u" %x, %w bias %b : tensor<40xf16> : tensor<?x32xf32>, tensor<40x32xf16> -> tensor<?x40xf32>
  %s = llq.swiglu %g, %u : tensor<?x40xf32>
  %y = llq.add %s, %s : tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}

// -----

// Angles that no formula gives are rows of tables, stored as f32 one after
// another: 9 rows of 4 are 36 numbers, padded to 64.

// CHECK-LABEL: llq.program @cpu
// CHECK: %[[COS:.*]] = llq.buffer weight "rotary_cosines" {bytes = 256 : i64, content = #llq.padded_vector<32, [dense_resource<c>
// CHECK: %[[SIN:.*]] = llq.buffer weight "rotary_sines" {bytes = 256 : i64, content = #llq.padded_vector<32, [dense_resource<s>
// CHECK: %[[ANGLES:.*]] = llq.buffer temporary "rotary" {bytes_per_token = 128 : i64}
// CHECK: llq.dispatch @rotary_lookup_4_9(%[[COS]], %[[SIN]], %[[ANGLES]]) {items_per_token = 1
// CHECK: llq.dispatch @rope_append_{{.*}}(%{{.*}}, %{{.*}}, %{{.*}}, %[[ANGLES]], %{{.*}}, %{{.*}})
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x8xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x8xf16>
  %ct = llq.weight dense_resource<c> : tensor<9x4xf16>
  %st = llq.weight dense_resource<s> : tensor<9x4xf16>
  %positions = llq.positions %ids, %past : tensor<?xi32>
  %cos, %sin = llq.rotary_lookup %positions, %ct, %st : tensor<?xi32>, tensor<9x4xf16>, tensor<9x4xf16> -> tensor<?x4xf32>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x8xf16> -> tensor<?x8xf32>
  %q = llq.rope %x, %cos, %sin : tensor<?x8xf32>, tensor<?x4xf32>
  %k = llq.rope %x, %cos, %sin : tensor<?x8xf32>, tensor<?x4xf32>
  %a = llq.attention %q, %k, %x, %past {layer = 0, heads = 1, kv_heads = 1, scale = 0.25 : f32} : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x8xf32>
  return %a : tensor<?x8xf32>
}

// -----

// A part of a model: activations come in and go out, by number.

// CHECK-LABEL: llq.program @cpu
// CHECK: %[[X:.*]] = llq.buffer input "inputs.0" {bytes_per_token = 128 : i64}
// CHECK: %[[R:.*]] = llq.buffer input "inputs.1" {bytes_per_token = 256 : i64}
// CHECK: %[[Y:.*]] = llq.buffer output "outputs.1" {bytes_per_token = 256 : i64}
// CHECK: llq.dispatch @linear_64x32_f16_exact_add(%[[X]], %{{.*}}, %[[R]], %[[Y]]) {items = 4 : i64, num_writes = 1 : i64}
// CHECK: %[[S:.*]] = llq.buffer output "outputs.0" {bytes_per_token = 256 : i64}
// CHECK: llq.dispatch @add_40_0_64_0_64(%[[Y]], %[[Y]], %[[S]]) {items_per_token = 1 : i64, num_writes = 1 : i64}
func.func @forward(%past: index, %x: tensor<?x32xf32>, %r: tensor<?x40xf32>) -> (tensor<?x40xf32>, tensor<?x40xf32>) {
  %w = llq.weight dense_resource<w> : tensor<40x32xf16>
  %l = llq.linear "o" %x, %w : tensor<?x32xf32>, tensor<40x32xf16> -> tensor<?x40xf32>
  %y = llq.add %l, %r : tensor<?x40xf32>
  %s = llq.add %y, %y : tensor<?x40xf32>
  return %s, %y : tensor<?x40xf32>, tensor<?x40xf32>
}

// -----

// One scale per token: 64 codes, 3 sums and the scale, and the same kernel for
// two products. A static scale is a buffer, so that layers share their kernel.

// CHECK-LABEL: llq.program @cpu
// CHECK: %[[TQ:.*]] = llq.buffer temporary {{.*}} {bytes_per_token = 80 : i64}
// CHECK: llq.dispatch @{{norm_.*_quantize_token6_64}}(%{{.*}}, %{{.*}}, %[[TQ]]) {items_per_token = 1 : i64, num_writes = 1 : i64, outputs_only}
// CHECK: llq.dispatch @[[P:linear_64x64_.*_token6]](%[[TQ]], %{{.*}}, %[[A:.*]]) {items = 4
// CHECK: %[[S:.*]] = llq.buffer weight "scale.{{.*}}" {bytes = 128 : i64, content = #llq.padded_vector<32, [array<f32: 5.000000e-01>]>}
// CHECK: %[[SQ:.*]] = llq.buffer temporary {{.*}} {bytes_per_token = 80 : i64}
// CHECK: llq.dispatch @[[Q:quantize_static8_64]](%[[A]], %[[S]], %[[SQ]]) {items_per_token = 1
// CHECK: llq.dispatch @[[L:linear_64x64_.*_static8]](%[[SQ]],
// CHECK: llq.buffer weight "scale.{{.*}}" {{.*}}array<f32: 2.500000e-01>
// CHECK: llq.dispatch @[[Q]](
// CHECK: llq.dispatch @[[L]](
!w64 = !llq.quantized<64x64, #llq.uniform<bits = 6, group = 0, zero = none, scale = f16>>
!t64 = !llq.quantized<?x64, #llq.dynamic<bits = 6, group = 0>>
!s64 = !llq.quantized<?x64, #llq.static<bits = 8, scale = 0.5 : f32>>
!r64 = !llq.quantized<?x64, #llq.static<bits = 8, scale = 0.25 : f32>>
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x64xf32> {
  %table = llq.weight dense_resource<t> : tensor<50x64xf16>
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<64x48xi8>, scales = dense_resource<s> : tensor<64x1xf16>} : !w64
  %n = llq.weight dense_resource<n> : tensor<64xf32>
  %x = llq.embedding %ids, %table : tensor<?xi32>, tensor<50x64xf16> -> tensor<?x64xf32>
  %h = llq.rms_norm %x, %n {epsilon = 1.0e-05 : f32} : tensor<?x64xf32>, tensor<64xf32>
  %hq = llq.quantize_activation %h : tensor<?x64xf32> -> !t64
  %a = llq.linear "a" %hq, %w : !t64, !w64 -> tensor<?x64xf32>
  %aq = llq.quantize_activation %a : tensor<?x64xf32> -> !s64
  %b = llq.linear "b" %aq, %w : !s64, !w64 -> tensor<?x64xf32>
  %bq = llq.quantize_activation %b : tensor<?x64xf32> -> !r64
  %c = llq.linear "c" %bq, %w : !r64, !w64 -> tensor<?x64xf32>
  return %c : tensor<?x64xf32>
}

// -----

// The order of channels lies behind the weight of the norm, 16 bits for each;
// what is padding stays there.

// CHECK-LABEL: llq.program @cpu
// CHECK: %[[X:.*]] = llq.buffer input "inputs.0" {bytes_per_token = 128 : i64}
// CHECK: %[[N:.*]] = llq.buffer weight "norm.0" {bytes = 192 : i64, content = #llq.padded_vector<32, [dense_resource<n> : tensor<30xf32>, dense<[29, 0, 1, {{.*}}, 27, 28, 30, 31]> : tensor<32xi16>]>}
// CHECK: %[[A:.*]] = llq.buffer temporary "permuted.0" {bytes_per_token = 128 : i64}
// CHECK: llq.dispatch @norm_3727C5AC_permute_30(%[[X]], %[[N]], %[[A]]) {items_per_token = 1 : i64, num_writes = 1 : i64}
// CHECK: %[[O:.*]] = llq.buffer weight "order.1" {bytes = 64 : i64, content = #llq.padded_vector<32, [dense<[29,
// CHECK: %[[B:.*]] = llq.buffer output "outputs.0"
// CHECK: llq.dispatch @permute_30(%[[A]], %[[O]], %[[B]])
// CHECK: %[[Q:.*]] = llq.buffer weight "order.2" {bytes = 64
// CHECK: %[[C:.*]] = llq.buffer temporary "quantized.2" {bytes_per_token = 40 : i64}
// CHECK: llq.dispatch @permute_quantize_int8_30(%[[B]], %[[Q]], %[[C]])
!x = !llq.quantized<?x30, #llq.dynamic<bits = 8, group = 32>>
!w = !llq.quantized<32x30, #llq.uniform<bits = 4, group = 0, zero = none, scale = f16>>
func.func @forward(%past: index, %x: tensor<?x30xf32>) -> (tensor<?x30xf32>, tensor<?x32xf32>) {
  %n = llq.weight dense_resource<n> : tensor<30xf32>
  %w = llq.quantized_weight {codes = dense_resource<c> : tensor<32x15xi8>, scales = dense_resource<s> : tensor<32x1xf16>} : !w
  %a = llq.rms_norm %x, %n {epsilon = 1.0e-05 : f32} : tensor<?x30xf32>, tensor<30xf32>
  %b = llq.permute_channels %a by dense<[29, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28]> : tensor<30xi32> : tensor<?x30xf32>
  %c = llq.permute_channels %b by dense<[29, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28]> : tensor<30xi32> : tensor<?x30xf32>
  %d = llq.permute_channels %c by dense<[29, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28]> : tensor<30xi32> : tensor<?x30xf32>
  %q = llq.quantize_activation %d : tensor<?x30xf32> -> !x
  %y = llq.linear "y" %q, %w : !x, !w -> tensor<?x32xf32>
  return %c, %y : tensor<?x30xf32>, tensor<?x32xf32>
}

// -----

// A cache of 4 bits: keys and values of 40 channels are 20 bytes each, and the
// scales and minimums of their two groups 8.

// CHECK-LABEL: llq.program @cpu
// CHECK-SAME: kv_cache = "int4"
// CHECK: llq.buffer state "kv.0" {bytes_per_position = 56 : i64}
// CHECK: llq.dispatch @rope_append_1_1_40_int4_{{.*}}_none(
// CHECK: llq.dispatch @attention_1_1_40_int4_3E800000(
func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x40xf32> {
  %t = llq.weight dense_resource<t> : tensor<9x40xf16>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<9x40xf16> -> tensor<?x40xf32>
  %a = llq.attention %x, %x, %x, %past {layer = 0, heads = 1, kv_heads = 1, scale = 0.25 : f32, cache = #llq<cache_type int4>} : tensor<?x40xf32>, tensor<?x40xf32>, tensor<?x40xf32> -> tensor<?x40xf32>
  return %a : tensor<?x40xf32>
}
