//===- WorkSharing.cpp - Who computes which part of a step ----------------===//
//
// See WorkSharing.h. What a grain writes becomes visible to later groups
// through report() and the event; claims order nothing.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "WorkSharing.h"

using namespace llqrt;

int64_t WorkSharing::claim(unsigned owner, uint64_t step, int64_t grains) {
  ItemRange range = shareOfItems(grains, owner, threads());
  auto count = static_cast<uint64_t>(range.end - range.begin);
  std::atomic<uint64_t> &taken = shares[owner].taken;
  uint64_t old = taken.load(std::memory_order_relaxed);
  while (true) {
    // Nobody has taken one of this step yet if an earlier step is noted.
    uint64_t next = old >> 16 == step ? old & 0xffff : 0;
    if (old >> 16 > step || next >= count)
      return -1;
    if (taken.compare_exchange_weak(old, step << 16 | (next + 1),
                                    std::memory_order_relaxed))
      return range.begin + static_cast<int64_t>(next);
  }
}

void WorkSharing::report(uint32_t group, uint32_t grains, uint32_t total) {
  uint64_t old = done.load(std::memory_order_relaxed), sum = 0;
  if (total != 0) {
    do {
      sum = (old >> 32 == group ? old & 0xffffffff : 0) + grains;
    } while (!done.compare_exchange_weak(old, uint64_t(group) << 32 | sum,
                                         std::memory_order_acq_rel,
                                         std::memory_order_relaxed));
  }
  if (sum == total)
    ended.change(group, group + 1);
}
