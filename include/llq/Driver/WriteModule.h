//===- WriteModule.h - Writes modules to files ------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_DRIVER_WRITEMODULE_H
#define LLQ_DRIVER_WRITEMODULE_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace llq {

/// Writes `module` to `path` by way of a temporary beside it: bytecode, or text
/// if the name ends in .mlir. "-" is standard output, as text, whose errors
/// Tool::finish reports.
llvm::Error writeModule(mlir::ModuleOp module, llvm::StringRef path);

/// Replaces every `#llq.external` weight by a resource blob with its bytes.
llvm::Error embedExternalWeights(mlir::ModuleOp module);

} // namespace llq

#endif // LLQ_DRIVER_WRITEMODULE_H
