//===- Signals.h - Leave nothing behind when stopped ------------*- C++ -*-===//
//
// Ctrl-C, hang-up and termination end a tool at once; what it has made for its
// own use, temporary files and child processes, goes with it.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_SUPPORT_SIGNALS_H
#define LLQ_TOOLS_SUPPORT_SIGNALS_H

#include <string>
#include <sys/types.h>

namespace llq::tools {

/// A file, or a folder that is empty by then, that a signal removes while this
/// object lives; the youngest first.
class RemovedOnSignal {
public:
  explicit RemovedOnSignal(const std::string &path);
  ~RemovedOnSignal();
  RemovedOnSignal(const RemovedOnSignal &) = delete;
  RemovedOnSignal &operator=(const RemovedOnSignal &) = delete;

  struct Slot;

private:
  Slot *slot = nullptr;
};

/// A child process that gets the signal too and is waited for.
class StoppedOnSignal {
public:
  explicit StoppedOnSignal(pid_t child);
  ~StoppedOnSignal();
  StoppedOnSignal(const StoppedOnSignal &) = delete;
  StoppedOnSignal &operator=(const StoppedOnSignal &) = delete;
};

} // namespace llq::tools

#endif // LLQ_TOOLS_SUPPORT_SIGNALS_H
