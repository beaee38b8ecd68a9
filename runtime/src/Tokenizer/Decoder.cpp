//===- Decoder.cpp - From token ids to text -------------------------------===//
//
// A token stands for bytes, not for characters: a character may be spread over
// several tokens. Whole texts and streams share the code, so that a streamed
// text equals the one decoded at once.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TokenizerImpl.h"
#include "Utf8.h"

namespace llqrt {

/// The byte of a token spelled <0xNN>, or -1.
static int byteOfToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>')
    return -1;
  int value = 0;
  for (char c : token.substr(3, 2)) {
    if (c >= '0' && c <= '9')
      value = value * 16 + (c - '0');
    else if (c >= 'A' && c <= 'F')
      value = value * 16 + (c - 'A' + 10);
    else
      return -1;
  }
  return value;
}

void Tokenizer::Impl::appendTokenBytes(int32_t id, bool atStart,
                                       std::string &bytes) const {
  using LeadingSpace = tok::DecoderSpec::LeadingSpace;
  std::string_view token = spec.token(static_cast<uint32_t>(id));
  const std::string &separator = spec.decoder.separator;
  int byte = spec.decoder.byteTokens ? byteOfToken(token) : -1;
  std::string text;
  if (byte >= 0) {
    text = static_cast<char>(byte);
  } else if (separator.empty()) {
    text = token;
  } else {
    bool drop =
        atStart && spec.decoder.leadingSpace == LeadingSpace::DropSeparators;
    size_t from = 0;
    for (size_t at;
         (at = token.find(separator, from)) != std::string_view::npos;
         from = at + separator.size()) {
      text.append(token, from, at - from);
      if (!drop)
        text += ' ';
    }
    text.append(token, from);
  }
  if (atStart && spec.decoder.leadingSpace == LeadingSpace::StripOne &&
      text.starts_with(' '))
    text.erase(0, 1);
  bytes += text;
}

std::string Tokenizer::decode(std::span<const int32_t> ids,
                              bool skipSpecial) const {
  TextStream stream(*this, skipSpecial);
  std::string text;
  for (int32_t id : ids)
    text += stream.push(id);
  return text += stream.finish();
}

TextStream::TextStream(const Tokenizer &tokenizer, bool skipSpecial)
    : tokenizer(tokenizer), skipSpecial(skipSpecial) {}

std::string TextStream::push(int32_t id) {
  std::string text;
  bool known = id >= 0 && id < tokenizer.vocabSize();
  if (!known || (skipSpecial && tokenizer.isSpecial(id)))
    return text;
  tokenizer.impl->appendTokenBytes(id, atStart, pending);
  atStart = false;
  pending.erase(0, tok::appendRepairedUtf8(text, pending, /*keepTail=*/true));
  return text;
}

std::string TextStream::finish() {
  std::string text;
  tok::appendRepairedUtf8(text, pending, /*keepTail=*/false);
  pending.clear();
  atStart = true;
  return text;
}

} // namespace llqrt
