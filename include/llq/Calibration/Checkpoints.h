//===- Checkpoints.h - Finished parts of a long run -------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CALIBRATION_CHECKPOINTS_H
#define LLQ_CALIBRATION_CHECKPOINTS_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Support/ContentStore.h"

#include "mlir/IR/BuiltinOps.h"

#include <optional>

namespace llq {

/// Keeps what a pass has made of a layer or a decoder block, if the module says
/// where (SampleOptions), so that a run that was killed can go on. What comes
/// back is what would be computed again: a key stands for all that it is
/// computed from.
class Checkpoints {
public:
  /// Keeps nothing.
  Checkpoints() = default;

  /// Emits an error if there is no such folder and none can be made.
  static mlir::FailureOr<Checkpoints> open(mlir::ModuleOp module);

  /// Whether anything is kept; if not, keys need not be computed.
  explicit operator bool() const { return store.has_value(); }

  /// Null if there is none.
  mlir::DictionaryAttr load(llvm::StringRef key,
                            mlir::MLIRContext *context) const;

  /// Warns at `layer` if that fails: the run itself can go on.
  void save(llvm::StringRef key, mlir::DictionaryAttr value,
            LinearOp layer) const;

private:
  std::optional<ContentStore> store;
};

} // namespace llq

#endif // LLQ_CALIBRATION_CHECKPOINTS_H
