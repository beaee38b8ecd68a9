//===- Result.h - A value or an error message ------------------*- C++ -*-===//
//
// The interpreter is called from code built without exceptions and must not
// stop on bad input, so every fallible function returns a Result.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_INTERPRETER_RESULT_H
#define LLQ_INTERPRETER_RESULT_H

#include <string>
#include <utility>
#include <variant>

namespace llq::interp {

/// Why something failed: one line, lower case, no full stop.
struct Error {
  std::string message;
};

/// Either a `T` or an Error. Test it before dereferencing.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : state(std::move(value)) {}
  Result(Error error) : state(std::move(error)) {}

  /// True when there is a value.
  explicit operator bool() const { return state.index() == 0; }

  /// The value; only after a successful test.
  T &operator*() { return *std::get_if<0>(&state); }
  const T &operator*() const { return *std::get_if<0>(&state); }
  T *operator->() { return std::get_if<0>(&state); }
  const T *operator->() const { return std::get_if<0>(&state); }

  /// The error's text; only after a failed test.
  const std::string &message() const { return std::get_if<1>(&state)->message; }

private:
  std::variant<T, Error> state;
};

} // namespace llq::interp

#endif // LLQ_INTERPRETER_RESULT_H
