//===- Interpreter.cpp - Runs a program's dispatches ----------------------===//
//
// Each thread walks the same list of steps and computes its own contiguous
// share of every step's items. The division depends on the number of threads,
// the value of an item does not: kernels fix the order within one.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Interpreter.h"

#include <algorithm>

using namespace llqrt;

namespace {

/// Memory that a dispatch touches: bytes of the arena, or a buffer of its own.
struct Extent {
  /// 0: the arena; otherwise 1 + the buffer's index.
  uint64_t space;
  uint64_t begin, end;

  bool overlaps(const Extent &other) const {
    return space == other.space && begin < other.end && other.begin < end;
  }
};

/// What the dispatches since the last barrier touched.
class PendingAccesses {
public:
  explicit PendingAccesses(const ProgramInfo &program) : program(program) {}

  /// Adds `dispatch`; true if a barrier must come before it.
  bool add(const DispatchInfo &dispatch) {
    std::vector<Extent> newReads, newWrites;
    size_t firstWrite = dispatch.buffers.size() - dispatch.numWrites;
    for (size_t i = 0; i < dispatch.buffers.size(); ++i) {
      const BufferInfo &buffer = program.buffers[dispatch.buffers[i]];
      if (buffer.kind == BufferKind::Weight || buffer.kind == BufferKind::Input)
        continue;
      (i < firstWrite ? newReads : newWrites)
          .push_back(extentOf(dispatch.buffers[i]));
    }
    bool conflict = overlap(newReads, writes) || overlap(newWrites, writes) ||
                    overlap(newWrites, reads);
    if (conflict) {
      reads.clear();
      writes.clear();
    }
    reads.insert(reads.end(), newReads.begin(), newReads.end());
    writes.insert(writes.end(), newWrites.begin(), newWrites.end());
    return conflict;
  }

private:
  Extent extentOf(uint32_t index) const {
    const BufferInfo &buffer = program.buffers[index];
    if (buffer.kind != BufferKind::Temporary)
      return {uint64_t(1) + index, 0, 1};
    return {0, buffer.offset,
            buffer.offset + buffer.bytesPerToken * program.maxTokens};
  }
  static bool overlap(const std::vector<Extent> &a,
                      const std::vector<Extent> &b) {
    return std::any_of(a.begin(), a.end(), [&](const Extent &x) {
      return std::any_of(b.begin(), b.end(),
                         [&](const Extent &y) { return x.overlaps(y); });
    });
  }

  const ProgramInfo &program;
  std::vector<Extent> reads, writes;
};

} // namespace

/// Buffers and each thread's scratch begin on page boundaries.
static uint64_t pageAligned(uint64_t bytes) {
  return (bytes + 4095) / 4096 * 4096;
}

Status Interpreter::allocate(const ProgramInfo &program, uint64_t capacity,
                             unsigned threads) {
  uint64_t stateBytes = 0;
  for (const BufferInfo &buffer : program.buffers)
    if (buffer.kind == BufferKind::State)
      stateBytes += pageAligned(buffer.bytesPerPosition * capacity);
  auto perToken = [&](uint32_t buffer) {
    return program.buffers[buffer].bytesPerToken * program.maxTokens;
  };
  scratchStride = pageAligned(program.scratchBytes +
                              program.scratchBytesPerPosition * capacity);
  LLQRT_RETURN_IF_ERROR(
      Memory::allocate(program.arenaBytes, true, "activations", arena));
  LLQRT_RETURN_IF_ERROR(Memory::allocate(perToken(program.inputBuffer), false,
                                         "token ids", inputs));
  LLQRT_RETURN_IF_ERROR(Memory::allocate(perToken(program.outputBuffer), true,
                                         "outputs", outputMemory));
  LLQRT_RETURN_IF_ERROR(Memory::allocate(
      stateBytes, true, "the cache, ask for less context", states));
  return Memory::allocate(scratchStride * threads, true, "scratch", scratch);
}

Status Interpreter::bind(const Model &model, const ProgramInfo &program,
                         const KernelTable &kernels, uint64_t cacheCapacity,
                         unsigned threads) {
  LLQRT_RETURN_IF_ERROR(allocate(program, cacheCapacity, threads));
  capacity = static_cast<int64_t>(cacheCapacity);

  std::vector<void *> memory;
  uint64_t stateOffset = 0;
  for (const BufferInfo &buffer : program.buffers) {
    switch (buffer.kind) {
    case BufferKind::Input:
      memory.push_back(inputs.data());
      break;
    case BufferKind::Output:
      memory.push_back(outputMemory.data());
      break;
    case BufferKind::Temporary:
      memory.push_back(arena.data() + buffer.offset);
      break;
    case BufferKind::Weight:
      // Checked at opening: no dispatch writes it.
      memory.push_back(
          const_cast<std::byte *>(model.weight(buffer.weight).data()));
      break;
    case BufferKind::State:
      memory.push_back(states.data() + stateOffset);
      stateOffset += pageAligned(buffer.bytesPerPosition * cacheCapacity);
      break;
    }
  }
  idsData = reinterpret_cast<int32_t *>(inputs.data());
  outputsData = reinterpret_cast<float *>(outputMemory.data());
  stride = program.buffers[program.outputBuffer].bytesPerToken / sizeof(float);

  PendingAccesses pending(program);
  for (const DispatchInfo &dispatch : program.dispatches) {
    steps.push_back({kernels.kernels[dispatch.kernel], pointers.size(),
                     dispatch.items, dispatch.itemsPerToken,
                     dispatch.outputsOnly, pending.add(dispatch)});
    for (uint32_t buffer : dispatch.buffers)
      pointers.push_back(memory[buffer]);
  }
  return {};
}

void Interpreter::run(ThreadPool &pool, int64_t tokens, int64_t outputs,
                      int64_t past) {
  llqrt_call all = {0, tokens, past, capacity};
  llqrt_call asked = {tokens - outputs, tokens, past, capacity};
  pool.run([&](unsigned thread) { runThread(pool, thread, all, asked); });
}

void Interpreter::runThread(ThreadPool &pool, unsigned thread,
                            const llqrt_call &all,
                            const llqrt_call &asked) const {
  void *threadScratch = scratch.data() + scratchStride * thread;
  for (const Step &step : steps) {
    // Also before a step that is left out: later ones rely on it.
    if (step.barrierBefore)
      pool.barrier();
    const llqrt_call &call = step.outputsOnly ? asked : all;
    int64_t tokens = call.token_end - call.token_begin;
    if (tokens == 0)
      continue;
    ItemRange share = shareOfItems(step.items + step.itemsPerToken * tokens,
                                   thread, pool.size());
    if (share.begin < share.end)
      step.kernel(pointers.data() + step.buffers, &call, share.begin, share.end,
                  threadScratch);
  }
}

size_t Interpreter::barrierCount() const {
  return static_cast<size_t>(
      std::count_if(steps.begin(), steps.end(),
                    [](const Step &step) { return step.barrierBefore; }));
}
