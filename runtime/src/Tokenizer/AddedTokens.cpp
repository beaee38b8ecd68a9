//===- AddedTokens.cpp - Finding added tokens in text ---------------------===//
//
// A trie is walked from each byte that some token starts with. The conditions
// are checked after a match was chosen: a token that fails them is passed over
// as text, without a second look at what lies inside it.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "AddedTokens.h"

#include "Pattern.h"
#include "Utf8.h"

#include <algorithm>

namespace llqrt::tok {

void AddedTokenFinder::add(const AddedToken &token, std::string_view text) {
  if (text.empty())
    return;
  uint32_t node = 0;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    auto fresh = static_cast<uint32_t>(tokens.size());
    auto [edge, added] = edges.try_emplace(uint64_t(node) << 8 | byte, fresh);
    if (added)
      tokens.push_back(nullptr);
    node = edge->second;
  }
  if (!tokens[node])
    tokens[node] = &token;
  firstBytes.set(static_cast<unsigned char>(text[0]));
}

bool AddedTokenFinder::findNext(std::string_view text, size_t from,
                                Match &match) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!firstBytes[static_cast<unsigned char>(text[begin])])
      continue;
    match.token = nullptr;
    uint32_t node = 0;
    for (size_t pos = begin; pos < text.size();) {
      auto byte = static_cast<unsigned char>(text[pos++]);
      auto edge = edges.find(uint64_t(node) << 8 | byte);
      if (edge == edges.end())
        break;
      node = edge->second;
      if (tokens[node])
        match = {begin, pos, tokens[node]};
    }
    if (match.token)
      return true;
  }
  return false;
}

/// The word characters of Rust's regex crate, which the reference
/// implementation uses for single_word: \w plus the two join controls.
static bool isWordChar(std::string_view c) {
  // Inside a class, where \w is exactly Unicode's.
  static const Pattern word("[\\w\\x{200c}\\x{200d}]");
  PatternState state;
  PatternMatch match;
  return word.search(c, 0, state, match);
}

static std::string_view lastChar(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && isUtf8Continuation(text[begin]))
    --begin;
  return text.substr(begin);
}

static std::string_view firstChar(std::string_view text) {
  return text.substr(0, decodeUtf8(text).length);
}

static bool isSpaceChar(std::string_view c) {
  return isSpace(decodeUtf8(c).codepoint);
}

/// Checks the token's conditions and takes the white space it strips, but
/// nothing before `consumed`. False if the match does not count.
bool AddedTokenFinder::widen(std::string_view text, size_t consumed,
                             Match &match) const {
  if (match.token->singleWord) {
    std::string_view before = text.substr(0, match.begin);
    std::string_view after = text.substr(match.end);
    if (!before.empty() && isWordChar(lastChar(before)))
      return false;
    if (!after.empty() && isWordChar(firstChar(after)))
      return false;
  }
  if (match.token->lstrip) {
    std::string_view before = text.substr(0, match.begin);
    while (!before.empty() && isSpaceChar(lastChar(before)))
      before.remove_suffix(lastChar(before).size());
    match.begin = std::max(before.size(), consumed);
  }
  if (match.token->rstrip) {
    std::string_view after = text.substr(match.end);
    while (!after.empty() && isSpaceChar(firstChar(after)))
      after.remove_prefix(firstChar(after).size());
    match.end = text.size() - after.size();
  }
  return true;
}

void AddedTokenFinder::forEachPart(
    std::string_view text, bool parseSpecial,
    const std::function<void(std::string_view, bool, const AddedToken *)>
        &visit) const {
  size_t consumed = 0;
  Match match;
  for (size_t from = 0; findNext(text, from, match);) {
    from = match.end;
    if (match.token->special && !parseSpecial)
      continue;
    if (!widen(text, consumed, match))
      continue;
    if (consumed < match.begin)
      visit(text.substr(consumed, match.begin - consumed), consumed == 0,
            nullptr);
    visit(text.substr(match.begin, match.end - match.begin), match.begin == 0,
          match.token);
    consumed = match.end;
  }
  if (consumed < text.size())
    visit(text.substr(consumed), consumed == 0, nullptr);
}

} // namespace llqrt::tok
