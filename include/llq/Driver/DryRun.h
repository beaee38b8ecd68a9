//===- DryRun.h - What a compilation would make -----------------*- C++ -*-===//
//
// Sizes come from the formats, and the formats from the passes themselves, run
// on one row of each layer: nothing here knows a method.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_DRIVER_DRYRUN_H
#define LLQ_DRIVER_DRYRUN_H

#include "llq/Driver/Compile.h"
#include "llq/Pipelines/Chain.h"

namespace llq {

struct CompilePlan {
  /// What would be written; the code is left out of it, since none is
  /// generated.
  EmitReport emit;
  uint64_t tokenizerBytes = 0;
  /// Memory that the compilation would take at most, roughly: the quantized
  /// weights, the weights inside the input, the largest layer, code generation,
  /// and calibration.
  uint64_t peakBytes = 0;
  /// The same for temporary files of a calibration.
  uint64_t fileBytes = 0;
};

/// Plans what `compileModel` would do with `module` (consumed). Reads no weight
/// and writes nothing. Errors as those of `compileModel`.
llvm::Expected<CompilePlan> planCompile(mlir::ModuleOp module,
                                        const CompileOptions &options);

/// Puts on every linear layer that `chain` quantizes the bytes that its weight
/// takes at 2, 3, ... 8 bits, as `llq.widths`. Errors are diagnostics.
mlir::LogicalResult measureWidths(mlir::ModuleOp module, const Chain &chain);

} // namespace llq

#endif // LLQ_DRIVER_DRYRUN_H
