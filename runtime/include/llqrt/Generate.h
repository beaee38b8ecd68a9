//===- Generate.h - Text from a prompt --------------------------*- C++ -*-===//
//
// The loop of evaluating, sampling and stopping that llq-run and the C API
// share.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_GENERATE_H
#define LLQRT_GENERATE_H

#include "llqrt/Sampler.h"
#include "llqrt/Session.h"

#include <functional>
#include <string>
#include <vector>

namespace llqrt {

struct GenerateOptions {
  /// Tokens to generate at most.
  size_t maxTokens = 64;
  SamplerOptions sampling;
  /// Goes on after a token that ends the text.
  bool ignoreEos = false;
  /// Tokens that end an answer in a chat end the text too.
  bool chat = false;
};

struct GenerateResult {
  /// What was generated, without the token that ended it.
  std::vector<int32_t> tokens;
  llqrt_finish finish = LLQRT_FINISH_LENGTH;
  double prefillSeconds = 0;
  /// Evaluating tokens one by one and choosing their successors; how many.
  double decodeSeconds = 0;
  size_t decodeTokens = 0;
};

/// Called with each token and the text that it completes (none if the model has
/// no tokenizer), last with -1 and the text that was held back, if there is
/// any. False ends the generation.
using TokenCallback = std::function<bool(int32_t, const std::string &)>;

/// Appends `prompt` to the session's sequence and generates from there. The
/// repeat penalty counts the tokens of this call.
Status generate(Session &session, std::span<const int32_t> prompt,
                const GenerateOptions &options, const TokenCallback &callback,
                GenerateResult &result);

} // namespace llqrt

#endif // LLQRT_GENERATE_H
