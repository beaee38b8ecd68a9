//===- ActivationStore.cpp - Activations of all samples -------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/ActivationStore.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

using namespace llq;

static llvm::Error makeError(const char *what, int64_t bytes,
                             std::error_code error) {
  return llvm::createStringError(
      error, "cannot keep %lld bytes of activations %s: %s",
      static_cast<long long>(bytes), what, error.message().c_str());
}

/// A file without a name, of `bytes` bytes.
static llvm::Expected<int> createFile(int64_t bytes) {
  llvm::SmallString<128> path;
  int descriptor;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile(
          "llq-activations", "tmp", descriptor, path))
    return makeError("in a temporary file", bytes, error);
  llvm::sys::fs::remove(path);
  // Space is taken now: a full disk must not show up as a signal later.
  if (int error = posix_fallocate(descriptor, 0, bytes)) {
    close(descriptor);
    return makeError("in a temporary file", bytes,
                     std::error_code(error, std::generic_category()));
  }
  return descriptor;
}

llvm::Expected<ActivationStore>
ActivationStore::create(int64_t tokens, int64_t columns, bool inFile) {
  int64_t bytes = tokens * columns * int64_t(sizeof(float));
  int descriptor = -1;
  if (inFile) {
    llvm::Expected<int> file = createFile(bytes);
    if (!file)
      return file.takeError();
    descriptor = *file;
  }
  void *data =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
           inFile ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, descriptor, 0);
  std::error_code error(errno, std::generic_category());
  if (descriptor >= 0)
    close(descriptor);
  if (data == MAP_FAILED)
    return makeError("in memory", bytes, error);
  return ActivationStore(static_cast<float *>(data), columns, bytes, inFile);
}

ActivationStore::ActivationStore(ActivationStore &&other)
    : data(std::exchange(other.data, nullptr)), columns(other.columns),
      bytes(other.bytes), inFile(other.inFile) {}

ActivationStore &ActivationStore::operator=(ActivationStore &&other) {
  std::swap(data, other.data);
  std::swap(columns, other.columns);
  std::swap(bytes, other.bytes);
  std::swap(inFile, other.inFile);
  return *this;
}

ActivationStore::~ActivationStore() {
  if (data)
    munmap(data, bytes);
}

void ActivationStore::write(int64_t token, int64_t tokens, const float *from,
                            int64_t stride) {
  for (int64_t t = 0; t < tokens; ++t)
    std::memcpy(data + (token + t) * columns, from + t * stride,
                columns * sizeof(float));
  release(token, tokens);
}

void ActivationStore::read(int64_t token, int64_t tokens, float *to,
                           int64_t stride) const {
  for (int64_t t = 0; t < tokens; ++t)
    std::memcpy(to + t * stride, data + (token + t) * columns,
                columns * sizeof(float));
  release(token, tokens);
}

void ActivationStore::release(int64_t token, int64_t tokens) const {
  if (!inFile)
    return;
  // Pages that rows share with their neighbours may go too: what is in a file
  // comes back from there.
  static const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE));
  auto begin =
      reinterpret_cast<uintptr_t>(data + token * columns) & ~(page - 1);
  auto end = reinterpret_cast<uintptr_t>(data + (token + tokens) * columns);
  madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
}
