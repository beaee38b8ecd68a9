// Temporaries that live at the same time lie apart; others share memory.
// RUN: llq-opt %s --llq-plan-memory --split-input-file | FileCheck %s -enable-var-scope
// RUN: llq-opt %s --llq-plan-memory --split-input-file | %python %S/Inputs/check_plan.py 2

// A chain: every other buffer takes the place of the one before. Sizes are for
// all tokens, in multiples of 64 bytes: 10 * 40 = 400 takes 448.

// CHECK-LABEL: llq.program @cpu
// CHECK-SAME: arena_bytes = 1472
// CHECK: llq.buffer temporary "a" {bytes_per_token = 100 : i64, offset = 0 : i64}
// CHECK: llq.buffer temporary "b" {bytes_per_token = 40 : i64, offset = 1024 : i64}
// CHECK: llq.buffer temporary "c" {bytes_per_token = 40 : i64, offset = 0 : i64}
// The input, the weight and the output have memory of their own.
// CHECK-NOT: offset
llq.program @cpu max_tokens = 10 {
  %in = llq.buffer input "ids" {bytes_per_token = 4 : i64}
  %w = llq.buffer weight "w" {bytes = 64 : i64, content = array<f32: 1.0>}
  %a = llq.buffer temporary "a" {bytes_per_token = 100 : i64}
  %b = llq.buffer temporary "b" {bytes_per_token = 40 : i64}
  %c = llq.buffer temporary "c" {bytes_per_token = 40 : i64}
  %kv = llq.buffer state "kv" {bytes_per_position = 8 : i64}
  %unused = llq.buffer temporary "unused" {bytes_per_token = 40 : i64}
  %out = llq.buffer output "out" {bytes_per_token = 4 : i64}
  llq.dispatch @k(%in, %w, %a) {items = 1 : i64, num_writes = 1 : i64}
  llq.dispatch @k(%a, %b) {items = 1 : i64, num_writes = 1 : i64}
  llq.dispatch @k(%b, %c) {items = 1 : i64, num_writes = 1 : i64}
  llq.dispatch @k(%c, %kv, %out) {items = 1 : i64, num_writes = 2 : i64}
}

// -----

// A residual stays while others come and go below it.

// CHECK-LABEL: llq.program @cpu
// CHECK-SAME: arena_bytes = 576
llq.program @cpu max_tokens = 1 {
  %in = llq.buffer input "ids" {bytes_per_token = 4 : i64}
  %residual = llq.buffer temporary "residual" {bytes_per_token = 64 : i64}
  %wide = llq.buffer temporary "wide" {bytes_per_token = 384 : i64}
  %small = llq.buffer temporary "small" {bytes_per_token = 128 : i64}
  %next = llq.buffer temporary "next" {bytes_per_token = 192 : i64}
  %last = llq.buffer temporary "last" {bytes_per_token = 64 : i64}
  %out = llq.buffer output "out" {bytes_per_token = 4 : i64}
  llq.dispatch @k(%in, %residual) {items = 1 : i64, num_writes = 1 : i64}
  llq.dispatch @k(%residual, %wide) {items = 1 : i64, num_writes = 1 : i64}
  llq.dispatch @k(%wide, %small) {items = 1 : i64, num_writes = 1 : i64}
  llq.dispatch @k(%small, %next) {items = 1 : i64, num_writes = 1 : i64}
  llq.dispatch @k(%next, %residual, %last) {items = 1 : i64, num_writes = 1 : i64}
  llq.dispatch @k(%last, %small, %out) {items = 1 : i64, num_writes = 1 : i64}
}
