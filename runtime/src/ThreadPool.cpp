//===- ThreadPool.cpp - Threads with a cheap barrier ----------------------===//
//
// See ThreadPool.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llqrt/ThreadPool.h"

#include "Text.h"
#include "llqrt/Machine.h"

#include <cerrno>
#include <chrono>
#include <climits>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>

using namespace llqrt;

static inline void pauseCpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

static int64_t nowNanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void Event::waitWhile(uint32_t old, int64_t spin) {
  int64_t deadline = 0;
  for (unsigned round = 0;; ++round) {
    for (unsigned i = 0; i < 64; ++i) {
      if (value() != old)
        return;
      pauseCpu();
    }
    int64_t now = nowNanoseconds();
    if (round == 0)
      deadline = now + spin;
    if (now >= deadline)
      break;
  }
  // change() writes the word and then looks for sleepers, we announce ourselves
  // and then look at the word (the kernel does): one of us sees the other.
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  while (word.load(std::memory_order_seq_cst) == old)
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}

void Event::change(uint32_t old, uint32_t next) {
  if (word.compare_exchange_strong(old, next, std::memory_order_seq_cst) &&
      sleepers.load(std::memory_order_seq_cst) != 0)
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

Status ThreadPool::create(unsigned threads, bool pin,
                          std::unique_ptr<ThreadPool> &pool) {
  if (threads < 1 || threads > 1024)
    return Status::invalidArgument("the number of threads must be in 1..1024, "
                                   "got " +
                                   std::to_string(threads));
  std::vector<int> cpus = allowedCpus();
  pool.reset(new ThreadPool());
  pool->threadCount = threads;
  // Balanced threads reach a barrier within microseconds of each other. One
  // that comes much later waits for a CPU, and spinning only keeps it from
  // getting ours: with other programs running, 50 us beat 1 ms by a factor of
  // three.
  bool enoughCpus = cpus.size() >= threads;
  pool->spinNanoseconds = enoughCpus ? 50'000 : 2'000;
  try {
    for (unsigned thread = 1; thread < threads; ++thread) {
      int cpu = pin && enoughCpus ? cpus[thread] : -1;
      pool->workers.emplace_back([pool = pool.get(), thread, cpu] {
        if (cpu >= 0) {
          cpu_set_t set;
          CPU_ZERO(&set);
          if (cpu < CPU_SETSIZE)
            CPU_SET(cpu, &set);
          sched_setaffinity(0, sizeof(set), &set);
        }
        pool->workerLoop(thread);
      });
    }
  } catch (const std::system_error &) {
    // The destructor ends those that did start.
    pool->threadCount = static_cast<unsigned>(pool->workers.size()) + 1;
    pool.reset();
    return Status::unsupported("cannot start " + std::to_string(threads) +
                               " threads, ask for fewer");
  }
  return {};
}

ThreadPool::~ThreadPool() {
  // No function: the end.
  start({nullptr, nullptr, false});
  for (std::thread &worker : workers)
    worker.join();
}

void ThreadPool::workerLoop(unsigned thread) {
  uint32_t seen = 0;
  for (;;) {
    jobNumber.waitWhile(seen, spinNanoseconds);
    uint32_t number = jobNumber.value();
    if (number % 2 != 0)
      continue;
    Job job = {jobFunction.load(std::memory_order_acquire),
               jobContext.load(std::memory_order_acquire),
               jobForEverybody.load(std::memory_order_acquire)};
    if (jobNumber.value() != number)
      continue;
    seen = number;
    if (!job.function)
      return;
    job.function(job.context, thread);
    if (job.everybody)
      barrier();
  }
}

void ThreadPool::start(const Job &job) {
  if (threadCount > 1) {
    uint32_t number = jobNumber.value();
    jobNumber.change(number, number + 1);
    jobFunction.store(job.function, std::memory_order_release);
    jobContext.store(job.context, std::memory_order_release);
    jobForEverybody.store(job.everybody, std::memory_order_release);
    jobNumber.change(number + 1, number + 2);
  }
  if (job.function)
    job.function(job.context, 0);
  if (job.everybody)
    barrier();
}

void ThreadPool::barrier() {
  if (threadCount == 1)
    return;
  // Stable until this thread arrives: the phase cannot end without it.
  uint32_t current = phase.value();
  if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == threadCount) {
    arrived.store(0, std::memory_order_relaxed);
    phase.change(current, current + 1);
    return;
  }
  phase.waitWhile(current, spinNanoseconds);
}
