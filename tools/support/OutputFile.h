//===- OutputFile.h - A file that is complete or not there ------*- C++ -*-===//
//
// Written under a temporary name in the same folder and renamed at the end, so
// that a failure or a signal leaves no partial file and no half-replaced one.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_SUPPORT_OUTPUTFILE_H
#define LLQ_TOOLS_SUPPORT_OUTPUTFILE_H

#include "support/Signals.h"

#include "llqrt/Status.h"

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace llq::tools {

class OutputFile {
public:
  OutputFile() = default;
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;
  /// Removes the file unless commit() succeeded.
  ~OutputFile();

  /// Fails at once where no file can be put: a folder, a device, a path that
  /// does not exist. A symbolic link stays and the file it names is replaced.
  llqrt::Status create(const std::string &path);
  llqrt::Status write(const void *data, size_t bytes);
  /// Puts the file where it belongs.
  llqrt::Status commit();

private:
  llqrt::Status failure() const;

  /// As the user wrote it, with symbolic links followed, and for now.
  std::string path, place, temporary;
  std::optional<RemovedOnSignal> removal;
  std::FILE *file = nullptr;
};

/// Refuses an output that is one of the files to read: it would be gone.
llqrt::Status checkOutput(const std::string &output,
                          const std::vector<std::string> &inputs);

} // namespace llq::tools

#endif // LLQ_TOOLS_SUPPORT_OUTPUTFILE_H
