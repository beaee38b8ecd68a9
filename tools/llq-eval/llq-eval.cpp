//===- llq-eval.cpp - How good a model is ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Logits.h"
#include "Perplexity.h"

#include "support/ModelOptions.h"
#include "support/OutputFile.h"
#include "support/Tool.h"

#include <cmath>

using namespace llq::tools;
using llqrt::Status;

namespace {
struct EvalOptions {
  ModelOptions model;
  ThreadOptions threads;
  std::vector<std::string> texts;
  PerplexityOptions perplexity;
  LogitsOptions logits;
  bool json = false;
};
} // namespace

static void addOptions(CLI::App &app, EvalOptions &options) {
  options.model.addTo(app);
  options.threads.addTo(app);
  app.add_option("--perplexity", options.texts,
                 "NAME=FILE: perplexity of a text, or of the sequences of an "
                 ".ids file; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--window", options.perplexity.window, "Tokens per window")
      ->check(CLI::Range(size_t(2), size_t(1) << 26))
      ->capture_default_str();
  app.add_option("--windows", options.perplexity.windows,
                 "Evaluate only the first N windows")
      ->check(CLI::Range(size_t(1), size_t(1) << 40));
  static const std::map<std::string, Bos> bosNames = {
      {"none", Bos::None}, {"stream", Bos::Stream}, {"window", Bos::Window}};
  app.add_option("--bos", options.perplexity.bos,
                 "Where BOS goes: none, stream (one in front of the text, the "
                 "study's protocol) or window (in front of each window)")
      ->transform(CLI::CheckedTransformer(bosNames));
  app.add_option("--logits", options.logits.ids,
                 "IDS.txt: sequences of token ids, one per line");
  app.add_option(
      "-o,--output", options.logits.output,
      "Write their logits, float32 [tokens, vocab], as a NumPy file");
  app.add_option("--reference", options.logits.reference,
                 "Compare their logits with those of this NumPy file");
  app.add_flag("--json", options.json, "Print one JSON object");
}

/// NAME=FILE as two strings.
static Status splitText(const std::string &text, std::string &name,
                        std::string &path) {
  size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    return usageError("--perplexity " + text + ": expected NAME=FILE");
  name = text.substr(0, equals);
  path = text.substr(equals + 1);
  return {};
}

static Status checkUsage(const EvalOptions &options) {
  if (options.texts.empty() && options.logits.ids.empty())
    return usageError("give --perplexity NAME=FILE or --logits IDS.txt");
  bool wantsLogits =
      !options.logits.output.empty() || !options.logits.reference.empty();
  if (options.logits.ids.empty() == wantsLogits)
    return usageError("--logits goes with -o or --reference");
  std::vector<std::string> inputs = {options.model.path, options.logits.ids,
                                     options.logits.reference};
  for (const std::string &text : options.texts) {
    std::string name, path;
    LLQRT_RETURN_IF_ERROR(splitText(text, name, path));
    inputs.push_back(path);
  }
  return checkOutput(options.logits.output, inputs);
}

static Status evaluate(const EvalOptions &options) {
  LLQRT_RETURN_IF_ERROR(checkUsage(options));
  std::shared_ptr<const llqrt::Model> model;
  LLQRT_RETURN_IF_ERROR(options.model.open(model));
  uint32_t context = model->info().architecture.context;
  if (!options.texts.empty() && options.perplexity.window > context)
    return usageError("--window " + std::to_string(options.perplexity.window) +
                      " is longer than the model's context of " +
                      std::to_string(context));

  Json result = Json::object();
  for (const std::string &text : options.texts) {
    std::string name, path;
    LLQRT_RETURN_IF_ERROR(splitText(text, name, path));
    Perplexity perplexity;
    LLQRT_RETURN_IF_ERROR(measurePerplexity(model, path, options.perplexity,
                                            options.threads, perplexity));
    result["perplexity"][name] = perplexity.json();
    if (!options.json)
      std::printf("%s: perplexity %.4f +- %.4f (%zu tokens, %zu windows)\n  "
                  "%s\n",
                  name.c_str(), std::exp(perplexity.nll),
                  std::exp(perplexity.nll) * perplexity.error,
                  perplexity.tokens, perplexity.windows,
                  perplexity.protocol.c_str());
  }
  if (!options.logits.ids.empty()) {
    LogitsReport report;
    LLQRT_RETURN_IF_ERROR(
        evaluateLogits(model, options.logits, options.threads, report));
    result.update(report.json());
    if (!options.json && report.compared)
      std::printf("%s: KL %.6g +- %.2g, largest %.6g; same top token %.2f %%; "
                  "largest difference %.6g (%zu tokens)\n",
                  options.logits.ids.c_str(), report.kl, report.klError,
                  report.klMax, 100 * report.top1, report.maxAbsError,
                  report.tokens);
  }
  return options.json ? printJson(result) : Status();
}

int main(int argc, char **argv) {
  Tool tool("llq-eval",
            "Measures how good a model is: perplexity of texts, distance of "
            "its logits from a reference.",
            "  llq-eval model.llq --perplexity wiki=wiki.test.raw\n"
            "  llq-eval model.llq --perplexity wiki=wiki.test.raw --window 512 "
            "--windows 8 --json\n"
            "  llq-eval f32.llq --logits ids.txt -o logits.npy\n"
            "  llq-eval 4bit.llq --logits ids.txt --reference logits.npy");
  EvalOptions options;
  addOptions(tool.app, options);
  return tool.run(argc, argv, [&] { return evaluate(options); });
}
