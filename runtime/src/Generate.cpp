//===- Generate.cpp - Text from a prompt ----------------------------------===//
//
// See Generate.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llqrt/Generate.h"

#include "llqrt/Tokenizer.h"

#include <algorithm>
#include <chrono>
#include <optional>

using namespace llqrt;

namespace {

/// Adds the time of a scope to a sum.
class Stopwatch {
public:
  explicit Stopwatch(double &seconds)
      : seconds(seconds), start(std::chrono::steady_clock::now()) {}
  ~Stopwatch() {
    seconds +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
            .count();
  }

private:
  double &seconds;
  std::chrono::steady_clock::time_point start;
};

} // namespace

Status llqrt::generate(Session &session, std::span<const int32_t> prompt,
                       const GenerateOptions &options,
                       const TokenCallback &callback, GenerateResult &result) {
  result = {};
  const ModelInfo &info = session.model().info();
  if (info.architecture.vocab == 0)
    return Status::unsupported("a model without a head generates nothing");
  std::string error;
  if (!options.sampling.check(error))
    return Status::invalidArgument(error);

  const Tokenizer *tokenizer = nullptr;
  std::optional<TextStream> text;
  std::span<const int32_t> stops;
  if (info.tokenizer.bytes) {
    LLQRT_RETURN_IF_ERROR(session.model().tokenizer(tokenizer));
    text.emplace(*tokenizer);
    stops =
        options.chat ? tokenizer->chatStopTokens() : tokenizer->stopTokens();
  }
  auto ends = [&](int32_t token) {
    return !options.ignoreEos &&
           std::find(stops.begin(), stops.end(), token) != stops.end();
  };

  std::span<const float> logits;
  {
    Stopwatch watch(result.prefillSeconds);
    LLQRT_RETURN_IF_ERROR(
        session.evaluate(prompt, options.maxTokens ? 1 : 0, logits));
  }
  std::vector<int32_t> history(prompt.begin(), prompt.end());
  Sampler sampler(options.sampling);
  double firstSample = 0;
  while (result.tokens.size() < options.maxTokens) {
    int32_t token;
    {
      Stopwatch watch(result.tokens.empty() ? firstSample
                                            : result.decodeSeconds);
      token = sampler.sample(logits, history);
    }
    if (token < 0)
      return {LLQRT_BAD_FILE, "the model's outputs are not numbers"};
    if (ends(token)) {
      result.finish = LLQRT_FINISH_STOP;
      break;
    }
    result.tokens.push_back(token);
    history.push_back(token);
    if (!callback(token, text ? text->push(token) : std::string())) {
      result.finish = LLQRT_FINISH_CANCELLED;
      break;
    }
    if (result.tokens.size() == options.maxTokens ||
        session.position() == session.capacity())
      break;
    Stopwatch watch(result.decodeSeconds);
    ++result.decodeTokens;
    LLQRT_RETURN_IF_ERROR(session.evaluate({&token, 1}, 1, logits));
  }
  if (std::string rest = text ? text->finish() : ""; !rest.empty())
    callback(-1, rest);
  return {};
}
