//===- ParallelForTest.cpp - Tests of loops on several threads ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

using namespace llq;

namespace {
using Chunk = std::pair<int64_t, int64_t>;

/// The chunks that a loop is cut into, in order.
std::vector<Chunk> chunksOf(unsigned threads, int64_t begin, int64_t end,
                            int64_t grain) {
  std::mutex mutex;
  std::vector<Chunk> chunks;
  ThreadPool pool(threads);
  pool.parallelFor(begin, end, grain, [&](int64_t first, int64_t last) {
    std::lock_guard<std::mutex> lock(mutex);
    chunks.emplace_back(first, last);
  });
  std::sort(chunks.begin(), chunks.end());
  return chunks;
}

TEST(ParallelFor, ChunksDependOnTheGrainOnly) {
  for (unsigned threads : {0, 1, 2, 5}) {
    EXPECT_EQ(chunksOf(threads, 3, 14, 4),
              (std::vector<Chunk>{{3, 7}, {7, 11}, {11, 14}}));
    EXPECT_EQ(chunksOf(threads, -2, 2, 2),
              (std::vector<Chunk>{{-2, 0}, {0, 2}}));
    EXPECT_EQ(chunksOf(threads, 0, 3, 100), (std::vector<Chunk>{{0, 3}}));
    EXPECT_EQ(chunksOf(threads, 0, 2, 0), (std::vector<Chunk>{{0, 1}, {1, 2}}));
    EXPECT_TRUE(chunksOf(threads, 5, 5, 1).empty());
    EXPECT_TRUE(chunksOf(threads, 5, 4, 1).empty());
  }
}

TEST(ParallelFor, EveryIndexOnceOverManyLoops) {
  ThreadPool pool(4);
  EXPECT_GE(pool.threads(), 1u);
  EXPECT_LE(pool.threads(), 4u);
  std::vector<int> counts(1000);
  for (int loop = 0; loop != 500; ++loop)
    pool.parallelFor(0, 1000, 7, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i != last; ++i)
        ++counts[i];
    });
  EXPECT_EQ(counts, std::vector<int>(1000, 500));
}

TEST(ParallelFor, UsesItsThreads) {
  // Two chunks that wait for each other end only if two threads run them.
  ThreadPool pool(2);
  if (pool.threads() < 2)
    GTEST_SKIP() << "the system gave no second thread";
  std::atomic<int> arrived = 0;
  std::mutex mutex;
  std::set<std::thread::id> ids;
  pool.parallelFor(0, 2, 1, [&](int64_t, int64_t) {
    for (++arrived; arrived != 2;)
      std::this_thread::yield();
    std::lock_guard<std::mutex> lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(ids.size(), 2u);
}

TEST(ParallelFor, LoopsInsideLoops) {
  ThreadPool outer(3), inner(2);
  std::atomic<int64_t> sum = 0;
  outer.parallelFor(0, 8, 1, [&](int64_t i, int64_t) {
    const std::thread::id self = std::this_thread::get_id();
    for (ThreadPool *pool : {&outer, &inner})
      pool->parallelFor(0, 10, 3, [&](int64_t first, int64_t last) {
        EXPECT_EQ(std::this_thread::get_id(), self);
        sum += i * (last - first);
      });
  });
  EXPECT_EQ(sum, 2 * 28 * 10);
}

TEST(ParallelFor, LoopsOfSeveralThreadsTakeTurns) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum = 0;
  std::vector<std::thread> callers;
  for (int caller = 0; caller != 3; ++caller)
    callers.emplace_back([&] {
      for (int loop = 0; loop != 100; ++loop)
        pool.parallelFor(0, 20, 1, [&](int64_t i, int64_t) { sum += i; });
    });
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(sum, 3 * 100 * 190);
}
} // namespace
