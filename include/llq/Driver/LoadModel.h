//===- LoadModel.h - A model file to normal form ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_DRIVER_LOADMODEL_H
#define LLQ_DRIVER_LOADMODEL_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <functional>
#include <string>
#include <vector>

namespace llq {

struct LoadOptions {
  /// File or folder; empty: beside the model.
  std::string tokenizer;
  /// config.json; empty: beside the model.
  std::string config;
  /// Longest sequence; 0: from the configuration or the graph.
  int64_t context = 0;
  /// What to do when MLIR's reader crashes on a damaged file. Must not return,
  /// and not touch the context, whose state is unknown. Null: let it crash.
  std::function<void()> onCrash;
};

/// Reads `path`: MLIR (text or bytecode) as it is, or an ONNX model, imported
/// and raised to normal form. Null after an error on `context`.
mlir::OwningOpRef<mlir::ModuleOp> loadModel(llvm::StringRef path,
                                            mlir::MLIRContext *context,
                                            const LoadOptions &options);

/// Whether `path` names MLIR, which `loadModel` takes as it is: by its first
/// bytes or its name.
bool isMLIR(llvm::StringRef path);

/// All files that loading `path` may read besides the weights it refers to.
std::vector<std::string> getInputFiles(llvm::StringRef path,
                                       const LoadOptions &options);

/// The files that the weights of `module` refer to.
std::vector<std::string> getWeightFiles(mlir::ModuleOp module);

/// Puts the tokenizer in `path`, a file or folder, into the module attribute
/// llq.tokenizer, in the form in which the model file stores it.
llvm::LogicalResult attachTokenizer(mlir::ModuleOp module,
                                    llvm::StringRef path);

} // namespace llq

#endif // LLQ_DRIVER_LOADMODEL_H
