//===- InitAll.h - Registers everything LLQ has -----------------*- C++ -*-===//
//
// Every compiler tool calls these; nothing else registers anything.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_INITALL_H
#define LLQ_INITALL_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace llq {

/// Registers the dialects of LLQ, the upstream dialects that its passes create,
/// and the interfaces that targets attach to formats.
void registerAllDialects(mlir::DialectRegistry &registry);

/// Registers the passes and pipelines of LLQ and the upstream passes.
void registerAllPasses();

/// Makes `--version` of a tool whose command line is LLVM's print `tool`, the
/// version of LLQ and that of LLVM.
void setVersionPrinter(const char *tool);

} // namespace llq

#endif // LLQ_INITALL_H
