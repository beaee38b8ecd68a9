//===- Session.h - One sequence of tokens on a model ------------*- C++ -*-===//
//
// Holds the KV cache, working memory and threads of one sequence and runs the
// model's program over it. See llqrt.h for the same thing in C.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_SESSION_H
#define LLQRT_SESSION_H

#include "llqrt/Model.h"
#include "llqrt/ThreadPool.h"

#include <memory>
#include <span>

namespace llqrt {

struct SessionOptions {
  /// Threads including the caller's; 0: one per physical core.
  unsigned threads = 0;
  bool pinThreads = false;
  /// Tokens that the cache holds; 0: the model's context.
  uint64_t capacity = 0;
  /// Most tokens per pass through the program; 0: as many as it allows. Changes
  /// speed and memory, never results.
  uint32_t chunk = 0;
};

/// Belongs to one thread at a time.
class Session {
public:
  static Status create(std::shared_ptr<const Model> model,
                       const SessionOptions &options,
                       std::unique_ptr<Session> &session);
  ~Session();
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  /// Appends `ids` and evaluates them. `values` becomes [outputs, outputWidth]
  /// of the last `outputs` tokens, valid until the next call. `outputs` is at
  /// most ids.size() and maxOutputs(). After a failure the sequence is as it
  /// was before.
  Status evaluate(std::span<const int32_t> ids, size_t outputs,
                  std::span<const float> &values);

  /// Forgets all tokens from `position` on.
  Status truncate(uint64_t position);

  uint64_t position() const;
  uint64_t capacity() const;
  size_t outputWidth() const;
  size_t maxOutputs() const;
  const Model &model() const;
  const std::shared_ptr<const Model> &sharedModel() const;
  /// The level of the code that runs.
  const std::string &level() const;
  /// The session's threads, for work between evaluations.
  ThreadPool &threads();
  /// Barriers per pass with outputs, for llq-bench and tests.
  size_t barriersPerPass() const;

private:
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

} // namespace llqrt

#endif // LLQRT_SESSION_H
