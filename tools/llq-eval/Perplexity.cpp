//===- Perplexity.cpp - Token perplexity in windows -----------------------===//
//
// See Perplexity.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Perplexity.h"

#include "Distribution.h"
#include "support/IdsFile.h"
#include "support/Progress.h"
#include "support/Tool.h"

#include "llqrt/Tokenizer.h"

#include <cmath>
#include <filesystem>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace llq::tools;
using namespace llqrt;

using Sequence = std::vector<int32_t>;

/// XXH3-128 in hex, as `xxhsum -H128` prints it.
static std::string hashOf(const void *data, size_t bytes) {
  XXH128_hash_t hash = XXH3_128bits(data, bytes);
  char text[40];
  std::snprintf(text, sizeof(text), "%016llx%016llx",
                static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text;
}

/// The tokens to cut into windows, without BOS, and the hash of the text.
static Status readStreams(const Model &model, const std::string &path,
                          std::vector<Sequence> &streams,
                          std::string &textHash) {
  std::string text;
  LLQRT_RETURN_IF_ERROR(readFile(path, text));
  textHash = hashOf(text.data(), text.size());
  if (std::filesystem::path(path).extension() == ".ids")
    return readIdsFile(path, model.info().architecture.tokenLimit, streams);
  const Tokenizer *tokenizer;
  LLQRT_RETURN_IF_ERROR(model.tokenizer(tokenizer));
  // Special-token text in it is plain text.
  EncodeOptions raw{false, SpecialTokens::None};
  std::string error;
  streams.emplace_back();
  if (!tokenizer->encode(text, raw, streams.back(), error))
    return Status::badFile(path + ": " + error);
  return {};
}

static const char *bosName(Bos bos) {
  return bos == Bos::None ? "none" : bos == Bos::Stream ? "stream" : "window";
}

/// Cuts `streams` into at most `limit` windows (0: all) of `size` tokens.
static std::vector<Sequence> cutWindows(const std::vector<Sequence> &streams,
                                        size_t size, size_t limit) {
  std::vector<Sequence> windows;
  for (const Sequence &stream : streams)
    for (size_t begin = 0; stream.size() - begin >= size; begin += size) {
      if (limit && windows.size() == limit)
        return windows;
      auto first = stream.begin() + static_cast<std::ptrdiff_t>(begin);
      windows.emplace_back(first, first + static_cast<std::ptrdiff_t>(size));
    }
  return windows;
}

Status llq::tools::measurePerplexity(std::shared_ptr<const Model> model,
                                     const std::string &path,
                                     const PerplexityOptions &options,
                                     const ThreadOptions &threads,
                                     Perplexity &result) {
  const ModelInfo &info = model->info();
  if (info.architecture.vocab == 0)
    return Status::unsupported("a model without a head has no perplexity");
  std::vector<Sequence> streams;
  std::string textHash;
  LLQRT_RETURN_IF_ERROR(readStreams(*model, path, streams, textHash));

  int32_t bos = -1;
  if (options.bos != Bos::None) {
    const Tokenizer *tokenizer;
    LLQRT_RETURN_IF_ERROR(model->tokenizer(tokenizer));
    bos = tokenizer->bosToken();
    if (bos < 0)
      return Status::unsupported("the model's tokenizer has no BOS token, use "
                                 "--bos none");
  }
  if (options.bos == Bos::Stream)
    for (Sequence &stream : streams)
      stream.insert(stream.begin(), bos);
  for (const Sequence &stream : streams)
    for (int32_t id : stream)
      if (static_cast<uint32_t>(id) >= info.architecture.vocab)
        return Status::badFile(path + ": token id " + std::to_string(id) +
                               " is outside the model's vocabulary of " +
                               std::to_string(info.architecture.vocab));
  size_t stride = options.window - (options.bos == Bos::Window ? 1 : 0);
  std::vector<Sequence> windows = cutWindows(streams, stride, options.windows);
  if (windows.empty()) {
    size_t longest = 0;
    for (const Sequence &stream : streams)
      longest = std::max(longest, stream.size());
    return Status::badFile(path + ": " + std::to_string(longest) +
                           " tokens are less than one window of " +
                           std::to_string(options.window) +
                           ", give a longer text or a smaller --window");
  }
  if (options.bos == Bos::Window)
    for (Sequence &window : windows)
      window.insert(window.begin(), bos);

  SessionOptions sessionOptions;
  threads.apply(sessionOptions);
  sessionOptions.capacity = options.window;
  std::unique_ptr<Session> session;
  LLQRT_RETURN_IF_ERROR(Session::create(model, sessionOptions, session));

  // The last token of a window predicts nothing of it.
  size_t scored = options.window - 1;
  std::vector<double> losses(windows.size() * scored);
  Progress progress(path, losses.size());
  for (size_t w = 0; w < windows.size(); ++w) {
    const Sequence &window = windows[w];
    LLQRT_RETURN_IF_ERROR(forEachOutput(
        *session, window, scored,
        [&](size_t t, std::span<const float> logits) {
          losses[w * scored + t] =
              logSumExp(logits) - logits[static_cast<size_t>(window[t + 1])];
        },
        [&](size_t tokens) { progress.advance(tokens); }));
  }
  Mean mean = meanOf(losses);
  result.nll = mean.value;
  result.error = mean.error;
  result.tokens = losses.size();
  result.windows = windows.size();
  std::span<const uint8_t> tokenizer = model->tokenizerBytes();
  result.protocol =
      "ppl-1 tokenizer=" +
      (tokenizer.empty()
           ? "none"
           : "xxh128:" + hashOf(tokenizer.data(), tokenizer.size())) +
      " window=" + std::to_string(options.window) +
      " stride=" + std::to_string(stride) + " bos=" + bosName(options.bos) +
      " windows=" +
      (options.windows ? std::to_string(options.windows) : "all") +
      " text=xxh128:" + textHash;
  return {};
}

Json Perplexity::json() const {
  double ppl = std::exp(nll);
  return {{"ppl", number(ppl)},      {"nll", number(nll)},
          {"stderr", number(error)}, {"ppl_stderr", number(ppl * error)},
          {"tokens", tokens},        {"windows", windows},
          {"protocol", protocol}};
}
