//===- Checkpoints.h - Finished parts of a long run -------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_QUANTIZE_CHECKPOINTS_H
#define LLQ_LIB_QUANTIZE_CHECKPOINTS_H

#include "llq/Calibration/Calibrator.h"
#include "llq/Quantize/Method.h"

namespace llq {

/// Keeps what a method has made of a layer or a decoder block, if the module
/// says where (SampleOptions), so that a run that was killed can go on. What
/// comes back is what would be computed again.
class Checkpoints {
public:
  /// Keeps nothing.
  explicit Checkpoints(const WeightOptions &options) : options(&options) {}

  /// Emits an error if there is no such folder and none can be made.
  static mlir::FailureOr<Checkpoints> open(mlir::ModuleOp module,
                                           const WeightOptions &options);

  /// What `layers` become depends on their weights, the options of the method,
  /// and `inputs`, the key of each site's inputs (Calibrator::getKey). Empty if
  /// nothing is kept. Emits an error if a weight cannot be read.
  mlir::FailureOr<std::string> getKey(llvm::ArrayRef<std::string> inputs,
                                      llvm::ArrayRef<LinearOp> layers,
                                      unsigned bits);

  /// Null if there is none.
  mlir::DictionaryAttr load(llvm::StringRef key,
                            mlir::MLIRContext *context) const;

  /// Warns at `layer` if that fails: the run itself can go on.
  void save(llvm::StringRef key, mlir::DictionaryAttr value,
            LinearOp layer) const;

private:
  const WeightOptions *options;
  std::optional<ContentStore> store;
};

} // namespace llq

#endif // LLQ_LIB_QUANTIZE_CHECKPOINTS_H
