//===- Logits.h - Logits of given sequences ---------------------*- C++ -*-===//
//
// Writes the logits of every token of an ids file, or compares them with those
// that another model wrote.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_EVAL_LOGITS_H
#define LLQ_TOOLS_EVAL_LOGITS_H

#include "support/Json.h"
#include "support/ModelOptions.h"

#include <string>

namespace llq::tools {

struct LogitsOptions {
  /// One sequence of ids per line.
  std::string ids;
  /// Where float32 [tokens of all lines, vocab] goes; empty: nowhere.
  std::string output;
  /// Logits of a reference model for the same ids; empty: no comparison.
  std::string reference;
};

struct LogitsReport {
  size_t tokens = 0;
  bool compared = false;
  /// KL divergence from the reference: mean, its standard error, largest.
  double kl = 0, klError = 0, klMax = 0;
  /// Share of tokens where both prefer the same token.
  double top1 = 0;
  double maxAbsError = 0;

  Json json() const;
};

llqrt::Status evaluateLogits(std::shared_ptr<const llqrt::Model> model,
                             const LogitsOptions &options,
                             const ThreadOptions &threads,
                             LogitsReport &report);

} // namespace llq::tools

#endif // LLQ_TOOLS_EVAL_LOGITS_H
