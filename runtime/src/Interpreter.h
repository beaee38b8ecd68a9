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
#include "WorkSharing.h"
#include "llqrt/Model.h"
#include "llqrt/ThreadPool.h"

namespace llqrt {

class Interpreter {
public:
  /// Allocates the memory of `program` for a cache of `capacity` positions (a
  /// multiple of LLQRT_POSITION_BLOCK) and the threads of `pool`.
  Status bind(const Model &model, const ProgramInfo &program,
              const KernelTable &kernels, uint64_t capacity,
              const ThreadPool &pool);

  /// Where the token ids of the next run() go: max_tokens of them.
  int32_t *ids() const { return idsData; }

  /// Evaluates `tokens` tokens at positions `past` and following. Only the last
  /// `outputs` of them get outputs. All threads of `pool`, which must end
  /// before this object, take part as far as they are free.
  void run(ThreadPool &pool, int64_t tokens, int64_t outputs, int64_t past);

  /// A thread's part of run().
  void operator()(unsigned thread);

  /// Outputs of the last run: row t belongs to its token t. Rows are
  /// outputStride() floats apart.
  float *outputs() const { return outputsData; }
  size_t outputStride() const { return stride; }

  size_t barrierCount() const { return groups.size() - 1; }

private:
  /// A dispatch, bound.
  struct Step {
    llqrt_kernel kernel;
    /// First of its buffers in pointers.
    size_t buffers;
    int64_t items, itemsPerToken;
    bool outputsOnly;
  };
  /// Steps [first, last) that touch nothing that another of them writes.
  struct Group {
    size_t first, last;
  };
  /// What a thread must know of the pass that it takes part in.
  struct Pass {
    uint64_t number;
    llqrt_call all, asked;
  };

  Status allocate(const ProgramInfo &program, uint64_t capacity,
                  unsigned threads);
  bool readPass(Pass &pass) const;
  int64_t itemsOf(const Step &step, const Pass &pass) const;
  int64_t grainsOf(const Step &step, const Pass &pass) const;
  /// Computes what is left of a thread's share of a step; the number of grains.
  uint32_t runShare(size_t step, const Pass &pass, unsigned owner,
                    unsigned thread);
  void runGroup(size_t group, const Pass &pass, unsigned thread);

  std::vector<Step> steps;
  std::vector<Group> groups;
  std::vector<void *> pointers;
  int64_t capacity = 0;

  std::unique_ptr<WorkSharing> sharing;
  int64_t spinNanoseconds = 0;
  /// Passes are numbered from 0; 2 * number + 1 while the next is being
  /// written.
  std::atomic<uint64_t> passState{0};
  std::atomic<int64_t> passTokens{0}, passOutputs{0}, passPast{0};

  Memory arena, inputs, outputMemory, states, scratch;
  uint64_t scratchStride = 0;
  int32_t *idsData = nullptr;
  float *outputsData = nullptr;
  size_t stride = 0;
};

} // namespace llqrt

#endif // LLQRT_SRC_INTERPRETER_H
