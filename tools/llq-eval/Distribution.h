//===- Distribution.h - Probabilities out of logits -------------*- C++ -*-===//
//
// Softmax in f32 with sums in f64, as the study's protocol wants it, and means
// with their standard errors.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TOOLS_EVAL_DISTRIBUTION_H
#define LLQ_TOOLS_EVAL_DISTRIBUTION_H

#include "llqrt/Session.h"
#include "support/Json.h"

#include <functional>
#include <span>
#include <vector>

namespace llq::tools {

/// log of the sum of exp(logits). NaN if a logit is NaN.
double logSumExp(std::span<const float> logits);

/// KL divergence of softmax(model) from softmax(reference), in nats.
double divergence(std::span<const float> reference,
                  std::span<const float> model);

/// Index of the largest value, the lowest of equal ones; -1 if one is NaN.
int64_t argmax(std::span<const float> values);

struct Mean {
  double value = 0;
  /// Standard error of `value`; 0 for a single sample.
  double error = 0;
};
Mean meanOf(const std::vector<double> &samples);

/// A number, or "nan", "inf", "-inf", which JSON cannot write as numbers.
Json number(double value);

/// Evaluates `ids` from an empty cache and hands out the logits of tokens
/// [0, outputs): visit(t, logits of token t) runs once for each t, on any of
/// the session's threads. `progress` hears of tokens that are done.
llqrt::Status
forEachOutput(llqrt::Session &session, std::span<const int32_t> ids,
              size_t outputs,
              const std::function<void(size_t, std::span<const float>)> &visit,
              const std::function<void(size_t)> &progress);

} // namespace llq::tools

#endif // LLQ_TOOLS_EVAL_DISTRIBUTION_H
