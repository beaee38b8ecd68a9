//===- Memory.h - Mapped files and large allocations ------------*- C++ -*-===//
//
// Owners of mmap regions. Anonymous memory is zero and committed on first use,
// so capacities cost nothing until they are used.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_SRC_MEMORY_H
#define LLQRT_SRC_MEMORY_H

#include "llqrt/Status.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace llqrt {

/// Size of a huge page on the machines that have them.
inline constexpr uint64_t hugePageBytes = uint64_t(2) << 20;

/// Zeroed memory.
class Memory {
public:
  Memory() = default;
  Memory(Memory &&other) noexcept;
  Memory &operator=(Memory &&other) noexcept;
  ~Memory();

  /// Reserves `bytes` (0 is allowed) for what `purpose` says. From one huge
  /// page up, starts on its boundary and asks for huge pages if `huge`.
  static Status allocate(uint64_t bytes, bool huge, const char *purpose,
                         Memory &memory);

  std::byte *data() const { return start; }
  uint64_t size() const { return bytes; }

private:
  void release();

  std::byte *start = nullptr;
  uint64_t bytes = 0;
  void *mapping = nullptr;
  uint64_t mappingBytes = 0;
};

/// A whole file, mapped for reading.
class MappedFile {
public:
  MappedFile() = default;
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;
  ~MappedFile();

  /// Opens and maps the regular, non-empty file at `path`.
  Status open(const std::string &path);

  std::span<const std::byte> bytes() const { return {start, size}; }
  /// Reads target.size() bytes at `offset` of the file, without mapping them.
  Status read(uint64_t offset, std::span<std::byte> target) const;
  /// Tells the kernel that [offset, offset + bytes) will be read over and over.
  /// Kernels and file systems that map page cache in huge pages then read as
  /// fast as anonymous huge pages (measured: 25 against 26 GB/s per core).
  void expectReads(uint64_t offset, uint64_t bytes) const;

private:
  std::string path;
  int descriptor = -1;
  const std::byte *start = nullptr;
  size_t size = 0;
};

} // namespace llqrt

#endif // LLQRT_SRC_MEMORY_H
