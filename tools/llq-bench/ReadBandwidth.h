//===- ReadBandwidth.h - How fast this machine reads memory -----*- C++ -*-===//
//
// The roof for decoding: reads a buffer far larger than the caches with the
// threads of the session, each thread four streams at once in 64-byte pieces
// out of huge pages. Nothing faster was found on the machines we measured.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_BENCH_READBANDWIDTH_H
#define LLQ_TOOLS_BENCH_READBANDWIDTH_H

#include "llqrt/ThreadPool.h"

#include <cstddef>

namespace llq::tools {

class ReadBandwidth {
public:
  ReadBandwidth() = default;
  ReadBandwidth(const ReadBandwidth &) = delete;
  ReadBandwidth &operator=(const ReadBandwidth &) = delete;
  ~ReadBandwidth();

  /// Allocates the buffer: 1 GiB, less where little memory is free.
  llqrt::Status prepare(llqrt::ThreadPool &threads);

  /// Reads it once and returns GB/s.
  double measure(llqrt::ThreadPool &threads);

private:
  std::byte *buffer = nullptr;
  size_t bytes = 0;
};

} // namespace llq::tools

#endif // LLQ_TOOLS_BENCH_READBANDWIDTH_H
