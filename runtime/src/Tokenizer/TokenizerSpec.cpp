//===- TokenizerSpec.cpp - Checks of a tokenizer's data -------------------===//
//
// The one place where indices, sizes and encodings are checked, whatever the
// source was, and the byte-level alphabet of GPT-2.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TokenizerSpec.h"

#include "Utf8.h"

#include <array>

namespace llqrt::tok {

std::string oneLine(std::string_view text) {
  std::string repaired, line;
  appendRepairedUtf8(repaired, text, /*keepTail=*/false);
  for (char c : repaired) {
    static constexpr char digits[] = "0123456789abcdef";
    auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f)
      line += c;
    else if (c == '\n')
      line += "\\n";
    else
      line += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
  }
  return line;
}

std::string excerpt(std::string_view text) {
  constexpr size_t kLongest = 60;
  if (text.size() <= kLongest)
    return oneLine(text);
  size_t end = kLongest;
  while (end > 0 && isUtf8Continuation(text[end]))
    --end;
  return oneLine(text.substr(0, end)) + "...";
}

int32_t TokenizerSpec::findToken(std::string_view content) const {
  for (const AddedToken &added : addedTokens)
    if (added.content == content)
      return static_cast<int32_t>(added.id);
  std::string bytes = alphabet == Alphabet::Bytes ? fromByteLevel(content)
                                                  : std::string(content);
  for (uint32_t id = 0; id < size(); ++id)
    if ((tokenFlags[id] & InModel) && token(id) == bytes)
      return static_cast<int32_t>(id);
  return -1;
}

/// GPT-2 writes each byte as one printable character: itself where it is
/// printable in Latin-1, otherwise the next free one from U+0100 on. The table
/// maps characters below U+0144 to bytes, -1 where there is none.
static std::array<int16_t, 0x144> makeStandIns() {
  std::array<int16_t, 0x144> bytes;
  bytes.fill(-1);
  unsigned next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    bool printable = (byte >= 0x21 && byte <= 0x7e) ||
                     (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    bytes[printable ? byte : next++] = static_cast<int16_t>(byte);
  }
  return bytes;
}

std::string fromByteLevel(std::string_view text, bool *exact) {
  static const std::array<int16_t, 0x144> standIns = makeStandIns();
  if (exact)
    *exact = true;
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    Utf8Char c = decodeUtf8(text.substr(pos));
    pos += c.length;
    int byte = c.status == Utf8Status::Valid && c.codepoint < standIns.size()
                   ? standIns[c.codepoint]
                   : -1;
    if (byte < 0) {
      if (exact)
        *exact = false;
      return std::string(text);
    }
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

[[noreturn]] static void fail(const std::string &what) { throw Error(what); }

static void checkVocabulary(const TokenizerSpec &spec) {
  size_t count = spec.tokenEnds.size();
  if (count == 0)
    fail("the vocabulary is empty");
  if (count > kMaxTokens)
    fail("the vocabulary has " + std::to_string(count) + " ids, more than " +
         std::to_string(kMaxTokens));
  if (spec.tokenFlags.size() != count)
    fail("the vocabulary has " + std::to_string(count) + " tokens but " +
         std::to_string(spec.tokenFlags.size()) + " flags");
  uint32_t previous = 0;
  for (uint32_t end : spec.tokenEnds) {
    if (end < previous || end > spec.tokenBytes.size())
      fail("a token lies outside the vocabulary's bytes");
    previous = end;
  }
  if (previous != spec.tokenBytes.size())
    fail("the vocabulary's bytes have no owner after byte " +
         std::to_string(previous));
  for (uint8_t flags : spec.tokenFlags)
    if (flags & ~(InModel | Special))
      fail("a token has an unknown flag");
}

static void checkId(const TokenizerSpec &spec, int64_t id, const char *what) {
  if (id < 0 || id >= static_cast<int64_t>(spec.size()))
    fail(std::string(what) + " has id " + std::to_string(id) +
         ", the vocabulary ends at " + std::to_string(spec.size() - 1));
}

static void checkMerges(const TokenizerSpec &spec) {
  // Each merge is one entry of a table of at most 2^31 slots.
  if (spec.merges.size() > size_t(kMaxTokens) * 16)
    fail("there are " + std::to_string(spec.merges.size()) + " merges");
  for (const Merge &merge : spec.merges)
    if (merge.left >= spec.size() || merge.right >= spec.size() ||
        merge.result >= spec.size())
      fail("a merge names a token beyond the vocabulary's end");
}

static void checkSteps(const std::vector<TextStep> &steps, const char *what) {
  if (steps.size() > kMaxSteps)
    fail(std::string("the ") + what + " has " + std::to_string(steps.size()) +
         " steps, at most " + std::to_string(kMaxSteps) + " are supported");
  for (const TextStep &step : steps) {
    if (step.kind > TextStep::Kind::Replace ||
        step.behavior > SplitBehavior::Contiguous)
      fail(std::string("a step of the ") + what + " is of an unknown kind");
    if (!isUtf8(step.pattern) || !isUtf8(step.replacement))
      fail(std::string("a step of the ") + what + " is not UTF-8");
    if (step.pattern.size() > kMaxPatternBytes ||
        step.replacement.size() > kMaxPatternBytes)
      fail(std::string("a step of the ") + what + " is longer than " +
           std::to_string(kMaxPatternBytes) + " bytes");
    bool needsPattern = step.kind == TextStep::Kind::Replace ||
                        (step.kind == TextStep::Kind::Split && step.literal);
    if (needsPattern && step.pattern.empty())
      fail(std::string("a step of the ") + what + " looks for empty text");
  }
}

static void checkAddedTokens(const TokenizerSpec &spec) {
  for (const AddedToken &added : spec.addedTokens) {
    checkId(spec, added.id, "an added token");
    if (added.content.empty() || !isUtf8(added.content))
      fail("added token " + std::to_string(added.id) +
           " is empty or not UTF-8");
    if (added.content.size() > kMaxPatternBytes)
      fail("added token " + std::to_string(added.id) + " is longer than " +
           std::to_string(kMaxPatternBytes) + " bytes");
  }
}

void checkSpec(const TokenizerSpec &spec) {
  if (spec.alphabet > Alphabet::Characters)
    fail("the alphabet is of an unknown kind");
  checkVocabulary(spec);
  checkMerges(spec);
  checkSteps(spec.normalizer, "normalizer");
  checkSteps(spec.preTokenizer, "pre-tokenizer");
  for (const TextStep &step : spec.normalizer)
    if (step.kind == TextStep::Kind::Split)
      fail("the normalizer splits text");
  checkAddedTokens(spec);
  if (spec.decoder.leadingSpace > DecoderSpec::LeadingSpace::DropSeparators)
    fail("the decoder treats the first token in an unknown way");
  if (!isUtf8(spec.decoder.separator))
    fail("the decoder's word separator is not UTF-8");

  if (spec.unknownToken != -1)
    checkId(spec, spec.unknownToken, "the unknown token");
  for (const std::vector<int32_t> *ids : {&spec.prefix, &spec.suffix})
    for (int32_t id : *ids)
      checkId(spec, id, "a token of the post-processor");
  if (spec.bosToken != -1)
    checkId(spec, spec.bosToken, "the BOS token");
  if (spec.eosToken != -1)
    checkId(spec, spec.eosToken, "the EOS token");
  for (const std::vector<int32_t> *ids :
       {&spec.stopTokens, &spec.chatStopTokens})
    for (int32_t id : *ids)
      checkId(spec, id, "a stop token");

  if (spec.chatTemplate.size() > kMaxTemplateBytes)
    fail("the chat template is longer than " +
         std::to_string(kMaxTemplateBytes) + " bytes");
  for (const std::string *text :
       {&spec.chatTemplate, &spec.bosText, &spec.eosText, &spec.unknownText,
        &spec.paddingText})
    if (!isUtf8(*text))
      fail("the chat template or a special token's text is not UTF-8");
}

} // namespace llqrt::tok
