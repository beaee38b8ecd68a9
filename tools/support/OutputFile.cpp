//===- OutputFile.cpp - A file that is complete or not there --------------===//
//
// See OutputFile.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "support/OutputFile.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>

using namespace llq::tools;
using llqrt::Status;

OutputFile::~OutputFile() {
  if (file)
    std::fclose(file);
  if (!temporary.empty())
    unlink(temporary.c_str());
}

Status OutputFile::failure() const {
  return Status::fileError(path + ": " + std::strerror(errno));
}

Status OutputFile::create(const std::string &target) {
  path = target;
  std::string name = path + ".XXXXXX";
  int descriptor = mkstemp(name.data());
  if (descriptor < 0)
    return failure();
  temporary = name;
  // mkstemp makes the file private; give it what a new file would get.
  mode_t mask = umask(0);
  umask(mask);
  fchmod(descriptor, 0666 & ~mask);
  file = fdopen(descriptor, "wb");
  if (file)
    return {};
  close(descriptor);
  return failure();
}

Status OutputFile::write(const void *data, size_t bytes) {
  return std::fwrite(data, 1, bytes, file) == bytes ? Status() : failure();
}

Status OutputFile::commit() {
  int closed = std::fclose(file);
  file = nullptr;
  if (closed != 0 || std::rename(temporary.c_str(), path.c_str()) != 0)
    return failure();
  temporary.clear();
  return {};
}
