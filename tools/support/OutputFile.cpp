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
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

using namespace llq::tools;
using llqrt::Status;
namespace fs = std::filesystem;

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
  path = place = target;
  std::error_code error;
  fs::file_status status = fs::status(target, error);
  if (fs::is_directory(status))
    return Status::fileError(path + ": it is a folder");
  // Renaming would put the file in the place of a device or a pipe.
  if (fs::exists(status) && !fs::is_regular_file(status))
    return Status::fileError(path + ": it is there and no regular file");
  if (fs::exists(status))
    place = fs::canonical(target, error).string();
  if (place.empty())
    return Status::fileError(path + ": " + error.message());
  std::string name = place + ".XXXXXX";
  int descriptor = mkstemp(name.data());
  if (descriptor < 0)
    return failure();
  temporary = name;
  removal.emplace(temporary);
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
  if (closed != 0 || std::rename(temporary.c_str(), place.c_str()) != 0)
    return failure();
  temporary.clear();
  removal.reset();
  return {};
}

Status llq::tools::checkOutput(const std::string &output,
                               const std::vector<std::string> &inputs) {
  std::error_code error;
  for (const std::string &input : inputs)
    if (!output.empty() && fs::equivalent(output, input, error) && !error)
      return Status::invalidArgument(
          "-o " + output + " is read as well" +
          (output == input ? "" : " (as " + input + ")") +
          ", give another file");
  return {};
}
