//===- Progress.h - How far a long task has come ----------------*- C++ -*-===//
//
// One line on a terminal with the time that is left, for tasks that take more
// than two seconds; nothing where standard error is redirected. (No packaged
// C++ library does this.)
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_SUPPORT_PROGRESS_H
#define LLQ_TOOLS_SUPPORT_PROGRESS_H

#include <chrono>
#include <cstddef>
#include <string>

namespace llq::tools {

class Progress {
public:
  /// `total` units of work to come, shown behind `what`.
  Progress(std::string what, size_t total);
  /// Wipes the line.
  ~Progress();
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  /// `units` more are done.
  void advance(size_t units = 1);

private:
  using Clock = std::chrono::steady_clock;

  std::string what;
  size_t total, done = 0;
  bool terminal, shown = false;
  Clock::time_point start, last;
};

} // namespace llq::tools

#endif // LLQ_TOOLS_SUPPORT_PROGRESS_H
