//===- Interpreter.cpp - Runs a program's dispatches ----------------------===//
//
// Each thread walks the same groups of steps and computes grains of their
// items. Which thread computes an item is a matter of chance, its value is not:
// kernels fix the order within one.
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
                         const ThreadPool &pool) {
  LLQRT_RETURN_IF_ERROR(allocate(program, cacheCapacity, pool.size()));
  spinNanoseconds = pool.spinTime();
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
    if (pending.add(dispatch) || groups.empty())
      groups.push_back({steps.size(), steps.size()});
    ++groups.back().last;
    steps.push_back({kernels.kernels[dispatch.kernel], pointers.size(),
                     dispatch.items, dispatch.itemsPerToken,
                     dispatch.outputsOnly});
    for (uint32_t buffer : dispatch.buffers)
      pointers.push_back(memory[buffer]);
  }
  sharing = std::make_unique<WorkSharing>(pool.size());
  return {};
}

void Interpreter::run(ThreadPool &pool, int64_t tokens, int64_t outputs,
                      int64_t past) {
  uint64_t state = passState.load(std::memory_order_relaxed);
  passState.store(state + 1, std::memory_order_seq_cst);
  passTokens.store(tokens, std::memory_order_release);
  passOutputs.store(outputs, std::memory_order_release);
  passPast.store(past, std::memory_order_release);
  passState.store(state + 2, std::memory_order_release);
  pool.offer(*this);
}

/// False if the pass is already over and the next one is being written.
bool Interpreter::readPass(Pass &pass) const {
  uint64_t state = passState.load(std::memory_order_acquire);
  int64_t tokens = passTokens.load(std::memory_order_acquire);
  int64_t outputs = passOutputs.load(std::memory_order_acquire);
  int64_t past = passPast.load(std::memory_order_acquire);
  if (state % 2 != 0 || passState.load(std::memory_order_relaxed) != state)
    return false;
  pass = {state / 2 - 1,
          {0, tokens, past, capacity},
          {tokens - outputs, tokens, past, capacity}};
  return true;
}

int64_t Interpreter::itemsOf(const Step &step, const Pass &pass) const {
  const llqrt_call &call = step.outputsOnly ? pass.asked : pass.all;
  int64_t tokens = call.token_end - call.token_begin;
  return tokens == 0 ? 0 : step.items + step.itemsPerToken * tokens;
}

/// Small enough that threads end together, large enough to cost nothing.
int64_t Interpreter::grainsOf(const Step &step, const Pass &pass) const {
  constexpr int64_t grainsPerThread = 8;
  return std::min<int64_t>(itemsOf(step, pass),
                           grainsPerThread * sharing->threads());
}

uint32_t Interpreter::runShare(size_t index, const Pass &pass, unsigned owner,
                               unsigned thread) {
  const Step &step = steps[index];
  int64_t items = itemsOf(step, pass), grains = grainsOf(step, pass);
  uint64_t number = pass.number * steps.size() + index + 1;
  const llqrt_call &call = step.outputsOnly ? pass.asked : pass.all;
  for (uint32_t count = 0;; ++count) {
    int64_t grain = sharing->claim(owner, number, grains);
    if (grain < 0)
      return count;
    ItemRange range = shareOfItems(items, static_cast<unsigned>(grain),
                                   static_cast<unsigned>(grains));
    step.kernel(pointers.data() + step.buffers, &call, range.begin, range.end,
                scratch.data() + scratchStride * thread);
  }
}

void Interpreter::runGroup(size_t index, const Pass &pass, unsigned thread) {
  const Group &group = groups[index];
  auto number = static_cast<uint32_t>(pass.number * groups.size() + index);
  uint32_t done = 0, total = 0;
  for (size_t step = group.first; step < group.last; ++step) {
    done += runShare(step, pass, thread, thread);
    total += static_cast<uint32_t>(grainsOf(steps[step], pass));
  }
  if (done != 0 || total == 0)
    sharing->report(number, done, total);

  // Help the others until there is nothing left to take.
  unsigned threads = sharing->threads();
  for (unsigned distance = 1; distance < threads; ++distance) {
    if (sharing->currentGroup() != number)
      return;
    unsigned owner = (thread + distance) % threads;
    uint32_t helped = 0;
    for (size_t step = group.first; step < group.last; ++step)
      helped += runShare(step, pass, owner, thread);
    if (helped != 0)
      sharing->report(number, helped, total);
  }
  sharing->waitFor(number, spinNanoseconds);
}

void Interpreter::operator()(unsigned thread) {
  Pass pass;
  if (!readPass(pass))
    return;
  auto first = static_cast<uint32_t>(pass.number * groups.size());
  // Others may be far ahead, or the pass over.
  for (size_t group; (group = sharing->currentGroup() - first) < groups.size();)
    runGroup(group, pass, thread);
}
