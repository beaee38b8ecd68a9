//===- Tiktoken.cpp - Reading LLAMA3's tokenizer.model --------------------===//
//
// The form in which Meta publishes LLAMA3's tokenizer: one line per token with
// its bytes in base64 and its rank, which is its id. The pre-tokenizer pattern
// and the 256 special tokens are not in the file; they are those of LLAMA3.
// Merges are not in the file either: any two neighbours whose bytes together
// are a token may merge, the smallest rank first.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TokenizerSpec.h"

#include "Json.h"

#include <array>
#include <charconv>
#include <unordered_map>

namespace llqrt::tok {

static constexpr uint32_t kLlama3Ranks = 128000;

static constexpr uint32_t kLlama3SpecialTokens = 256;

static constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

[[noreturn]] static void fail(size_t line, const std::string &what) {
  throw Error("tokenizer.model: line " + std::to_string(line) + ": " + what);
}

/// Decodes standard base64 with padding. False if it is none.
static bool decodeBase64(std::string_view text, std::string &bytes) {
  static const std::array<int8_t, 256> values = [] {
    std::array<int8_t, 256> table;
    table.fill(-1);
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < digits.size(); ++i)
      table[static_cast<unsigned char>(digits[i])] = static_cast<int8_t>(i);
    return table;
  }();
  if (text.empty() || text.size() % 4)
    return false;
  size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  bytes.clear();
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t word = 0;
    bool last = i + 4 == text.size();
    for (size_t k = 0; k < 4; ++k) {
      bool pad = last && k >= 4 - padding;
      int value = pad ? 0 : values[static_cast<unsigned char>(text[i + k])];
      if (value < 0)
        return false;
      word = word << 6 | static_cast<uint32_t>(value);
    }
    size_t count = last ? 3 - padding : 3;
    for (size_t k = 0; k < count; ++k)
      bytes += static_cast<char>(word >> (16 - 8 * k));
  }
  return true;
}

/// Names of the 256 special tokens. LLAMA3.1 gave names to three of the
/// reserved ones and numbered the rest anew.
static std::vector<std::string> specialTokenNames(bool llama31Names) {
  std::vector<std::string> names(kLlama3SpecialTokens);
  names[0] = "<|begin_of_text|>";
  names[1] = "<|end_of_text|>";
  names[6] = "<|start_header_id|>";
  names[7] = "<|end_header_id|>";
  names[9] = "<|eot_id|>";
  if (llama31Names) {
    names[4] = "<|finetune_right_pad_id|>";
    names[8] = "<|eom_id|>";
    names[10] = "<|python_tag|>";
  }
  unsigned reserved = 0;
  for (std::string &name : names)
    if (name.empty())
      name = "<|reserved_special_token_" + std::to_string(reserved++) + "|>";
  return names;
}

static void readRanks(std::string_view text, TokenizerSpec &spec) {
  std::string bytes;
  size_t line = 0;
  while (!text.empty()) {
    ++line;
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view row = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (row.ends_with('\r'))
      row.remove_suffix(1);
    if (row.empty())
      continue;
    size_t space = row.find(' ');
    if (space == std::string_view::npos ||
        !decodeBase64(row.substr(0, space), bytes))
      fail(line, "not a token in base64 and its rank");
    std::string_view number = row.substr(space + 1);
    uint32_t rank = 0;
    auto [stop, status] =
        std::from_chars(number.data(), number.data() + number.size(), rank);
    if (status != std::errc() || stop != number.data() + number.size())
      fail(line, "the rank '" + excerpt(number) + "' is no number");
    if (rank != spec.size())
      fail(line, "rank " + std::to_string(rank) + " where " +
                     std::to_string(spec.size()) + " is expected");
    if (rank >= kLlama3Ranks)
      fail(line, "more than the 128000 ranks of LLAMA3; give the "
                 "tokenizer.json of this model instead");
    spec.tokenBytes += bytes;
    spec.tokenEnds.push_back(static_cast<uint32_t>(spec.tokenBytes.size()));
    spec.tokenFlags.push_back(InModel);
  }
  if (spec.size() != kLlama3Ranks)
    throw Error("tokenizer.model: " + std::to_string(spec.size()) +
                " ranks where LLAMA3 has 128000; the file is truncated, or of "
                "another model whose tokenizer.json should be given instead");
}

/// Every way to make a token from two others.
static void deriveMerges(TokenizerSpec &spec) {
  std::unordered_map<std::string_view, uint32_t> ids;
  ids.reserve(spec.size());
  for (uint32_t id = 0; id < spec.size(); ++id)
    ids.emplace(spec.token(id), id);
  for (uint32_t id = 0; id < spec.size(); ++id) {
    std::string_view token = spec.token(id);
    for (size_t cut = 1; cut < token.size(); ++cut) {
      auto left = ids.find(token.substr(0, cut));
      if (left == ids.end())
        continue;
      auto right = ids.find(token.substr(cut));
      if (right != ids.end())
        spec.merges.push_back({left->second, right->second, id});
    }
  }
  spec.rankByResult = true;
}

TokenizerSpec readTiktoken(std::string_view text, bool llama31Names) {
  TokenizerSpec spec;
  spec.alphabet = Alphabet::Bytes;
  spec.ignoreMerges = true;
  readRanks(text, spec);
  deriveMerges(spec);

  TextStep split;
  split.pattern = kLlama3Pattern;
  spec.preTokenizer.push_back(std::move(split));

  for (const std::string &name : specialTokenNames(llama31Names)) {
    AddedToken token;
    token.id = spec.size();
    token.content = name;
    token.special = true;
    spec.tokenBytes += name;
    spec.tokenEnds.push_back(static_cast<uint32_t>(spec.tokenBytes.size()));
    spec.tokenFlags.push_back(Special);
    spec.addedTokens.push_back(std::move(token));
  }
  spec.bosToken = kLlama3Ranks;
  spec.eosToken = kLlama3Ranks + 1;
  spec.prefix = {spec.bosToken};
  return spec;
}

bool usesLlama31Names(std::string_view modelConfig, std::string_view params) {
  if (!params.empty() && boolMember(parseJsonObject(params, "params.json"),
                                    "use_scaled_rope", false, "params.json"))
    return true;
  if (modelConfig.empty())
    return false;
  Json config = parseJsonObject(modelConfig, "config.json");
  const Json *scaling = findMember(config, "rope_scaling");
  return scaling && findMember(*scaling, "rope_type") &&
         *findMember(*scaling, "rope_type") == "llama3";
}

} // namespace llqrt::tok
