//===- Tokenizer.cpp - The tokenizer's public interface -------------------===//
//
// Turns the exceptions that the library uses inside into messages, and answers
// the simple questions.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llqrt/Tokenizer.h"

#include "ChatTemplate.h"
#include "TokenizerImpl.h"
#include "Utf8.h"

namespace llqrt {

Tokenizer::Impl::Impl(tok::TokenizerSpec &&checked)
    : spec((tok::checkSpec(checked), std::move(checked))), bpe(spec),
      preTokenizer(spec.preTokenizer) {
  for (const tok::AddedToken &token : spec.addedTokens) {
    if (!token.normalized) {
      rawTokens.add(token, token.content);
      continue;
    }
    std::string text = token.content;
    for (const tok::TextStep &step : spec.normalizer)
      tok::rewrite(step, /*atStart=*/true, text);
    normalizedTokens.add(token, text);
  }
}

/// Runs `body`; false and a message if it throws.
template <typename Body> static bool guarded(std::string &error, Body body) {
  try {
    body();
    return true;
  } catch (const std::bad_alloc &) {
    error = "out of memory";
  } catch (const std::exception &e) {
    error = e.what();
  }
  return false;
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::unique_ptr<Tokenizer> Tokenizer::load(const std::string &path,
                                           std::string &error) {
  std::unique_ptr<Tokenizer> tokenizer;
  guarded(error, [&] {
    tok::TokenizerSpec spec = tok::readTokenizerFiles(path);
    try {
      auto impl = std::make_unique<Impl>(std::move(spec));
      tokenizer.reset(new Tokenizer(std::move(impl)));
    } catch (const tok::Error &e) {
      throw tok::Error(path + ": " + e.what());
    }
  });
  return tokenizer;
}

std::unique_ptr<Tokenizer>
Tokenizer::fromFlatBuffer(std::span<const uint8_t> bytes, std::string &error) {
  std::unique_ptr<Tokenizer> tokenizer;
  guarded(error, [&] {
    auto impl = std::make_unique<Impl>(tok::readTokenizerFlatBuffer(bytes));
    tokenizer.reset(new Tokenizer(std::move(impl)));
  });
  return tokenizer;
}

bool Tokenizer::serialize(std::vector<uint8_t> &bytes,
                          std::string &error) const {
  bytes.clear();
  return guarded(error,
                 [&] { bytes = tok::writeTokenizerFlatBuffer(impl->spec); });
}

bool Tokenizer::encode(std::string_view text, const EncodeOptions &options,
                       std::vector<int32_t> &ids, std::string &error) const {
  ids.clear();
  if (guarded(error, [&] { impl->encode(text, options, ids); }))
    return true;
  ids.clear();
  return false;
}

int32_t Tokenizer::vocabSize() const {
  return static_cast<int32_t>(impl->spec.size());
}

int32_t Tokenizer::findToken(std::string_view content) const {
  return impl->spec.findToken(content);
}

bool Tokenizer::isSpecial(int32_t id) const {
  return id >= 0 && id < vocabSize() &&
         (impl->spec.tokenFlags[static_cast<size_t>(id)] & tok::Special);
}

int32_t Tokenizer::bosToken() const { return impl->spec.bosToken; }
int32_t Tokenizer::eosToken() const { return impl->spec.eosToken; }

std::span<const int32_t> Tokenizer::stopTokens() const {
  return impl->spec.stopTokens;
}

std::span<const int32_t> Tokenizer::chatStopTokens() const {
  return impl->spec.chatStopTokens;
}

std::string_view Tokenizer::chatTemplate() const {
  return impl->spec.chatTemplate;
}

bool Tokenizer::applyChatTemplate(std::span<const ChatMessage> messages,
                                  const ChatOptions &options,
                                  std::string &prompt,
                                  std::string &error) const {
  prompt.clear();
  return guarded(error, [&] {
    prompt = tok::renderChatTemplate(impl->spec, messages, options);
  });
}

} // namespace llqrt
