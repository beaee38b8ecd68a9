//===- Emit.h - Writes the model binary -------------------------*- C++ -*-===//
//
// From program form (llq.program, kernel modules, module attributes) to one
// .llq file, see docs/ModelBinary.md.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_EMIT_EMIT_H
#define LLQ_EMIT_EMIT_H

#include "llq/Support/ParallelFor.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <functional>
#include <string>

namespace llq {

struct EmitOptions {
  std::string output;
  /// Text of the passes that led here, for the provenance.
  std::string pipeline;
  /// Name of the source, without folders.
  std::string source;
  /// SHA-256 of the source, or, if it is still being computed, 64 digits in its
  /// place and what waits for it.
  std::string sourceSha256;
  std::function<llvm::Expected<std::string>()> finishSourceSha256;
  /// Calibration protocol as JSON, or empty.
  std::string calibration;
  /// FlatBuffer of runtime/schema/tokenizer.fbs, or empty.
  std::string tokenizer;
  unsigned threads = 1;
};

/// What was written.
struct EmitReport {
  uint64_t bytes = 0;
  uint64_t weightBytes = 0;
  uint64_t codeBytes = 0;
  /// Stored bits over weights of the linear layers of the decoder blocks, and
  /// of those plus embedding and head (a tied pair counts once).
  double bitsPerWeight = 0;
  double bitsPerWeightTotal = 0;
  double codeSeconds = 0;
  double weightSeconds = 0;
};

/// Writes `module` to `options.output` by way of a temporary beside it, so that
/// the file is complete or is not there. The kernel modules are consumed.
/// Errors are emitted as diagnostics.
mlir::FailureOr<EmitReport> emitModel(mlir::ModuleOp module,
                                      const EmitOptions &options);

/// The sizes that `emitModel` would report, as far as they are known without
/// generating code: bytes of header and weights, bits per weight.
mlir::FailureOr<EmitReport> measureModel(mlir::ModuleOp module);

} // namespace llq

#endif // LLQ_EMIT_EMIT_H
