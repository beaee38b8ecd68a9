//===- llq-run.cpp - Generates text with a model --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Chat.h"

#include "support/IdsFile.h"
#include "support/Json.h"
#include "support/ModelOptions.h"
#include "support/Tool.h"

#include <charconv>
#include <optional>
#include <unistd.h>

using namespace llq::tools;
using namespace llqrt;

namespace {

struct RunOptions {
  ModelOptions model;
  ThreadOptions threads;
  std::optional<std::string> prompt, promptFile, ids;
  std::string system;
  bool chat = false, noBos = false, json = false;
  /// Tokens to generate and tokens that the cache holds, if given.
  std::optional<uint64_t> count, context;
  GenerateOptions generate;

  void addTo(CLI::App &app);
};

} // namespace

/// The library takes -1 and numbers beyond 64 bits for others.
static std::string checkSeed(const std::string &text) {
  uint64_t seed;
  const char *end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, seed);
  if (error == std::errc() && rest == end)
    return {};
  return "'" + text + "' is not a number from 0 to 18446744073709551615";
}

void RunOptions::addTo(CLI::App &app) {
  model.addTo(app);
  auto *source = app.add_option_group("prompt");
  source->add_option("--prompt", prompt,
                     "Text to go on from; special tokens in it count as such");
  source->add_option("--prompt-file", promptFile, "File with that text");
  source->add_option("--ids", ids, "Token ids to go on from: 1,2,3");
  source->require_option(0, 1);
  app.add_flag("--chat", chat,
               "Format the prompt as a user's message with the model's chat "
               "template; without a prompt, hold a conversation");
  app.add_option("--system", system, "System message of the chat");
  app.add_option("-n,--tokens", count,
                 "Tokens to generate at most; 128, in a conversation as many "
                 "as fit, if not given")
      ->check(CLI::Range(uint64_t(0), uint64_t(1) << 32));
  app.add_option("--context", context,
                 "Tokens that the cache holds; what is needed if not given")
      ->check(CLI::Range(uint64_t(1), uint64_t(1) << 32));
  SamplerOptions &sampling = generate.sampling;
  app.add_option("--temperature", sampling.temperature,
                 "0: always the most likely token")
      ->check(CLI::Range(0.0f, 1000.0f))
      ->capture_default_str();
  app.add_option("--top-k", sampling.topK,
                 "Keep the k most likely tokens; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--top-p", sampling.topP,
                 "Keep the most likely tokens that reach this probability")
      ->check(CLI::Range(0.0f, 1.0f))
      ->capture_default_str();
  app.add_option("--min-p", sampling.minP,
                 "Keep tokens of at least this share of the best one's "
                 "probability")
      ->check(CLI::Range(0.0f, 1.0f))
      ->capture_default_str();
  app.add_option("--repeat-penalty", sampling.repeatPenalty,
                 "Above 1: make tokens that occurred before less likely")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", sampling.seed, "Seed of the random choices")
      ->check(CLI::Validator(checkSeed, "0 .. 2^64 - 1"))
      ->capture_default_str();
  app.add_flag("--ignore-eos", generate.ignoreEos,
               "Go on after a token that ends the text");
  app.add_flag("--no-bos", noBos,
               "Do not add the tokens that the tokenizer puts around a text");
  threads.addTo(app);
  app.add_flag("--json", json,
               "Print one JSON object instead of the text alone");
}

static Status readPrompt(const RunOptions &options, const Model &model,
                         std::vector<int32_t> &ids) {
  if (options.ids) {
    uint32_t limit = model.info().architecture.tokenLimit;
    Status status = parseIds(*options.ids, limit, ids).within("--ids");
    return status.ok() ? status : usageError(status.message());
  }
  std::string text = options.prompt.value_or("");
  if (options.promptFile)
    LLQRT_RETURN_IF_ERROR(readFile(*options.promptFile, text));
  const Tokenizer *tokenizer;
  LLQRT_RETURN_IF_ERROR(model.tokenizer(tokenizer));
  if (options.chat) {
    std::vector<ChatMessage> messages;
    if (!options.system.empty())
      messages.push_back({"system", options.system});
    messages.push_back({"user", text});
    return encodeChat(*tokenizer, messages, ids);
  }
  EncodeOptions encode;
  if (options.noBos)
    encode.addSpecial = SpecialTokens::None;
  std::string error;
  if (tokenizer->encode(text, encode, ids, error))
    return {};
  return options.promptFile
             ? Status::badFile(*options.promptFile + ": " + error)
             : usageError("--prompt: " + error);
}

static Json describeCache(const Session &session) {
  const ModelInfo &info = session.model().info();
  uint64_t bytesPerToken = cacheBytesPerToken(info.findTarget("cpu")->program);
  return {{"type", info.kvCache},
          {"tokens", session.capacity()},
          {"bytes_per_token", bytesPerToken},
          {"bytes", bytesPerToken * session.capacity()}};
}

static Status printResult(const Session &session,
                          const std::vector<int32_t> &prompt,
                          const GenerateResult &result) {
  std::string text;
  if (session.model().info().tokenizer.bytes) {
    const Tokenizer *tokenizer;
    LLQRT_RETURN_IF_ERROR(session.model().tokenizer(tokenizer));
    text = tokenizer->decode(result.tokens);
  }
  auto rate = [](size_t count, double seconds) {
    return seconds > 0 && count ? Json(static_cast<double>(count) / seconds)
                                : Json(nullptr);
  };
  return printJson(
      {{"prompt_tokens", prompt},
       {"tokens", result.tokens},
       {"text", text},
       {"finish", result.finish == LLQRT_FINISH_STOP ? "stop" : "length"},
       {"prefill_tok_s", rate(prompt.size(), result.prefillSeconds)},
       {"decode_tok_s", rate(result.decodeTokens, result.decodeSeconds)},
       {"kv_cache", describeCache(session)}});
}

/// Prints the pieces as they come; ids where there is no tokenizer.
static bool printPiece(bool hasText, int32_t token, const std::string &text) {
  if (hasText)
    std::fputs(text.c_str(), stdout);
  else
    std::printf("%d ", token);
  // A closed pipe ends the generation.
  return std::fflush(stdout) == 0;
}

static Status run(RunOptions &options) {
  bool hasPrompt = options.prompt || options.promptFile || options.ids;
  if (!hasPrompt && !options.chat)
    return usageError("give --prompt, --prompt-file, --ids or --chat");
  if (options.chat && options.ids)
    return usageError("--chat formats text, not --ids");
  if (!hasPrompt && options.json)
    return usageError("--json needs a prompt");

  std::shared_ptr<const Model> model;
  LLQRT_RETURN_IF_ERROR(options.model.open(model));
  uint64_t context = model->info().architecture.context;
  std::vector<int32_t> prompt;
  if (hasPrompt) {
    LLQRT_RETURN_IF_ERROR(readPrompt(options, *model, prompt));
    if (prompt.empty())
      return usageError("the prompt has no tokens");
  }

  options.generate.chat = options.chat;
  options.generate.maxTokens =
      options.count.value_or(hasPrompt ? 128 : context);
  SessionOptions sessionOptions;
  options.threads.apply(sessionOptions);
  sessionOptions.capacity = options.context.value_or(
      hasPrompt ? std::min(context, prompt.size() + options.generate.maxTokens)
                : context);
  if (prompt.size() > sessionOptions.capacity)
    return Status::unsupported("the prompt has " +
                               std::to_string(prompt.size()) +
                               " tokens, more than the context of " +
                               std::to_string(sessionOptions.capacity));
  std::unique_ptr<Session> session;
  LLQRT_RETURN_IF_ERROR(Session::create(model, sessionOptions, session));

  if (!hasPrompt) {
    const Tokenizer *tokenizer;
    LLQRT_RETURN_IF_ERROR(model->tokenizer(tokenizer));
    return runChat(*session, *tokenizer, options.system, options.generate);
  }
  bool hasText = model->info().tokenizer.bytes != 0;
  GenerateResult result;
  LLQRT_RETURN_IF_ERROR(generate(
      *session, prompt, options.generate,
      [&](int32_t token, const std::string &text) {
        return options.json || printPiece(hasText, token, text);
      },
      result));
  if (options.json)
    return printResult(*session, prompt, result);
  std::fputc('\n', stdout);
  if (isatty(STDERR_FILENO) && result.decodeTokens)
    std::fprintf(stderr, "prefill %.1f tok/s, decode %.1f tok/s\n",
                 static_cast<double>(prompt.size()) / result.prefillSeconds,
                 static_cast<double>(result.decodeTokens) /
                     result.decodeSeconds);
  return {};
}

int main(int argc, char **argv) {
  Tool tool("llq-run", "Generates text with a model.",
            "  llq-run model.llq --prompt 'Once upon a time' -n 64\n"
            "  llq-run model.llq --prompt-file story.txt --temperature 0.8 "
            "--top-p 0.95 --seed 1\n"
            "  llq-run model.llq --ids 1,2,3 -n 16 --json\n"
            "  llq-run model.llq --chat");
  RunOptions options;
  options.addTo(tool.app);
  return tool.run(argc, argv, [&] { return run(options); });
}
