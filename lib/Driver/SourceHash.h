//===- SourceHash.h - Provenance of a model and its data files --*- C++ -*-===//
//
// The SHA-256 of a source is that of its file. A graph with weights in other
// files is what `sha256sum model.onnx model.onnx.data | sha256sum` prints: that
// of one line for each file, the graph first, the others by name.
//
// Data files are large, so they are hashed while their weights are used, by a
// thread of its own that reads ahead.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_DRIVER_SOURCEHASH_H
#define LLQ_LIB_DRIVER_SOURCEHASH_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace llq {

/// Notes in `llq.source` of `module`, imported from `path`, the files that its
/// weights lie in.
void recordDataFiles(mlir::ModuleOp module, llvm::StringRef path);

class SourceHash {
public:
  /// Begins with the files that `llq.source` of `module` names.
  explicit SourceHash(mlir::ModuleOp module);
  /// Gives up what is not finished.
  ~SourceHash();
  SourceHash(const SourceHash &) = delete;

  /// As many characters as the result has.
  const std::string &getPlaceholder() const { return graphHash; }
  /// Waits for the result: 64 digits, or nothing if the source is unknown.
  llvm::Expected<std::string> get();
  /// Makes `llq.source` of `module`, which needs the files no longer, hold the
  /// result.
  llvm::Error settle(mlir::ModuleOp module);

private:
  struct File {
    std::string name, path;
  };
  void run();
  std::string hashFile(const File &file);

  std::string graphName, graphHash;
  std::vector<File> files;
  std::string result, error;
  std::atomic<bool> cancelled = false;
  std::thread thread;
};

} // namespace llq

#endif // LLQ_LIB_DRIVER_SOURCEHASH_H
