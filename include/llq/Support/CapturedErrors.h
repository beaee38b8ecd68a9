//===- CapturedErrors.h - What LLVM prints on its own -----------*- C++ -*-===//
//
// Parsers of LLVM's options write their errors to standard error instead of
// returning them, and pass options are no exception. Here they become text that
// can be one line of a message.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_SUPPORT_CAPTUREDERRORS_H
#define LLQ_SUPPORT_CAPTUREDERRORS_H

#include "llvm/ADT/StringRef.h"

#include <string>

namespace llq {

/// Keeps what the process writes to standard error while it lives. Only for
/// code that runs no threads: the redirection is the whole process's.
class CapturedErrors {
public:
  CapturedErrors();
  ~CapturedErrors();
  CapturedErrors(const CapturedErrors &) = delete;
  CapturedErrors &operator=(const CapturedErrors &) = delete;

  /// Ends the redirection and returns what was written.
  std::string take();

private:
  /// The file that takes the place of standard error, and a copy of the latter;
  /// -1 when there is no redirection.
  int file = -1, saved = -1;
};

/// The first line of what LLVM prints about an option,
/// `tool: for the --bits option: '9' is not ...`, as `--bits: '9' is not ...`.
std::string getOptionError(llvm::StringRef text);

} // namespace llq

#endif // LLQ_SUPPORT_CAPTUREDERRORS_H
