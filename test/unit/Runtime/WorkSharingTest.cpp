//===- WorkSharingTest.cpp - Every grain once, groups in order ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "WorkSharing.h"

#include "gtest/gtest.h"

using namespace llqrt;

TEST(WorkSharingTest, GivesEachGrainOnce) {
  WorkSharing sharing(3);
  std::vector<int> counts(8);
  for (unsigned owner = 0; owner < 3; ++owner)
    for (int64_t grain; (grain = sharing.claim(owner, 1, 8)) >= 0;)
      ++counts[static_cast<size_t>(grain)];
  EXPECT_EQ(counts, std::vector<int>(8, 1));
  // A later step has its own, the earlier one is over for whoever comes late.
  EXPECT_EQ(sharing.claim(0, 2, 8), 0);
  EXPECT_EQ(sharing.claim(0, 1, 8), -1);
  EXPECT_EQ(sharing.claim(0, 2, 8), 1);
}

TEST(WorkSharingTest, FewerGrainsThanThreads) {
  WorkSharing sharing(4);
  EXPECT_EQ(sharing.claim(0, 1, 1), 0);
  for (unsigned owner = 0; owner < 4; ++owner) {
    EXPECT_EQ(sharing.claim(owner, 1, 1), -1);
    EXPECT_EQ(sharing.claim(owner, 2, 0), -1);
  }
}

TEST(WorkSharingTest, GroupsEndWithTheirLastGrain) {
  WorkSharing sharing(2);
  EXPECT_EQ(sharing.currentGroup(), 0u);
  sharing.report(0, 3, 5);
  EXPECT_EQ(sharing.currentGroup(), 0u);
  sharing.report(0, 2, 5);
  EXPECT_EQ(sharing.currentGroup(), 1u);
  // A group without work ends once, whoever reports it how often.
  sharing.report(1, 0, 0);
  sharing.report(1, 0, 0);
  EXPECT_EQ(sharing.currentGroup(), 2u);
  sharing.report(2, 1, 1);
  EXPECT_EQ(sharing.currentGroup(), 3u);
  sharing.waitFor(2, 0);
}

// Threads work through many groups; whoever takes a grain must find all grains
// of earlier groups done.
TEST(WorkSharingTest, ThreadsKeepTheOrder) {
  constexpr unsigned threads = 6;
  constexpr uint32_t groups = 3000, grains = 13;
  WorkSharing sharing(threads);
  std::vector<uint32_t> results(groups * grains);
  std::vector<std::thread> workers;
  std::atomic<uint32_t> mistakes{0};
  auto work = [&](unsigned thread) {
    for (uint32_t group; (group = sharing.currentGroup()) < groups;) {
      for (unsigned i = 0; i < threads; ++i) {
        uint32_t done = 0;
        for (int64_t grain; (grain = sharing.claim((thread + i) % threads,
                                                   group + 1, grains)) >= 0;
             ++done) {
          auto index = static_cast<size_t>(grain);
          // The sum of two neighbours of the group before, plainly read.
          results[group * grains + index] +=
              group == 0
                  ? 1
                  : results[(group - 1) * grains + index] +
                        results[(group - 1) * grains + (index + 1) % grains];
        }
        if (done)
          sharing.report(group, done, grains);
      }
      sharing.waitFor(group, 1000);
    }
  };
  for (unsigned thread = 0; thread < threads; ++thread)
    workers.emplace_back(work, thread);
  for (std::thread &worker : workers)
    worker.join();
  uint32_t expected = 1;
  for (uint32_t group = 0; group < groups; ++group, expected *= 2)
    for (uint32_t grain = 0; grain < grains; ++grain)
      mistakes += results[group * grains + grain] != expected;
  EXPECT_EQ(mistakes, 0u);
}
