//===- OutputFile.cpp - A file that is complete or not there --------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/OutputFile.h"

using namespace llq;
namespace fs = llvm::sys::fs;

OutputFile::OutputFile(std::string path, std::string place, fs::TempFile file)
    : path(std::move(path)), place(std::move(place)), file(std::move(file)),
      os(std::make_unique<llvm::raw_fd_ostream>(this->file.FD,
                                                /*shouldClose=*/false)) {
  os->SetBufferSize(1 << 20);
}

OutputFile::~OutputFile() {
  if (!os)
    return;
  // What is still buffered may fail too; a stream must not end in error.
  os->flush();
  os->clear_error();
  os.reset();
  llvm::consumeError(file.discard());
}

llvm::Error OutputFile::makeError(llvm::StringRef reason) const {
  return llvm::createStringError("cannot write " + path + ": " + reason);
}

llvm::Expected<OutputFile> OutputFile::create(llvm::StringRef path) {
  auto fail = [&](llvm::StringRef reason) {
    return llvm::createStringError("cannot write " + path + ": " + reason);
  };
  llvm::SmallString<256> place(path);
  fs::file_status status;
  if (std::error_code error = fs::status(path, status)) {
    if (error != std::errc::no_such_file_or_directory)
      return fail(error.message());
  } else if (fs::is_directory(status)) {
    return fail("it is a folder");
  } else if (!fs::is_regular_file(status)) {
    // Renaming would put the file in the place of a device or a pipe.
    return fail("it is there and no regular file");
  } else if (std::error_code error = fs::real_path(path, place)) {
    return fail(error.message());
  }
  auto file = fs::TempFile::create(place + ".tmp-%%%%%%");
  if (!file)
    return fail(llvm::toString(file.takeError()));
  return OutputFile(path.str(), place.str().str(), std::move(*file));
}

llvm::Error OutputFile::check() {
  if (!os->has_error())
    return llvm::Error::success();
  std::string reason = os->error().message();
  os->clear_error();
  return makeError(reason);
}

llvm::Error OutputFile::keep() {
  os->flush();
  if (llvm::Error error = check())
    return error;
  os.reset();
  if (llvm::Error error = file.keep(place))
    return makeError(llvm::toString(std::move(error)));
  return llvm::Error::success();
}
