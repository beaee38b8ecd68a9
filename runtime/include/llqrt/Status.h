//===- Status.h - Success, or what went wrong -------------------*- C++ -*-===//
//
// The result of everything in the runtime that can fail. The codes are those of
// the C API (llqrt.h); the message is one line that names the thing at fault
// and, where it is not obvious, the remedy.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_STATUS_H
#define LLQRT_STATUS_H

#include "llqrt/llqrt.h"

#include <string>
#include <utility>

namespace llqrt {

class [[nodiscard]] Status {
public:
  /// Success.
  Status() = default;

  /// A failure; `code` must not be LLQRT_OK.
  Status(llqrt_status code, std::string message)
      : statusCode(code), text(std::move(message)) {}

  static Status invalidArgument(std::string message) {
    return {LLQRT_INVALID_ARGUMENT, std::move(message)};
  }
  static Status fileError(std::string message) {
    return {LLQRT_FILE_ERROR, std::move(message)};
  }
  static Status badFile(std::string message) {
    return {LLQRT_BAD_FILE, std::move(message)};
  }
  static Status unsupported(std::string message) {
    return {LLQRT_UNSUPPORTED, std::move(message)};
  }
  static Status outOfMemory(std::string message) {
    return {LLQRT_OUT_OF_MEMORY, std::move(message)};
  }

  bool ok() const { return statusCode == LLQRT_OK; }
  llqrt_status code() const { return statusCode; }
  const std::string &message() const { return text; }

  /// The same failure, with `prefix` and ": " in front of its message.
  Status within(const std::string &prefix) const {
    return ok() ? *this : Status(statusCode, prefix + ": " + text);
  }

private:
  llqrt_status statusCode = LLQRT_OK;
  std::string text;
};

/// Leaves the enclosing function with the status of `expression` if it failed.
#define LLQRT_RETURN_IF_ERROR(expression)                                      \
  do {                                                                         \
    if (::llqrt::Status status_ = (expression); !status_.ok())                 \
      return status_;                                                          \
  } while (false)

} // namespace llqrt

#endif // LLQRT_STATUS_H
