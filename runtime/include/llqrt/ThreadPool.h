//===- ThreadPool.h - Threads with a cheap barrier --------------*- C++ -*-===//
//
// Runs one function on all threads of a session. A token takes a hundred and
// more dispatches with a barrier after each, so threads spin at barriers and
// only sleep when a wait gets long.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_THREADPOOL_H
#define LLQRT_THREADPOOL_H

#include "llqrt/Status.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace llqrt {

class ThreadPool {
public:
  /// A pool of `threads` threads (1 .. 1024), of which one is whoever calls
  /// run(). With `pin`, thread i stays on the i-th CPU of the process.
  static Status create(unsigned threads, bool pin,
                       std::unique_ptr<ThreadPool> &pool);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  unsigned size() const { return threadCount; }

  /// Calls task(thread) on every thread, 0 being the caller's, and returns when
  /// all have finished. Not reentrant; `task` must not throw.
  template <typename Task> void run(Task &&task) {
    using Function = std::remove_reference_t<Task>;
    runErased(
        [](void *context, unsigned thread) {
          (*static_cast<Function *>(context))(thread);
        },
        const_cast<void *>(static_cast<const void *>(&task)));
  }

  /// Called by all threads from within a task: none leaves before all came.
  /// What they wrote before is visible to all after it.
  void barrier();

private:
  /// A futex word that one side bumps and the other waits to change.
  struct alignas(64) Event {
    std::atomic<uint32_t> value{0};
    std::atomic<uint32_t> sleepers{0};

    void waitWhile(uint32_t old, int64_t spinNanoseconds);
    void signal(uint32_t next);
  };

  ThreadPool() = default;
  void runErased(void (*function)(void *, unsigned), void *context);
  void workerLoop(unsigned thread);

  unsigned threadCount = 1;
  /// How long to spin before sleeping.
  int64_t spinNanoseconds = 0;
  std::vector<std::thread> workers;

  void (*taskFunction)(void *, unsigned) = nullptr;
  void *taskContext = nullptr;
  bool stopping = false;

  /// Bumped for every run() and for the end.
  Event start;
  /// Bumped by the last thread to reach a barrier.
  Event phase;
  alignas(64) std::atomic<uint32_t> arrived{0};
};

/// The share of items [0, total) that thread `thread` of `threads` computes:
/// contiguous, in order, lower threads first to get one more.
struct ItemRange {
  int64_t begin, end;
};
inline ItemRange shareOfItems(int64_t total, unsigned thread,
                              unsigned threads) {
  int64_t share = total / threads, rest = total % threads;
  int64_t before = share * thread + (thread < rest ? thread : rest);
  return {before, before + share + (thread < rest ? 1 : 0)};
}

} // namespace llqrt

#endif // LLQRT_THREADPOOL_H
