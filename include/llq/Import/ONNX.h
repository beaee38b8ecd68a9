//===- ONNX.h - Import ONNX files -------------------------------*- C++ -*-===//
//
// Reads an ONNX file into the onnx dialect. Protobuf types stay inside.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_IMPORT_ONNX_H
#define LLQ_IMPORT_ONNX_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace llq {

/// Name of the function that holds the graph of an imported model.
inline constexpr llvm::StringLiteral kGraphName = "main_graph";

/// Imports the model in file `path` as a module with one function of onnx ops.
///
/// Weights inside the file become resource blobs; external data is referred to
/// by `#llq.external` after its place, size and offset have been checked, and
/// is not read. Model-local functions are inlined. Every problem (a damaged
/// file, a weight that is missing, outside the model's folder or of the wrong
/// size, an undefined or repeated name, a cycle, ...) is reported as one error
/// on `context` and gives null.
mlir::OwningOpRef<mlir::ModuleOp> importONNX(llvm::StringRef path,
                                             mlir::MLIRContext *context);

} // namespace llq

#endif // LLQ_IMPORT_ONNX_H
