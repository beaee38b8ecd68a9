//===- ParallelFor.h - Loops over ranges on several threads -----*- C++ -*-===//
//
// A small pool of threads for loops whose iterations are independent. How a
// range is cut depends on the grain and never on the number of threads or on
// timing, so work that writes per chunk, and reduces in chunk order afterwards,
// gives equal bytes for any number of threads.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_SUPPORT_PARALLELFOR_H
#define LLQ_SUPPORT_PARALLELFOR_H

#include <cstdint>
#include <functional>
#include <memory>

namespace llq {

/// Runs loops on a fixed number of threads, the caller's included.
class ThreadPool {
public:
  /// A pool of `threads` threads: the calling one and threads - 1 of its own
  /// (0 counts as 1). Continues with fewer if the system refuses to make more.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  /// Threads that loops run on, at least 1.
  unsigned threads() const;

  /// Calls body(first, last) for consecutive chunks of [begin, end), each
  /// `grain` long (at least 1) but for the last, and returns when all are done.
  /// Chunk i starts at begin + i * grain. Chunks run in any order and must not
  /// depend on each other; `body` must not throw. A loop started from within
  /// the body of a loop runs on the thread that starts it; loops started by
  /// several threads take turns.
  void parallelFor(int64_t begin, int64_t end, int64_t grain,
                   const std::function<void(int64_t, int64_t)> &body);

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace llq

#endif // LLQ_SUPPORT_PARALLELFOR_H
