//===- ProgramRunner.h - Runs parts of a model in the compiler --*- C++ -*-===//
//
// Calibration runs models with the kernels that the compiler generates: the
// same passes and packers, the code loaded into this process.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CALIBRATION_PROGRAMRUNNER_H
#define LLQ_LIB_CALIBRATION_PROGRAMRUNNER_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Support/ParallelFor.h"
#include "llqrt/FileFormat.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace llq {

/// Compiles kernels for this machine and keeps them: the decoder blocks of a
/// model have the same ones.
class KernelCache {
public:
  KernelCache();
  ~KernelCache();

  /// The kernels of `module` (consumed) by name. Emits an error at the module.
  mlir::FailureOr<const llvm::StringMap<llqrt_kernel> *>
  compile(mlir::ModuleOp module);

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

/// Rows of a program's input or output: `columns` values every `stride` floats.
struct ProgramRows {
  float *data;
  int64_t columns, stride;
};

/// One function, compiled. Activations are f32 unless the IR quantizes them.
class ProgramRunner {
public:
  /// Compiles `@forward` of `module`: arguments are ids, past (or neither) and
  /// activations, results are activations. A call has at most `maxTokens`
  /// tokens, a sequence at most `capacity`. Emits an error at the module.
  static mlir::FailureOr<std::unique_ptr<ProgramRunner>>
  create(mlir::OwningOpRef<mlir::ModuleOp> module, KernelCache &cache,
         ThreadPool &pool, int64_t maxTokens, int64_t capacity);
  ~ProgramRunner();

  /// Where the token ids of the next call go; null if it has none.
  int32_t *getIds() const { return ids; }
  /// Inputs in the order of the function's arguments, ids and past left out.
  llvm::ArrayRef<ProgramRows> getInputs() const { return inputs; }
  /// Outputs of the last call, in the order of the function's results.
  llvm::ArrayRef<ProgramRows> getOutputs() const { return outputs; }

  /// Takes over weights whose resources hold other values by now. Emits an
  /// error at the weight.
  mlir::LogicalResult reloadWeights();

  /// Evaluates `tokens` tokens that follow `past` others of their sequence.
  void run(int64_t tokens, int64_t past);

private:
  struct Step {
    llqrt_kernel kernel;
    std::vector<void *> buffers;
    int64_t items, itemsPerToken;
  };
  struct FreeDeleter {
    void operator()(char *memory) const;
  };
  using Memory = std::unique_ptr<char[], FreeDeleter>;

  ProgramRunner(mlir::OwningOpRef<mlir::ModuleOp> module, ThreadPool &pool,
                int64_t capacity)
      : module(std::move(module)), pool(pool), capacity(capacity) {}
  mlir::LogicalResult bind(const llvm::StringMap<llqrt_kernel> &kernels);
  ProgramRows *findRows(BufferOp buffer);
  /// Zeroed memory of cache lines, or an error at `op`.
  mlir::FailureOr<char *> allocate(mlir::Operation *op, int64_t bytes);

  /// The program and its kernels.
  mlir::OwningOpRef<mlir::ModuleOp> module;
  ThreadPool &pool;
  int64_t capacity;
  std::vector<Step> steps;
  llvm::DenseMap<mlir::Value, char *> places;
  std::vector<Memory> memory;
  /// One for each chunk that a step is cut into.
  std::vector<char *> scratch;
  std::vector<ProgramRows> inputs, outputs;
  int32_t *ids = nullptr;
};

} // namespace llq

#endif // LLQ_LIB_CALIBRATION_PROGRAMRUNNER_H
