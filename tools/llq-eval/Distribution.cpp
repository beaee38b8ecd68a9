//===- Distribution.cpp - Probabilities out of logits ---------------------===//
//
// See Distribution.h. Sums run in index order, so that figures do not depend on
// the number of threads.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Distribution.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace llq::tools;
using llqrt::Status;

double llq::tools::logSumExp(std::span<const float> logits) {
  float largest = -std::numeric_limits<float>::infinity();
  for (float logit : logits)
    largest = logit > largest ? logit : largest;
  if (std::isinf(largest))
    largest = 0; // all are -inf, or one is +inf: let the sum say so
  double sum = 0;
  for (float logit : logits)
    sum += std::exp(logit - largest);
  return std::log(sum) + largest;
}

double llq::tools::divergence(std::span<const float> reference,
                              std::span<const float> model) {
  double referenceNorm = logSumExp(reference), modelNorm = logSumExp(model);
  double sum = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    double p = reference[i] - referenceNorm;
    double weight = std::exp(p);
    // 0 log 0 is 0, also against a model that says -inf.
    if (weight != 0)
      sum += weight * (p - (model[i] - modelNorm));
  }
  // Rounding can put the divergence of equal distributions below zero.
  return sum < 0 ? 0 : sum;
}

int64_t llq::tools::argmax(std::span<const float> values) {
  size_t best = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i]))
      return -1;
    if (values[i] > values[best])
      best = i;
  }
  return static_cast<int64_t>(best);
}

Mean llq::tools::meanOf(const std::vector<double> &samples) {
  if (samples.empty())
    return {};
  auto count = static_cast<double>(samples.size());
  double sum = 0, squares = 0;
  for (double sample : samples)
    sum += sample;
  double mean = sum / count;
  for (double sample : samples)
    squares += (sample - mean) * (sample - mean);
  if (samples.size() < 2)
    return {mean, 0};
  return {mean, std::sqrt(squares / (count - 1) / count)};
}

Json llq::tools::number(double value) {
  if (std::isfinite(value))
    return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

Status llq::tools::forEachOutput(
    llqrt::Session &session, std::span<const int32_t> ids, size_t outputs,
    const std::function<void(size_t, std::span<const float>)> &visit,
    const std::function<void(size_t)> &progress) {
  LLQRT_RETURN_IF_ERROR(session.truncate(0));
  size_t width = session.outputWidth();
  ids = ids.first(std::min(ids.size(), outputs));
  for (size_t first = 0; first < ids.size();) {
    size_t count = std::min(session.maxOutputs(), ids.size() - first);
    std::span<const float> logits;
    LLQRT_RETURN_IF_ERROR(
        session.evaluate(ids.subspan(first, count), count, logits));
    session.threads().run([&](unsigned thread) {
      auto share = llqrt::shareOfItems(static_cast<int64_t>(count), thread,
                                       session.threads().size());
      for (auto row = static_cast<size_t>(share.begin);
           row < static_cast<size_t>(share.end); ++row)
        visit(first + row, logits.subspan(row * width, width));
    });
    first += count;
    progress(count);
  }
  return {};
}
