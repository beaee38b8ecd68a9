//===- ThreadPool.h - Threads with a cheap barrier --------------*- C++ -*-===//
//
// Runs functions on all threads of a session. A token takes a hundred and more
// dispatches, so threads spin while they wait and only sleep when it gets long.
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

/// A number that one side changes and the other waits for: spinning first, then
/// asleep in the kernel. Changing it makes a system call only if somebody
/// sleeps.
class alignas(64) Event {
public:
  uint32_t value() const { return word.load(std::memory_order_acquire); }
  /// Returns as soon as the number is not `old`.
  void waitWhile(uint32_t old, int64_t spinNanoseconds);
  /// Changes the number to `next`, if it is still `old`, and wakes all waiters.
  void change(uint32_t old, uint32_t next);

private:
  std::atomic<uint32_t> word{0};
  std::atomic<uint32_t> sleepers{0};
};

class ThreadPool {
public:
  /// A pool of `threads` threads (1 .. 1024), of which one is whoever calls
  /// run(). With `pin`, thread i > 0 stays on the i-th CPU of the process.
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
    start({call<Function>, const_cast<void *>(static_cast<const void *>(&task)),
           true});
  }

  /// Calls task(0) here and task(thread) on those threads that are free before
  /// something else is started. Returns when task(0) does: others may still be
  /// in theirs, or just begin, so `task` must know by itself whether anything
  /// is left to do and must live as long as the pool.
  template <typename Task> void offer(Task &task) {
    start({call<Task>, &task, false});
  }

  /// Called by all threads from within run(): none leaves before all came. What
  /// they wrote before is visible to all after it.
  void barrier();

  /// How long threads spin before they sleep.
  int64_t spinTime() const { return spinNanoseconds; }

private:
  struct Job {
    void (*function)(void *, unsigned);
    void *context;
    /// Whether all threads take part and wait for each other at the end.
    bool everybody;
  };
  template <typename Task> static void call(void *task, unsigned thread) {
    (*static_cast<Task *>(task))(thread);
  }

  ThreadPool() = default;
  void start(const Job &job);
  void workerLoop(unsigned thread);

  unsigned threadCount = 1;
  int64_t spinNanoseconds = 0;
  std::vector<std::thread> workers;

  /// Jobs are numbered; odd while the next one is being written, so that a
  /// thread that comes late knows that what it read is no longer there.
  Event jobNumber;
  std::atomic<void (*)(void *, unsigned)> jobFunction{nullptr};
  std::atomic<void *> jobContext{nullptr};
  std::atomic<bool> jobForEverybody{false};

  /// Changed by the last thread to reach a barrier.
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
