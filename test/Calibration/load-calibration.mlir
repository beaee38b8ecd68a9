// Samples from files of ids; those from text are drawn by the unit tests.
//
// RUN: llq-opt %s --llq-load-calibration='file=%S/Inputs/three.ids samples=8 length=4' | FileCheck %s
// RUN: llq-opt %s --llq-load-calibration='file=%S/Inputs/three.ids samples=2 length=2' | FileCheck %s --check-prefix=CUT
// RUN: llq-opt %s --llq-load-calibration='file=%S/Inputs/two.jsonl length=4' | FileCheck %s --check-prefix=JSON
// RUN: llq-opt %s --llq-load-calibration='file=%S/Inputs/three.ids length=4' --llq-load-calibration='file=%S/Inputs/two.jsonl length=4' | FileCheck %s --check-prefix=JSON
// RUN: not llq-opt %s --llq-load-calibration='file=%S/Inputs/high.ids length=4' 2>&1 | FileCheck %s --check-prefix=HIGH
// RUN: not llq-opt %s --llq-load-calibration='file=%S/Inputs/letter.ids length=4' 2>&1 | FileCheck %s --check-prefix=LETTER
// RUN: not llq-opt %s --llq-load-calibration='file=%S/Inputs/other.jsonl length=4' 2>&1 | FileCheck %s --check-prefix=OTHER
// RUN: not llq-opt %s --llq-load-calibration='file=%S/Inputs/open.jsonl length=4' 2>&1 | FileCheck %s --check-prefix=OPEN
// RUN: not llq-opt %s --llq-load-calibration='file=%S/Inputs/missing.ids length=4' 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: not llq-opt %s --llq-load-calibration='file=%s length=4' 2>&1 | FileCheck %s --check-prefix=TOKENIZER
// RUN: not llq-opt %s --llq-load-calibration='file=%S/Inputs/three.ids samples=0' 2>&1 | FileCheck %s --check-prefix=RANGE

// CHECK: module attributes {llq.calibration = {ids = dense_resource<calibration> : tensor<6xi32>, lengths = array<i64: 3, 2, 1>, protocol = "{
// CHECK-SAME: file\22:\22three.ids\22,\22length\22:4,\22samples\22:3,\22seed\22:0,\22sha256\22:\22{{[0-9a-f]*}}\22,\22tokens\22:6}"}}
// CHECK: calibration: "0x10000000010000000200000003000000040000000000000005000000"
// CUT: llq.calibration = {ids = dense_resource<calibration> : tensor<4xi32>, lengths = array<i64: 2, 2>,
// CUT: calibration: "0x1000000001000000020000000400000000000000"
// JSON: llq.calibration = {ids = dense_resource<{{.*}}> : tensor<4xi32>, lengths = array<i64: 3, 1>,
// JSON: "0x1000000001000000020000000300000004000000"
// HIGH: error: llq-load-calibration: {{.*}}high.ids: line 2: id 9 is not in the vocabulary of 6
// LETTER: error: llq-load-calibration: {{.*}}letter.ids: line 2: 'b' is no token id
// OTHER: error: llq-load-calibration: {{.*}}other.jsonl: line 2: needs a member 'text' or 'ids'
// OPEN: error: llq-load-calibration: {{.*}}open.jsonl: line 1: no JSON: {{.*}}
// MISSING: error: llq-load-calibration: cannot read {{.*}}missing.ids: No such file or directory
// TOKENIZER: error: llq-load-calibration: the model has no tokenizer to read {{.*}} with: give one with --tokenizer when it is imported, or a file of ids
// RANGE: '0' is not a number of at least 1

func.func @forward(%ids: tensor<?xi32>, %past: index) -> tensor<?x4xf32> {
  %t = llq.weight dense_resource<t> : tensor<6x4xf16>
  %x = llq.embedding %ids, %t : tensor<?xi32>, tensor<6x4xf16> -> tensor<?x4xf32>
  return %x : tensor<?x4xf32>
}
