//===- TokenizerSpec.h - A tokenizer as plain data --------------*- C++ -*-===//
//
// What all readers (tokenizer.json, tiktoken, FlatBuffer) produce and what the
// tokenizer is built from. A pre-tokenizer or normalizer of any kind comes down
// to three primitive steps, so nothing behind the readers knows where a
// tokenizer came from. checkSpec() is the one place that checks indices, sizes
// and encodings; after it the rest of the library may trust a spec.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_TOKENIZERSPEC_H
#define LLQRT_TOKENIZER_TOKENIZERSPEC_H

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace llqrt::tok {

/// Thrown inside the library only; the public functions turn it into a message.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// `text` for an error message: UTF-8 on one line, whatever it was. excerpt()
/// also shortens it.
std::string oneLine(std::string_view text);
std::string excerpt(std::string_view text);

/// Limits that no real tokenizer comes near, so that a damaged file cannot ask
/// for unbounded memory or recursion.
inline constexpr uint32_t kMaxTokens = 1u << 22;
inline constexpr size_t kMaxSteps = 32;
inline constexpr size_t kMaxPatternBytes = 1u << 16;
inline constexpr size_t kMaxTemplateBytes = 1u << 20;

/// The pattern of tokenizer.json's ByteLevel pre-tokenizer, GPT-2's.
inline constexpr std::string_view kGPT2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

enum class Alphabet : uint8_t { Bytes, Characters };

enum class SplitBehavior : uint8_t {
  Removed,
  Isolated,
  MergedWithPrevious,
  MergedWithNext,
  Contiguous,
};

/// One step of a normalizer or pre-tokenizer; tokenizer.fbs explains the
/// fields.
struct TextStep {
  enum class Kind : uint8_t { Split, Prefix, Replace };
  Kind kind = Kind::Split;
  std::string pattern;
  bool literal = false;
  SplitBehavior behavior = SplitBehavior::Isolated;
  bool invert = false;
  std::string replacement;
  bool unlessPresent = false;
  bool onlyFirst = false;
};

struct AddedToken {
  uint32_t id = 0;
  std::string content;
  bool special = false;
  bool normalized = false;
  bool singleWord = false;
  bool lstrip = false;
  bool rstrip = false;
};

struct Merge {
  uint32_t left, right, result;
};

struct DecoderSpec {
  enum class LeadingSpace : uint8_t { Keep, StripOne, DropSeparators };
  std::string separator;
  bool byteTokens = false;
  LeadingSpace leadingSpace = LeadingSpace::Keep;
};

/// Bits of TokenizerSpec::tokenFlags.
enum TokenFlag : uint8_t {
  /// In the BPE model's vocabulary: pieces of text may become this token.
  InModel = 1,
  /// A control token.
  Special = 2,
};

struct TokenizerSpec {
  Alphabet alphabet = Alphabet::Bytes;

  /// Token i is tokenBytes[tokenEnds[i - 1] .. tokenEnds[i]).
  std::string tokenBytes;
  std::vector<uint32_t> tokenEnds;
  std::vector<uint8_t> tokenFlags;

  std::vector<Merge> merges;
  bool rankByResult = false;
  bool ignoreMerges = false;
  bool byteFallback = false;
  bool fuseUnknown = false;
  int32_t unknownToken = -1;

  std::vector<TextStep> normalizer;
  std::vector<TextStep> preTokenizer;
  std::vector<AddedToken> addedTokens;
  DecoderSpec decoder;

  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;
  int32_t bosToken = -1;
  int32_t eosToken = -1;
  std::vector<int32_t> stopTokens;
  std::vector<int32_t> chatStopTokens;

  std::string chatTemplate;
  std::string bosText, eosText, unknownText, paddingText;

  uint32_t size() const { return static_cast<uint32_t>(tokenEnds.size()); }
  std::string_view token(uint32_t id) const {
    uint32_t begin = id ? tokenEnds[id - 1] : 0;
    return std::string_view(tokenBytes).substr(begin, tokenEnds[id] - begin);
  }

  /// Id of the added token, or else of the model's token, spelled `content` as
  /// in the source files; -1 if there is none. Linear; for readers.
  int32_t findToken(std::string_view content) const;
};

/// Throws Error unless every index, size and text of `spec` is in order.
void checkSpec(const TokenizerSpec &spec);

/// A token of tokenizer.json's byte-level alphabet as the bytes it stands for:
/// each printable stand-in character becomes its byte. When some character is
/// no stand-in the text is returned as it is and `*exact`, if given, is false.
std::string fromByteLevel(std::string_view text, bool *exact = nullptr);

/// Readers. Each throws Error with a message that names the file's fault.
TokenizerSpec readTokenizerJson(std::string_view text);
TokenizerSpec readTiktoken(std::string_view text, bool llama31Names);
TokenizerSpec readTokenizerFlatBuffer(std::span<const uint8_t> bytes);
std::vector<uint8_t> writeTokenizerFlatBuffer(const TokenizerSpec &spec);

/// The files beside a tokenizer that say more about its special tokens. An
/// empty text stands for a file that is not there.
struct SideFiles {
  std::string tokenizerConfig;
  std::string generationConfig;
  std::string modelConfig;
  std::string chatTemplate;
};
void applySideFiles(TokenizerSpec &spec, const SideFiles &files);

/// True if `modelConfig` (config.json) or `params` (Meta's params.json) belongs
/// to LLAMA3.1 or later, whose special tokens have other names.
bool usesLlama31Names(std::string_view modelConfig, std::string_view params);

/// The tokenizer that a directory or file describes, side files included.
TokenizerSpec readTokenizerFiles(const std::string &path);

} // namespace llqrt::tok

#endif // LLQRT_TOKENIZER_TOKENIZERSPEC_H
