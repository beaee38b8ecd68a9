//===- Session.cpp - One sequence of tokens on a model --------------------===//
//
// See Session.h. Every argument is checked here, before any kernel runs.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llqrt/Session.h"

#include "Interpreter.h"
#include "llqrt/Machine.h"

#include <algorithm>
#include <cstring>

using namespace llqrt;

struct Session::Impl {
  std::shared_ptr<const Model> model;
  const KernelTable *kernels = nullptr;
  Interpreter interpreter;
  /// Ends before the interpreter, which its threads may still visit.
  std::unique_ptr<ThreadPool> threads;
  uint64_t position = 0;
  /// Longest sequence: what the caller asked for.
  uint64_t capacity = 0;
  /// Most tokens per run of the program.
  size_t chunk = 0;

  const float *packOutputs(size_t first, size_t count);
};

/// Rows [first, first + count) of the last run's outputs without the padding
/// that a program may put behind them.
const float *Session::Impl::packOutputs(size_t first, size_t count) {
  size_t width = model->info().architecture.outputWidth();
  size_t stride = interpreter.outputStride();
  float *rows = interpreter.outputs() + first * stride;
  if (stride != width)
    for (size_t row = 1; row < count; ++row)
      std::memmove(rows + row * width, rows + row * stride,
                   width * sizeof(float));
  return rows;
}

Session::Session(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
Session::~Session() = default;

Status Session::create(std::shared_ptr<const Model> model,
                       const SessionOptions &options,
                       std::unique_ptr<Session> &session) {
  const ModelInfo &info = model->info();
  uint64_t context = info.architecture.context;
  if (options.capacity > context)
    return Status::invalidArgument(
        "a cache of " + std::to_string(options.capacity) +
        " tokens is longer than the model's context of " +
        std::to_string(context));

  auto impl = std::make_unique<Impl>();
  LLQRT_RETURN_IF_ERROR(model->kernels(impl->kernels));
  const ProgramInfo &program = info.findTarget("cpu")->program;
  impl->capacity = options.capacity ? options.capacity : context;
  impl->chunk = program.maxTokens;
  if (options.chunk)
    impl->chunk = std::min<size_t>(impl->chunk, options.chunk);
  LLQRT_RETURN_IF_ERROR(
      ThreadPool::create(options.threads ? options.threads : physicalCores(),
                         options.pinThreads, impl->threads));
  uint64_t positions = (impl->capacity + LLQRT_POSITION_BLOCK - 1) /
                       LLQRT_POSITION_BLOCK * LLQRT_POSITION_BLOCK;
  LLQRT_RETURN_IF_ERROR(impl->interpreter.bind(*model, program, *impl->kernels,
                                               positions, *impl->threads));
  impl->model = std::move(model);
  session.reset(new Session(std::move(impl)));
  return {};
}

Status Session::evaluate(std::span<const int32_t> ids, size_t outputs,
                         std::span<const float> &values) {
  values = {};
  if (ids.empty())
    return Status::invalidArgument("there are no tokens to evaluate");
  if (outputs > ids.size() || outputs > impl->chunk)
    return Status::invalidArgument(
        "outputs of " + std::to_string(outputs) + " tokens were asked for, " +
        std::to_string(std::min(ids.size(), impl->chunk)) +
        " are possible in this call");
  if (ids.size() > impl->capacity - impl->position)
    return {LLQRT_OUT_OF_CONTEXT,
            std::to_string(ids.size()) + " more tokens do not fit: " +
                std::to_string(impl->position) + " of " +
                std::to_string(impl->capacity) + " positions are in use"};
  auto limit =
      static_cast<int64_t>(impl->model->info().architecture.tokenLimit);
  for (int32_t id : ids)
    if (id < 0 || id >= limit)
      return Status::invalidArgument("token id " + std::to_string(id) +
                                     " is outside the vocabulary of " +
                                     std::to_string(limit));

  size_t tokens = 0;
  while (!ids.empty()) {
    tokens = std::min(ids.size(), impl->chunk);
    // The last chunk holds all tokens whose outputs are asked for.
    if (tokens < ids.size())
      tokens = std::min(tokens, ids.size() - std::max<size_t>(outputs, 1));
    std::copy_n(ids.data(), tokens, impl->interpreter.ids());
    ids = ids.subspan(tokens);
    impl->interpreter.run(*impl->threads, static_cast<int64_t>(tokens),
                          static_cast<int64_t>(ids.empty() ? outputs : 0),
                          static_cast<int64_t>(impl->position));
    impl->position += tokens;
  }
  values = {impl->packOutputs(tokens - outputs, outputs),
            outputs * outputWidth()};
  return {};
}

Status Session::truncate(uint64_t position) {
  if (position > impl->position)
    return Status::invalidArgument("cannot cut a sequence of " +
                                   std::to_string(impl->position) +
                                   " tokens at " + std::to_string(position));
  impl->position = position;
  return {};
}

uint64_t Session::position() const { return impl->position; }
uint64_t Session::capacity() const { return impl->capacity; }
size_t Session::maxOutputs() const { return impl->chunk; }
const Model &Session::model() const { return *impl->model; }
const std::shared_ptr<const Model> &Session::sharedModel() const {
  return impl->model;
}
const std::string &Session::level() const { return impl->kernels->level; }
ThreadPool &Session::threads() { return *impl->threads; }
size_t Session::barriersPerPass() const {
  return impl->interpreter.barrierCount();
}
size_t Session::outputWidth() const {
  return impl->model->info().architecture.outputWidth();
}
