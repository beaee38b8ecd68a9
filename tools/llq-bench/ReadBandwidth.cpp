//===- ReadBandwidth.cpp - How fast this machine reads memory -------------===//
//
// See ReadBandwidth.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ReadBandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

using namespace llq::tools;
using llqrt::Status;
using llqrt::ThreadPool;

static constexpr size_t hugePage = size_t(2) << 20;

ReadBandwidth::~ReadBandwidth() {
  if (buffer)
    munmap(buffer, bytes);
}

Status ReadBandwidth::prepare(ThreadPool &threads) {
  auto available = static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) *
                   static_cast<size_t>(sysconf(_SC_PAGESIZE));
  bytes = std::clamp(available / 4, size_t(64) << 20, size_t(1) << 30);
  void *mapping = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED)
    return Status::outOfMemory("cannot allocate " + std::to_string(bytes) +
                               " bytes to measure the read bandwidth");
  buffer = static_cast<std::byte *>(mapping);
  madvise(buffer, bytes, MADV_HUGEPAGE);
  // Each thread touches first what it will read.
  threads.run([&](unsigned thread) {
    auto part = llqrt::shareOfItems(static_cast<int64_t>(bytes / hugePage),
                                    thread, threads.size());
    std::memset(buffer + part.begin * hugePage, 1,
                static_cast<size_t>(part.end - part.begin) * hugePage);
  });
  return {};
}

/// XOR of all words of [start, start + size), read as four streams; the
/// caller's instruction set decides how wide the loads are.
[[gnu::always_inline]] static inline uint64_t
readStreams(const std::byte *start, size_t size) {
  typedef uint64_t Line __attribute__((vector_size(64)));
  size_t stream = size / 4 / 64 * 64;
  Line sums[4] = {};
  for (size_t offset = 0; offset < stream; offset += 64)
    for (size_t i = 0; i < 4; ++i)
      sums[i] ^= *reinterpret_cast<const Line *>(start + i * stream + offset);
  Line sum = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  return sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
}

static uint64_t readBaseline(const std::byte *start, size_t size) {
  return readStreams(start, size);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t readAVX2(const std::byte *start,
                                                         size_t size) {
  return readStreams(start, size);
}
__attribute__((target("avx512f"))) static uint64_t
readAVX512(const std::byte *start, size_t size) {
  return readStreams(start, size);
}
#endif

static uint64_t (*widestReader())(const std::byte *, size_t) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f"))
    return readAVX512;
  if (__builtin_cpu_supports("avx2"))
    return readAVX2;
#endif
  return readBaseline;
}

double ReadBandwidth::measure(ThreadPool &threads) {
  auto *read = widestReader();
  std::atomic<uint64_t> sink{0};
  auto start = std::chrono::steady_clock::now();
  threads.run([&](unsigned thread) {
    auto part = llqrt::shareOfItems(static_cast<int64_t>(bytes / hugePage),
                                    thread, threads.size());
    sink ^= read(buffer + part.begin * hugePage,
                 static_cast<size_t>(part.end - part.begin) * hugePage);
  });
  std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  return static_cast<double>(bytes) / time.count() / 1e9;
}
