//===- Samples.h - The token sequences of a calibration ---------*- C++ -*-===//
//
// Methods that need data find it in the module, as the attribute
// `llq.calibration`: token ids, how they are divided into sequences, and where
// they came from. So a pass that calibrates depends on its input alone.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CALIBRATION_SAMPLES_H
#define LLQ_CALIBRATION_SAMPLES_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace llq {

struct SampleOptions {
  /// Text (any name), JSON lines with `text` or `ids` (.jsonl) or sequences of
  /// ids, one per line (.ids).
  std::string file;
  int64_t samples = 128;
  /// Tokens of a sample.
  int64_t length = 2048;
  uint64_t seed = 0;
  /// Folders that results are kept in under the hash of all they depend on;
  /// empty: nowhere. Statistics of inputs, which other methods and widths need
  /// too, and what methods have made of layers, so that a run that was killed
  /// can go on.
  std::string statistics = {}, checkpoints = {};
};

/// What is wrong with the numbers of `options` for the model in `module`,
/// before any look at the file.
llvm::Error checkSampleOptions(mlir::ModuleOp module,
                               const SampleOptions &options);

/// Reads `options.file` and puts its samples into `module` as
/// `llq.calibration`. Text is tokenized once, without special tokens, by the
/// tokenizer of the module; samples begin at places drawn by Python's
/// `random.Random(seed).randint(0, tokens - length - 1)`, as the methods' own
/// programs draw them. Sequences of ids are taken in order and cut to `length`.
llvm::Error loadSamples(mlir::ModuleOp module, const SampleOptions &options);

/// The samples of a module; ids live as long as the module's attribute.
struct Samples {
  std::vector<llvm::ArrayRef<int32_t>> sequences;
  int64_t tokens = 0;
  int64_t longest = 0;
  /// The folder of statistics that other runs may take up, or empty.
  std::string statistics;
  /// Whether somebody keeps what is computed from these samples.
  bool kept = false;
};

/// Reads `llq.calibration` of `module`. Emits an error, with what to do, if it
/// is not there or damaged.
mlir::FailureOr<Samples> getSamples(mlir::ModuleOp module);

/// Says on the module of a dry run that samples would have been read.
void noteSamplesOfSketch(mlir::ModuleOp module);

/// The text of the protocol in `llq.calibration` as JSON, or empty.
llvm::StringRef getCalibrationProtocol(mlir::ModuleOp module);

/// Where finished layers are kept (SampleOptions::checkpoints), or empty.
std::string getCheckpointFolder(mlir::ModuleOp module);

/// Removes `llq.calibration` and frees its ids.
void dropSamples(mlir::ModuleOp module);

} // namespace llq

#endif // LLQ_CALIBRATION_SAMPLES_H
