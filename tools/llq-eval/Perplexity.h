//===- Perplexity.h - Token perplexity in windows ---------------*- C++ -*-===//
//
// The protocol of the low-bit LLAMA3 study (arXiv 2404.14047): the text is
// tokenized once and cut into windows that do not overlap; the tail is dropped;
// each window starts with an empty cache and every token of it but the first is
// scored; exp of the mean.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_EVAL_PERPLEXITY_H
#define LLQ_TOOLS_EVAL_PERPLEXITY_H

#include "support/Json.h"
#include "support/ModelOptions.h"

#include <map>
#include <string>

namespace llq::tools {

/// Where a beginning-of-text token goes.
enum class Bos {
  None,
  /// One at the start of the stream: the study's protocol.
  Stream,
  /// One in front of each window, which then has one text token fewer.
  Window,
};

struct PerplexityOptions {
  size_t window = 2048;
  /// Windows to evaluate at most; 0: all.
  size_t windows = 0;
  Bos bos = Bos::None;
};

struct Perplexity {
  double nll = 0;
  /// Standard error of nll.
  double error = 0;
  size_t tokens = 0, windows = 0;
  /// All that the figure depends on besides the model's weights.
  std::string protocol;

  /// {ppl, nll, stderr, ppl_stderr, tokens, windows, protocol}
  Json json() const;
};

/// Evaluates the text at `path`, or its sequences if it is an .ids file.
llqrt::Status measurePerplexity(std::shared_ptr<const llqrt::Model> model,
                                const std::string &path,
                                const PerplexityOptions &options,
                                const ThreadOptions &threads,
                                Perplexity &result);

} // namespace llq::tools

#endif // LLQ_TOOLS_EVAL_PERPLEXITY_H
