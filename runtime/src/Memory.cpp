//===- Memory.cpp - Mapped files and large allocations --------------------===//
//
// See Memory.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Memory.h"

#include "Text.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace llqrt;

Memory::Memory(Memory &&other) noexcept { *this = std::move(other); }

Memory &Memory::operator=(Memory &&other) noexcept {
  if (this != &other) {
    release();
    start = std::exchange(other.start, nullptr);
    bytes = std::exchange(other.bytes, 0);
    mapping = std::exchange(other.mapping, nullptr);
    mappingBytes = std::exchange(other.mappingBytes, 0);
  }
  return *this;
}

Memory::~Memory() { release(); }

void Memory::release() {
  if (mapping)
    munmap(mapping, mappingBytes);
}

Status Memory::allocate(uint64_t bytes, bool huge, const char *purpose,
                        Memory &memory) {
  memory = Memory();
  if (bytes == 0)
    return {};
  huge = huge && bytes >= hugePageBytes;
  uint64_t slack = huge ? hugePageBytes : 0;
  void *mapping = MAP_FAILED;
  if (bytes <= (uint64_t(1) << 46))
    mapping = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED)
    return Status::outOfMemory("cannot reserve " + std::to_string(bytes) +
                               " bytes for " + purpose);
  auto address = reinterpret_cast<uintptr_t>(mapping);
  if (huge) {
    address = (address + hugePageBytes - 1) & ~uintptr_t(hugePageBytes - 1);
    // Only a hint: small pages work too.
    madvise(reinterpret_cast<void *>(address), bytes, MADV_HUGEPAGE);
  }
  memory.start = reinterpret_cast<std::byte *>(address);
  memory.bytes = bytes;
  memory.mapping = mapping;
  memory.mappingBytes = bytes + slack;
  return {};
}

MappedFile::~MappedFile() {
  if (start)
    munmap(const_cast<std::byte *>(start), size);
  if (descriptor >= 0)
    close(descriptor);
}

Status MappedFile::open(const std::string &filePath) {
  path = filePath;
  descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return Status::fileError(path + ": " + systemError(errno));
  struct stat info;
  if (fstat(descriptor, &info) != 0)
    return Status::fileError(path + ": " + systemError(errno));
  if (!S_ISREG(info.st_mode))
    return Status::fileError(path + ": not a regular file");
  if (info.st_size == 0)
    return Status::badFile(path + ": the file is empty");
  size = static_cast<size_t>(info.st_size);
  void *mapping = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  if (mapping == MAP_FAILED)
    return Status::fileError(path +
                             ": cannot be mapped: " + systemError(errno));
  start = static_cast<const std::byte *>(mapping);
  return {};
}

Status MappedFile::read(uint64_t offset, std::span<std::byte> target) const {
  while (!target.empty()) {
    // The kernel moves at most 2 GiB at once.
    size_t part = std::min(target.size(), size_t(1) << 30);
    ssize_t moved =
        pread(descriptor, target.data(), part, static_cast<off_t>(offset));
    if (moved < 0 && errno == EINTR)
      continue;
    if (moved <= 0)
      return Status::fileError(
          path + ": cannot be read: " +
          (moved == 0 ? "it became shorter" : systemError(errno)));
    offset += static_cast<uint64_t>(moved);
    target = target.subspan(static_cast<size_t>(moved));
  }
  return {};
}

void MappedFile::expectReads(uint64_t offset, uint64_t bytes) const {
  auto *begin = const_cast<std::byte *>(start) + offset;
  // Hints both; regions begin on page boundaries.
  madvise(begin, bytes, MADV_HUGEPAGE);
  madvise(begin, bytes, MADV_WILLNEED);
}
