//===- Compile.h - From a model to a deployable file ------------*- C++ -*-===//
//
// What llq-compile does, as a library call: quantize, generate code, write.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_DRIVER_COMPILE_H
#define LLQ_DRIVER_COMPILE_H

#include "llq/Calibration/Samples.h"
#include "llq/Emit/Emit.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace llq {

struct CompileOptions {
  std::string output;
  /// Chain of methods, e.g. `rtn(bits=4,group-size=128)`; empty: none.
  std::string quantize;
  /// The size to choose the layers' bits for: `3.25` bits per weight on average
  /// over the decoder blocks, or bytes of the file as `120MB`, `1.5GiB`; empty:
  /// as the chain says.
  std::string fit;
  /// Of these, those for the layers of the decoder blocks, once they are known.
  std::optional<int64_t> fitBytes;
  /// Samples for the methods of the chain; no file: none.
  SampleOptions calibration;
  /// `exact`, `int8`, or empty: int8 for layers of at most 8 bits.
  std::string accuracy;
  /// `f32`, `f16`, `int8`, `int4`, or empty: f16 with int8 accuracy, f32
  /// otherwise.
  std::string kvCache;
  /// `cpu`, `cpu:native` or `cpu:<level>`.
  std::string target = "cpu";
  int64_t maxTokens = 512;
  unsigned threads = 1;
  /// Name of the source file, for the provenance.
  std::string source;
  /// Go on with what a run that was stopped has left in
  /// getResumeFolder(output), and leave it there if this one fails too.
  bool resume = false;
};

struct CompileReport {
  EmitReport emit;
  /// All passes: quantization and lowering.
  double passSeconds = 0;
};

/// Where a run with calibration keeps the layers it has finished, until it is
/// complete.
std::string getResumeFolder(llvm::StringRef output);

/// The text of the pass pipeline that `options` stand for. Errors name the
/// option at fault.
llvm::Expected<std::string> buildPipeline(const CompileOptions &options);

/// Runs the pipeline on `module` (normal or quantized form, consumed) and
/// writes the result to `options.output`. Errors in the model are diagnostics,
/// and the error is then empty text.
llvm::Expected<CompileReport> compileModel(mlir::ModuleOp module,
                                           const CompileOptions &options);

} // namespace llq

#endif // LLQ_DRIVER_COMPILE_H
