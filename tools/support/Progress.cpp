//===- Progress.cpp - How far a long task has come ------------------------===//
//
// See Progress.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "support/Progress.h"

#include <cstdio>
#include <unistd.h>

using namespace llq::tools;

Progress::Progress(std::string what, size_t total)
    : what(std::move(what)), total(total), terminal(isatty(STDERR_FILENO)),
      start(Clock::now()), last(start) {}

Progress::~Progress() {
  if (shown)
    std::fputs("\r\033[K", stderr);
}

void Progress::advance(size_t units) {
  done += units;
  Clock::time_point now = Clock::now();
  if (!terminal || now - start < std::chrono::seconds(2) ||
      now - last < std::chrono::milliseconds(200) || done == 0)
    return;
  last = now;
  shown = true;
  double elapsed = std::chrono::duration<double>(now - start).count();
  double left =
      elapsed * static_cast<double>(total - done) / static_cast<double>(done);
  std::fprintf(stderr, "\r\033[K%s: %zu of %zu, %.0f s left", what.c_str(),
               done, total, left);
}
