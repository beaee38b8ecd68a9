//===- ParallelFor.cpp - Loops over ranges on several threads -------------===//
//
// One job at a time: workers wait for its number to change, take chunks from a
// shared counter until there are none, and report back. No LLVM here, so that
// MLIR-free libraries and their tests can use it too; std::thread reports a
// failure by an exception, which does not leave this file.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

using namespace llq;

namespace {
/// Whether the current thread runs the body of a loop.
thread_local bool insideLoop = false;

/// A loop: chunks are numbered from 0.
struct Job {
  int64_t begin, end, grain, chunks;
  const std::function<void(int64_t, int64_t)> &body;
  std::atomic<int64_t> next{0};

  /// Runs chunks until all are taken.
  void work() {
    bool outer = insideLoop;
    insideLoop = true;
    for (int64_t chunk; (chunk = next.fetch_add(1)) < chunks;) {
      int64_t first = begin + chunk * grain;
      body(first, chunk + 1 == chunks ? end : first + grain);
    }
    insideLoop = outer;
  }
};
} // namespace

struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::mutex turn; // held by the thread whose loop runs

  std::mutex mutex; // guards everything below
  std::condition_variable wake, finished;
  Job *job = nullptr;
  uint64_t jobNumber = 0;
  size_t busy = 0; // workers that have not finished the current job
  bool stop = false;

  void workerLoop() {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return stop || jobNumber != seen; });
      if (stop)
        return;
      seen = jobNumber;
      Job &current = *job;
      lock.unlock();
      current.work();
      lock.lock();
      if (--busy == 0)
        finished.notify_one();
    }
  }
};

ThreadPool::ThreadPool(unsigned threads) : state(std::make_unique<State>()) {
  try {
    for (unsigned i = 1; i < threads; ++i)
      state->workers.emplace_back(
          [state = state.get()] { state->workerLoop(); });
  } catch (const std::exception &) {
    // No more threads, or no memory for them: those that were made will do.
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(state->mutex);
    state->stop = true;
  }
  state->wake.notify_all();
  for (std::thread &worker : state->workers)
    worker.join();
}

unsigned ThreadPool::threads() const {
  return static_cast<unsigned>(state->workers.size()) + 1;
}

void ThreadPool::parallelFor(
    int64_t begin, int64_t end, int64_t grain,
    const std::function<void(int64_t, int64_t)> &body) {
  if (begin >= end)
    return;
  grain = std::clamp<int64_t>(grain, 1, end - begin);
  int64_t chunks = (end - begin) / grain + ((end - begin) % grain != 0);
  Job job{begin, end, grain, chunks, body};
  if (chunks == 1 || state->workers.empty() || insideLoop)
    return job.work();

  std::lock_guard<std::mutex> oneAtATime(state->turn);
  {
    std::lock_guard<std::mutex> lock(state->mutex);
    state->job = &job;
    state->busy = state->workers.size();
    ++state->jobNumber;
  }
  state->wake.notify_all();
  job.work();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->finished.wait(lock, [&] { return state->busy == 0; });
}
