//===- Logits.cpp - Logits of given sequences -----------------------------===//
//
// See Logits.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Logits.h"

#include "Distribution.h"
#include "support/IdsFile.h"
#include "support/Npy.h"
#include "support/OutputFile.h"
#include "support/Progress.h"

#include <algorithm>
#include <cmath>

using namespace llq::tools;
using namespace llqrt;

namespace {

/// What the comparison of one token's logits gave.
struct TokenComparison {
  double kl, absError;
  bool sameTop;
};

class LogitsRun {
public:
  LogitsRun(std::shared_ptr<const Model> model, const LogitsOptions &options)
      : model(std::move(model)), options(options) {}

  Status run(const ThreadOptions &threads, LogitsReport &report);

private:
  Status openFiles(size_t tokens);
  Status runSequence(Session &session, std::span<const int32_t> ids,
                     Progress &progress);
  void summarize(LogitsReport &report) const;

  std::shared_ptr<const Model> model;
  const LogitsOptions &options;
  OutputFile output;
  NpyReader reference;
  std::vector<TokenComparison> comparisons;
};

} // namespace

static TokenComparison compareLogits(std::span<const float> reference,
                                     std::span<const float> logits) {
  TokenComparison result{divergence(reference, logits), 0, false};
  for (size_t i = 0; i < logits.size(); ++i) {
    double error = std::fabs(double(logits[i]) - double(reference[i]));
    // A NaN stays.
    if (!(error <= result.absError))
      result.absError = error;
  }
  int64_t top = argmax(logits);
  result.sameTop = top >= 0 && top == argmax(reference);
  return result;
}

Status LogitsRun::openFiles(size_t tokens) {
  uint64_t width = model->info().architecture.outputWidth();
  if (!options.reference.empty())
    LLQRT_RETURN_IF_ERROR(reference.open(options.reference, tokens, width));
  if (options.output.empty())
    return {};
  LLQRT_RETURN_IF_ERROR(output.create(options.output));
  std::string header = npyHeader(tokens, width);
  return output.write(header.data(), header.size());
}

Status LogitsRun::runSequence(Session &session, std::span<const int32_t> ids,
                              Progress &progress) {
  LLQRT_RETURN_IF_ERROR(session.truncate(0));
  size_t width = session.outputWidth();
  while (!ids.empty()) {
    size_t count = std::min(ids.size(), session.maxOutputs());
    std::span<const float> logits;
    LLQRT_RETURN_IF_ERROR(session.evaluate(ids.first(count), count, logits));
    ids = ids.subspan(count);
    if (!options.output.empty())
      LLQRT_RETURN_IF_ERROR(output.write(logits.data(), logits.size_bytes()));
    if (!options.reference.empty()) {
      std::vector<float> expected(logits.size());
      LLQRT_RETURN_IF_ERROR(reference.read(expected));
      size_t first = comparisons.size();
      comparisons.resize(first + count);
      session.threads().run([&](unsigned thread) {
        auto share = shareOfItems(static_cast<int64_t>(count), thread,
                                  session.threads().size());
        for (auto row = static_cast<size_t>(share.begin);
             row < static_cast<size_t>(share.end); ++row)
          comparisons[first + row] =
              compareLogits(std::span(expected).subspan(row * width, width),
                            logits.subspan(row * width, width));
      });
    }
    progress.advance(count);
  }
  return {};
}

void LogitsRun::summarize(LogitsReport &report) const {
  if (comparisons.empty())
    return;
  report.compared = true;
  std::vector<double> divergences;
  size_t same = 0;
  for (const TokenComparison &token : comparisons) {
    divergences.push_back(token.kl);
    if (!(token.kl <= report.klMax))
      report.klMax = token.kl;
    if (!(token.absError <= report.maxAbsError))
      report.maxAbsError = token.absError;
    same += token.sameTop;
  }
  Mean mean = meanOf(divergences);
  report.kl = mean.value;
  report.klError = mean.error;
  report.top1 =
      static_cast<double>(same) / static_cast<double>(comparisons.size());
}

Status LogitsRun::run(const ThreadOptions &threads, LogitsReport &report) {
  const ArchitectureInfo &a = model->info().architecture;
  std::vector<std::vector<int32_t>> sequences;
  LLQRT_RETURN_IF_ERROR(readIdsFile(options.ids, a.tokenLimit, sequences));
  size_t longest = 0;
  for (const auto &sequence : sequences) {
    report.tokens += sequence.size();
    longest = std::max(longest, sequence.size());
  }
  if (longest > a.context)
    return Status::badFile(options.ids + ": a sequence of " +
                           std::to_string(longest) +
                           " tokens is longer than the model's context of " +
                           std::to_string(a.context));
  SessionOptions sessionOptions;
  threads.apply(sessionOptions);
  sessionOptions.capacity = longest;
  std::unique_ptr<Session> session;
  LLQRT_RETURN_IF_ERROR(Session::create(model, sessionOptions, session));
  LLQRT_RETURN_IF_ERROR(openFiles(report.tokens));
  Progress progress(options.ids, report.tokens);
  for (const auto &sequence : sequences)
    LLQRT_RETURN_IF_ERROR(runSequence(*session, sequence, progress));
  if (!options.output.empty())
    LLQRT_RETURN_IF_ERROR(output.commit());
  summarize(report);
  return {};
}

Status llq::tools::evaluateLogits(std::shared_ptr<const Model> model,
                                  const LogitsOptions &options,
                                  const ThreadOptions &threads,
                                  LogitsReport &report) {
  return LogitsRun(std::move(model), options).run(threads, report);
}

Json LogitsReport::json() const {
  Json result = {{"tokens", tokens}};
  if (compared) {
    result["kl"] = {{"mean", number(kl)},
                    {"stderr", number(klError)},
                    {"max", number(klMax)}};
    result["top1_agreement"] = top1;
    result["max_abs_error"] = number(maxAbsError);
  }
  return result;
}
