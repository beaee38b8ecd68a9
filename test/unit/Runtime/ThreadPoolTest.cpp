//===- ThreadPoolTest.cpp - Threads, barriers, shares ---------------------===//
//
// The barrier must order every write before it ahead of every read after it,
// with spinning and with sleeping threads.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llqrt/ThreadPool.h"
#include "llqrt/Machine.h"

#include "gtest/gtest.h"

#include <chrono>
#include <numeric>
#include <set>

using namespace llqrt;

static std::unique_ptr<ThreadPool> makePool(unsigned threads,
                                            bool pin = false) {
  std::unique_ptr<ThreadPool> pool;
  Status status = ThreadPool::create(threads, pin, pool);
  EXPECT_TRUE(status.ok()) << status.message();
  return pool;
}

TEST(ThreadPoolTest, EveryThreadRunsOnce) {
  for (unsigned threads : {1u, 2u, 5u}) {
    std::unique_ptr<ThreadPool> pool = makePool(threads, threads == 2);
    std::vector<int> counts(threads);
    for (int round = 0; round < 100; ++round)
      pool->run([&](unsigned thread) { ++counts[thread]; });
    EXPECT_EQ(counts, std::vector<int>(threads, 100));
  }
}

// Every thread passes a value round the ring at each step; a barrier that lets
// one thread through early breaks the sum.
TEST(ThreadPoolTest, BarriersOrderWritesAndReads) {
  for (unsigned threads : {2u, 3u, 8u}) {
    std::unique_ptr<ThreadPool> pool = makePool(threads);
    std::vector<uint64_t> current(threads), next(threads);
    std::iota(current.begin(), current.end(), 1);
    constexpr int steps = 2000;
    pool->run([&](unsigned thread) {
      for (int step = 0; step < steps; ++step) {
        auto &from = step % 2 ? next : current;
        auto &to = step % 2 ? current : next;
        to[thread] = from[(thread + 1) % threads] + from[thread];
        pool->barrier();
      }
    });
    // The ring doubles its total at each step, modulo 2^64.
    uint64_t total = uint64_t(threads) * (threads + 1) / 2;
    for (int step = 0; step < steps; ++step)
      total *= 2;
    EXPECT_EQ(std::accumulate(current.begin(), current.end(), uint64_t(0)),
              total);
  }
}

TEST(ThreadPoolTest, SleepingThreadsWakeUp) {
  std::unique_ptr<ThreadPool> pool = makePool(3);
  std::atomic<int> count{0};
  for (int round = 0; round < 3; ++round) {
    // Longer than threads spin, between runs and inside of one.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    pool->run([&](unsigned thread) {
      if (thread == 1)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      pool->barrier();
      ++count;
    });
  }
  EXPECT_EQ(count, 9);
}

TEST(ThreadPoolTest, CountOutOfRange) {
  std::unique_ptr<ThreadPool> pool;
  EXPECT_EQ(ThreadPool::create(0, false, pool).code(), LLQRT_INVALID_ARGUMENT);
  EXPECT_EQ(ThreadPool::create(1025, false, pool).code(),
            LLQRT_INVALID_ARGUMENT);
}

TEST(ThreadPoolTest, SharesCoverAllItemsInOrder) {
  for (int64_t total : {0, 1, 2, 7, 64, 1000})
    for (unsigned threads : {1u, 2u, 3u, 16u}) {
      int64_t next = 0;
      for (unsigned thread = 0; thread < threads; ++thread) {
        ItemRange share = shareOfItems(total, thread, threads);
        EXPECT_EQ(share.begin, next);
        EXPECT_LE(share.end - share.begin, total / threads + 1);
        next = share.end;
      }
      EXPECT_EQ(next, total);
    }
}

TEST(MachineTest, KnowsItself) {
  EXPECT_STRNE(hostMachine(), "");
  ASSERT_FALSE(hostLevels().empty());
  EXPECT_GE(physicalCores(), 1u);
  std::vector<int> cpus = allowedCpus();
  ASSERT_FALSE(cpus.empty());
  EXPECT_LE(physicalCores(), cpus.size());
  EXPECT_EQ(std::set<int>(cpus.begin(), cpus.end()).size(), cpus.size());
}
