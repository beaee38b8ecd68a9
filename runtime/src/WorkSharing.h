//===- WorkSharing.h - Who computes which part of a step --------*- C++ -*-===//
//
// The work of a pass is a sequence of groups of steps. A step is cut into
// grains, each thread owns an equal share of them and, when it is done, helps
// the others. A group ends when all its grains are done, not when all threads
// came: a thread that the operating system keeps waiting holds up nobody unless
// it is in the middle of a grain, and shares of unequal cost even out.
//
// Steps and groups carry numbers that only grow. They tell a thread that comes
// late, even a whole pass late, that there is nothing left for it.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_SRC_WORKSHARING_H
#define LLQRT_SRC_WORKSHARING_H

#include "llqrt/ThreadPool.h"

#include <atomic>
#include <cstdint>
#include <vector>

namespace llqrt {

class WorkSharing {
public:
  explicit WorkSharing(unsigned threads) : shares(threads) {}

  unsigned threads() const { return static_cast<unsigned>(shares.size()); }

  /// Takes the next of the grains that belong to thread `owner` in the step of
  /// number `step`, which has `grains` of them (at most 2^16 per thread);
  /// -1 if there is none left. Numbers start at 1.
  int64_t claim(unsigned owner, uint64_t step, int64_t grains);

  /// Reports `done` more grains of group `group`, which has `total`. The last
  /// one ends the group; one without grains ends by any report.
  void report(uint32_t group, uint32_t done, uint32_t total);

  /// The group that is not yet done. Numbers start at 0 and wrap.
  uint32_t currentGroup() const { return ended.value(); }

  /// Returns when group `group` is done.
  void waitFor(uint32_t group, int64_t spinNanoseconds) {
    ended.waitWhile(group, spinNanoseconds);
  }

private:
  /// Step in the upper 48 bits, how many of its grains are taken below.
  struct alignas(64) Share {
    std::atomic<uint64_t> taken{0};
  };
  std::vector<Share> shares;
  /// Group in the upper 32 bits, how many of its grains are done below.
  alignas(64) std::atomic<uint64_t> done{0};
  Event ended;
};

} // namespace llqrt

#endif // LLQRT_SRC_WORKSHARING_H
