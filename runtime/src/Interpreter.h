//===- Interpreter.h - Runs a program's dispatches --------------*- C++ -*-===//
//
// Binds a program to memory and kernels once, then runs its list of dispatches
// on all threads of a pool for each chunk of tokens.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_SRC_INTERPRETER_H
#define LLQRT_SRC_INTERPRETER_H

#include "Memory.h"
#include "llqrt/Model.h"
#include "llqrt/ThreadPool.h"

namespace llqrt {

class Interpreter {
public:
  /// Allocates the memory of `program` for a cache of `capacity` positions (a
  /// multiple of LLQRT_POSITION_BLOCK) and `threads` threads.
  Status bind(const Model &model, const ProgramInfo &program,
              const KernelTable &kernels, uint64_t capacity, unsigned threads);

  /// Where the token ids of the next run() go: max_tokens of them.
  int32_t *ids() const { return idsData; }

  /// Evaluates `tokens` tokens at positions `past` and following. Only the last
  /// `outputs` of them get outputs. All threads of `pool` take part.
  void run(ThreadPool &pool, int64_t tokens, int64_t outputs, int64_t past);

  /// Outputs of the last run: row t belongs to its token t. Rows are
  /// outputStride() floats apart.
  float *outputs() const { return outputsData; }
  size_t outputStride() const { return stride; }

  size_t barrierCount() const;

private:
  /// A dispatch, bound.
  struct Step {
    llqrt_kernel kernel;
    /// First of its buffers in pointers.
    size_t buffers;
    int64_t items, itemsPerToken;
    bool outputsOnly;
    /// It touches what a dispatch since the last barrier wrote, or writes what
    /// one read.
    bool barrierBefore;
  };

  Status allocate(const ProgramInfo &program, uint64_t capacity,
                  unsigned threads);
  void runThread(ThreadPool &pool, unsigned thread, const llqrt_call &all,
                 const llqrt_call &asked) const;

  std::vector<Step> steps;
  std::vector<void *> pointers;
  int64_t capacity = 0;

  Memory arena, inputs, outputMemory, states, scratch;
  uint64_t scratchStride = 0;
  int32_t *idsData = nullptr;
  float *outputsData = nullptr;
  size_t stride = 0;
};

} // namespace llqrt

#endif // LLQRT_SRC_INTERPRETER_H
