//===- CapturedErrors.cpp - What LLVM prints on its own -------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/CapturedErrors.h"

#include "llvm/Support/raw_ostream.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace llq;

CapturedErrors::CapturedErrors() {
  llvm::errs().flush();
  file = memfd_create("llq-errors", MFD_CLOEXEC);
  if (file < 0)
    return; // The messages then appear as LLVM prints them.
  saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  dup2(file, STDERR_FILENO);
}

CapturedErrors::~CapturedErrors() { take(); }

std::string CapturedErrors::take() {
  std::string text;
  if (file < 0)
    return text;
  llvm::errs().flush();
  // Standard error may have been closed from the start.
  if (saved >= 0) {
    dup2(saved, STDERR_FILENO);
    close(saved);
  } else {
    close(STDERR_FILENO);
  }
  char part[512];
  for (off_t offset = 0;;) {
    ssize_t count = pread(file, part, sizeof(part), offset);
    if (count <= 0)
      break;
    text.append(part, size_t(count));
    offset += count;
  }
  close(file);
  file = saved = -1;
  return text;
}

std::string llq::getOptionError(llvm::StringRef text) {
  llvm::StringRef line = text.trim().split('\n').first;
  auto [tool, rest] = line.split(": ");
  if (!rest.empty() && !tool.contains(' '))
    line = rest;
  if (!line.consume_front("for the "))
    return line.str();
  auto [option, message] = line.split(" option: ");
  message.consume_back("!");
  return (option + ": " + message).str();
}
