//===- OutputFile.h - A file that is complete or not there ------*- C++ -*-===//
//
// Written under a temporary name in the same folder and renamed at the end. An
// error, Ctrl-C or a full disk leaves nothing behind, and what was there before
// stays as it was.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_SUPPORT_OUTPUTFILE_H
#define LLQ_SUPPORT_OUTPUTFILE_H

#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <memory>
#include <string>

namespace llq {

class OutputFile {
public:
  /// Fails at once where no file can be put: a folder, a device, a path that
  /// does not exist. A symbolic link stays and the file it names is replaced.
  static llvm::Expected<OutputFile> create(llvm::StringRef path);
  OutputFile(OutputFile &&) = default;
  /// Removes the file unless `keep` succeeded.
  ~OutputFile();

  llvm::raw_fd_ostream &stream() { return *os; }

  /// The error of an earlier write, if there was one.
  llvm::Error check();

  /// Puts the file where it belongs.
  llvm::Error keep();

private:
  OutputFile(std::string path, std::string place, llvm::sys::fs::TempFile file);
  llvm::Error makeError(llvm::StringRef reason) const;

  /// As the user wrote it, and with symbolic links followed.
  std::string path, place;
  llvm::sys::fs::TempFile file;
  std::unique_ptr<llvm::raw_fd_ostream> os;
};

} // namespace llq

#endif // LLQ_SUPPORT_OUTPUTFILE_H
