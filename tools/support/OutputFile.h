//===- OutputFile.h - A file that is complete or not there ------*- C++ -*-===//
//
// Written under a temporary name in the same folder and renamed at the end, so
// that a failure leaves no partial file and no half-replaced one.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_SUPPORT_OUTPUTFILE_H
#define LLQ_TOOLS_SUPPORT_OUTPUTFILE_H

#include "llqrt/Status.h"

#include <cstdio>
#include <string>

namespace llq::tools {

class OutputFile {
public:
  OutputFile() = default;
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;
  /// Removes the file unless commit() succeeded.
  ~OutputFile();

  llqrt::Status create(const std::string &path);
  llqrt::Status write(const void *data, size_t bytes);
  /// Puts the file where it belongs.
  llqrt::Status commit();

private:
  llqrt::Status failure() const;

  std::string path, temporary;
  std::FILE *file = nullptr;
};

} // namespace llq::tools

#endif // LLQ_TOOLS_SUPPORT_OUTPUTFILE_H
