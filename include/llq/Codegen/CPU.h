//===- CPU.h - Code generation for CPUs -------------------------*- C++ -*-===//
//
// From program form with kernels in vector and llvm ops to native code.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CODEGEN_CPU_H
#define LLQ_CODEGEN_CPU_H

#include "llq/Codegen/CPULevel.h"

#include "mlir/IR/BuiltinOps.h"

#include <memory>
#include <string>

namespace llq {

class CPUDecoder;

/// Attaches the decode recipes to the formats.
void registerCPUDecoders(mlir::DialectRegistry &registry);

/// The dialects of kernel modules, and their translation to LLVM IR.
void registerKernelDialects(mlir::DialectRegistry &registry);

/// Lowers the kernels of `module` (consumed) to an object file, or to its text.
mlir::FailureOr<std::string> emitAssemblyOrObject(mlir::ModuleOp module,
                                                  const CPULevel &level,
                                                  bool assembly);

/// Lowers the kernels of `module` (consumed) to an ELF shared object for
/// `level` and returns its bytes. Errors are emitted at the module.
mlir::FailureOr<std::string> compileToSharedObject(mlir::ModuleOp module,
                                                   const CPULevel &level);

} // namespace llq

#endif // LLQ_CODEGEN_CPU_H
