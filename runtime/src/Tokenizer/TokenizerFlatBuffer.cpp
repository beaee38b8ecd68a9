//===- TokenizerFlatBuffer.cpp - The tokenizer's stored form --------------===//
//
// Writes and reads runtime/schema/tokenizer.fbs. FlatBuffers' verifier makes
// sure that every vector lies inside the bytes; what the values mean is checked
// by checkSpec() when the tokenizer is built.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TokenizerSpec.h"

#include "llqrt/schema/tokenizer_generated.h"

#include <cstring>

namespace llqrt::tok {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

/// Moves `values` in one piece; both sides are plain integers of one size.
template <typename T, typename U>
static std::vector<T> plainCopy(const flatbuffers::Vector<U> *values) {
  static_assert(sizeof(T) == sizeof(U));
  std::vector<T> result;
  if (values && values->size()) {
    result.resize(values->size());
    std::memcpy(result.data(), values->Data(), values->size() * sizeof(T));
  }
  return result;
}

static std::vector<Offset<fb::TextStep>>
writeSteps(FlatBufferBuilder &builder, const std::vector<TextStep> &steps) {
  std::vector<Offset<fb::TextStep>> result;
  for (const TextStep &step : steps) {
    auto pattern = builder.CreateString(step.pattern);
    auto replacement = builder.CreateString(step.replacement);
    result.push_back(fb::CreateTextStep(
        builder, static_cast<fb::TextStepKind>(step.kind), pattern,
        step.literal, static_cast<fb::SplitBehavior>(step.behavior),
        step.invert, replacement, step.unlessPresent, step.onlyFirst));
  }
  return result;
}

static std::vector<Offset<fb::AddedToken>>
writeAddedTokens(FlatBufferBuilder &builder,
                 const std::vector<AddedToken> &tokens) {
  std::vector<Offset<fb::AddedToken>> result;
  for (const AddedToken &token : tokens) {
    auto content = builder.CreateString(token.content);
    result.push_back(fb::CreateAddedToken(
        builder, token.id, content, token.special, token.normalized,
        token.singleWord, token.lstrip, token.rstrip));
  }
  return result;
}

std::vector<uint8_t> writeTokenizerFlatBuffer(const TokenizerSpec &spec) {
  size_t bulk = spec.tokenBytes.size() + spec.tokenEnds.size() * 5 +
                spec.merges.size() * sizeof(fb::TokenMerge);
  if (bulk > FLATBUFFERS_MAX_BUFFER_SIZE / 4 * 3)
    throw Error("the tokenizer is too large to be stored");
  FlatBufferBuilder builder(bulk + bulk / 8 + 4096);
  std::vector<fb::TokenMerge> mergeStructs;
  mergeStructs.reserve(spec.merges.size());
  for (const Merge &merge : spec.merges)
    mergeStructs.emplace_back(merge.left, merge.right, merge.result);

  auto tokenBytes = builder.CreateVector(
      reinterpret_cast<const uint8_t *>(spec.tokenBytes.data()),
      spec.tokenBytes.size());
  auto tokenEnds = builder.CreateVector(spec.tokenEnds);
  auto tokenFlags = builder.CreateVector(spec.tokenFlags);
  auto merges = builder.CreateVectorOfStructs(mergeStructs);
  auto normalizer = builder.CreateVector(writeSteps(builder, spec.normalizer));
  auto preTokenizer =
      builder.CreateVector(writeSteps(builder, spec.preTokenizer));
  auto addedTokens =
      builder.CreateVector(writeAddedTokens(builder, spec.addedTokens));
  auto separator = builder.CreateString(spec.decoder.separator);
  auto decoder = fb::CreateTokenDecoder(
      builder, separator, spec.decoder.byteTokens,
      static_cast<fb::LeadingSpace>(spec.decoder.leadingSpace));
  auto prefix = builder.CreateVector(spec.prefix);
  auto suffix = builder.CreateVector(spec.suffix);
  auto stopTokens = builder.CreateVector(spec.stopTokens);
  auto chatStopTokens = builder.CreateVector(spec.chatStopTokens);
  auto chatTemplate = builder.CreateString(spec.chatTemplate);
  auto bosText = builder.CreateString(spec.bosText);
  auto eosText = builder.CreateString(spec.eosText);
  auto unknownText = builder.CreateString(spec.unknownText);
  auto paddingText = builder.CreateString(spec.paddingText);

  fb::TokenizerDataBuilder data(builder);
  data.add_alphabet(static_cast<fb::TokenAlphabet>(spec.alphabet));
  data.add_token_bytes(tokenBytes);
  data.add_token_ends(tokenEnds);
  data.add_token_flags(tokenFlags);
  data.add_merges(merges);
  data.add_rank_by_result(spec.rankByResult);
  data.add_ignore_merges(spec.ignoreMerges);
  data.add_byte_fallback(spec.byteFallback);
  data.add_fuse_unknown(spec.fuseUnknown);
  data.add_unknown_token(spec.unknownToken);
  data.add_normalizer(normalizer);
  data.add_pre_tokenizer(preTokenizer);
  data.add_added_tokens(addedTokens);
  data.add_decoder(decoder);
  data.add_prefix(prefix);
  data.add_suffix(suffix);
  data.add_bos_token(spec.bosToken);
  data.add_eos_token(spec.eosToken);
  data.add_stop_tokens(stopTokens);
  data.add_chat_stop_tokens(chatStopTokens);
  data.add_chat_template(chatTemplate);
  data.add_bos_text(bosText);
  data.add_eos_text(eosText);
  data.add_unknown_text(unknownText);
  data.add_padding_text(paddingText);
  fb::FinishTokenizerDataBuffer(builder, data.Finish());
  return {builder.GetBufferPointer(),
          builder.GetBufferPointer() + builder.GetSize()};
}

/// FlatBuffers are read in place and want alignment, which callers need not
/// provide.
static std::span<const uint8_t> aligned(std::span<const uint8_t> bytes,
                                        std::vector<uint64_t> &storage) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(uint64_t) == 0)
    return bytes;
  storage.resize(bytes.size() / sizeof(uint64_t) + 1);
  std::memcpy(storage.data(), bytes.data(), bytes.size());
  return {reinterpret_cast<const uint8_t *>(storage.data()), bytes.size()};
}

namespace {
/// Copies a verified buffer. Tables may share a string, so that a small damaged
/// file could describe very much text; together the copies may not be longer
/// than the file.
class Reader {
public:
  Reader(const fb::TokenizerData &data, size_t bytes)
      : data(data), budget(bytes) {}

  TokenizerSpec run();

private:
  std::string text(const flatbuffers::String *value) {
    if (!value)
      return {};
    if (value->size() > budget)
      throw Error("the texts of the stored tokenizer overlap");
    budget -= value->size();
    return value->str();
  }
  std::vector<TextStep>
  steps(const flatbuffers::Vector<Offset<fb::TextStep>> *stored);
  void readTokens();
  void readAddedTokens();
  void readDecoder();

  const fb::TokenizerData &data;
  size_t budget;
  TokenizerSpec spec;
};
} // namespace

std::vector<TextStep>
Reader::steps(const flatbuffers::Vector<Offset<fb::TextStep>> *stored) {
  std::vector<TextStep> result;
  if (!stored)
    return result;
  for (const fb::TextStep *from : *stored) {
    TextStep step;
    step.kind = static_cast<TextStep::Kind>(from->kind());
    step.pattern = text(from->pattern());
    step.literal = from->literal();
    step.behavior = static_cast<SplitBehavior>(from->behavior());
    step.invert = from->invert();
    step.replacement = text(from->replacement());
    step.unlessPresent = from->unless_present();
    step.onlyFirst = from->only_first();
    result.push_back(std::move(step));
  }
  return result;
}

void Reader::readTokens() {
  if (const auto *bytes = data.token_bytes())
    spec.tokenBytes.assign(reinterpret_cast<const char *>(bytes->data()),
                           bytes->size());
  spec.tokenEnds = plainCopy<uint32_t>(data.token_ends());
  spec.tokenFlags = plainCopy<uint8_t>(data.token_flags());
  if (const auto *merges = data.merges()) {
    spec.merges.reserve(merges->size());
    for (const fb::TokenMerge *merge : *merges)
      spec.merges.push_back({merge->left(), merge->right(), merge->result()});
  }
}

void Reader::readAddedTokens() {
  const auto *tokens = data.added_tokens();
  if (!tokens)
    return;
  for (const fb::AddedToken *token : *tokens)
    spec.addedTokens.push_back({token->id(), text(token->content()),
                                token->special(), token->normalized(),
                                token->single_word(), token->lstrip(),
                                token->rstrip()});
}

void Reader::readDecoder() {
  const fb::TokenDecoder *decoder = data.decoder();
  if (!decoder)
    return;
  spec.decoder.separator = text(decoder->separator());
  spec.decoder.byteTokens = decoder->byte_tokens();
  spec.decoder.leadingSpace =
      static_cast<DecoderSpec::LeadingSpace>(decoder->leading_space());
}

TokenizerSpec Reader::run() {
  spec.alphabet = static_cast<Alphabet>(data.alphabet());
  readTokens();
  spec.rankByResult = data.rank_by_result();
  spec.ignoreMerges = data.ignore_merges();
  spec.byteFallback = data.byte_fallback();
  spec.fuseUnknown = data.fuse_unknown();
  spec.unknownToken = data.unknown_token();
  spec.normalizer = steps(data.normalizer());
  spec.preTokenizer = steps(data.pre_tokenizer());
  readAddedTokens();
  readDecoder();
  spec.prefix = plainCopy<int32_t>(data.prefix());
  spec.suffix = plainCopy<int32_t>(data.suffix());
  spec.bosToken = data.bos_token();
  spec.eosToken = data.eos_token();
  spec.stopTokens = plainCopy<int32_t>(data.stop_tokens());
  spec.chatStopTokens = plainCopy<int32_t>(data.chat_stop_tokens());
  spec.chatTemplate = text(data.chat_template());
  spec.bosText = text(data.bos_text());
  spec.eosText = text(data.eos_text());
  spec.unknownText = text(data.unknown_text());
  spec.paddingText = text(data.padding_text());
  return std::move(spec);
}

TokenizerSpec readTokenizerFlatBuffer(std::span<const uint8_t> bytes) {
  std::vector<uint64_t> storage;
  bytes = aligned(bytes, storage);
  constexpr flatbuffers::uoffset_t kMaxDepth = 8;
  constexpr flatbuffers::uoffset_t kMaxTables = kMaxTokens;
  // The verifier asserts on sizes it cannot handle.
  constexpr size_t kSmallest = 8;
  if (bytes.size() < kSmallest || bytes.size() >= FLATBUFFERS_MAX_BUFFER_SIZE)
    throw Error(std::to_string(bytes.size()) +
                " bytes are no stored tokenizer");
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), kMaxDepth,
                                 kMaxTables);
  if (!fb::VerifyTokenizerDataBuffer(verifier))
    throw Error("the stored tokenizer is damaged");
  return Reader(*fb::GetTokenizerData(bytes.data()), bytes.size()).run();
}

} // namespace llqrt::tok
