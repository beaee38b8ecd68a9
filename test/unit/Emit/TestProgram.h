//===- TestProgram.h - A small model in program form ------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef TEST_UNIT_EMIT_TESTPROGRAM_H
#define TEST_UNIT_EMIT_TESTPROGRAM_H

#include "test/unit/Codegen/TestWeights.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <string>

namespace llq::test {

/// An embedding, a normalization, and a feed-forward part with weights of every
/// kind: a resource, quantized and interleaved, a transposed view of a file.
class TestProgram {
public:
  /// Writes the file of the external weight to `folder`.
  explicit TestProgram(std::string folder);

  /// The model in program form, planned, with kernels for `level`; none: "".
  mlir::OwningOpRef<mlir::ModuleOp> build(llvm::StringRef level = "") const;

  TestWeight table, gate, up, down;
  std::vector<float> norm;
  std::string externalPath;
};

} // namespace llq::test

#endif // TEST_UNIT_EMIT_TESTPROGRAM_H
