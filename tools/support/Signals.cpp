//===- Signals.cpp - Leave nothing behind when stopped --------------------===//
//
// See Signals.h. The handler calls only what POSIX lets a handler call.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "support/Signals.h"

#include <atomic>
#include <climits>
#include <csignal>
#include <cstring>
#include <iterator>
#include <sys/wait.h>
#include <unistd.h>

using namespace llq::tools;

/// A path, in memory that a handler on any thread may read at any time.
struct RemovedOnSignal::Slot {
  enum State { Free, Claimed, Live };
  std::atomic<int> state{Free};
  char path[PATH_MAX];
};

/// More than any tool has at a time.
static RemovedOnSignal::Slot slots[8];
static std::atomic<pid_t> runningChild{0};

static void leaveNothing(int number) {
  if (pid_t child = runningChild) {
    kill(child, number);
    waitpid(child, nullptr, 0);
  }
  for (auto slot = std::rbegin(slots); slot != std::rend(slots); ++slot)
    if (slot->state == RemovedOnSignal::Slot::Live && unlink(slot->path) != 0)
      rmdir(slot->path);
  // The handler is gone (SA_RESETHAND): end as if there had been none.
  raise(number);
}

static void install() {
  static const bool installed = [] {
    struct sigaction action = {}, before;
    action.sa_handler = leaveNothing;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    for (int number : {SIGINT, SIGTERM, SIGHUP})
      // What the caller has us ignore (nohup) stays ignored.
      if (sigaction(number, nullptr, &before) == 0 &&
          before.sa_handler == SIG_DFL)
        sigaction(number, &action, nullptr);
    return true;
  }();
  (void)installed;
}

RemovedOnSignal::RemovedOnSignal(const std::string &path) {
  install();
  if (path.size() >= PATH_MAX)
    return;
  for (Slot &candidate : slots) {
    int free = Slot::Free;
    if (!candidate.state.compare_exchange_strong(free, Slot::Claimed))
      continue;
    std::memcpy(candidate.path, path.c_str(), path.size() + 1);
    candidate.state = Slot::Live;
    slot = &candidate;
    return;
  }
}

RemovedOnSignal::~RemovedOnSignal() {
  if (slot)
    slot->state = Slot::Free;
}

StoppedOnSignal::StoppedOnSignal(pid_t child) {
  install();
  runningChild = child;
}

StoppedOnSignal::~StoppedOnSignal() { runningChild = 0; }
