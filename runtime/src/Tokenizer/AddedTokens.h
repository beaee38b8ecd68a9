//===- AddedTokens.h - Finding added tokens in text -------------*- C++ -*-===//
//
// Special and other added tokens are cut out of a text before the rest of it is
// tokenized: leftmost match first, the longest of those, then the token's own
// conditions (whole words only, surrounding white space taken along).
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_ADDEDTOKENS_H
#define LLQRT_TOKENIZER_ADDEDTOKENS_H

#include "TokenizerSpec.h"

#include <bitset>
#include <functional>
#include <unordered_map>

namespace llqrt::tok {

class AddedTokenFinder {
public:
  /// Adds a token that is found as `text`. Of two with one text the first
  /// counts. `token` must outlive the finder.
  void add(const AddedToken &token, std::string_view text);

  /// Calls `visit` for each part of `text` from left to right: an added token,
  /// or a stretch of text (token null, never empty). Special tokens count as
  /// text unless `parseSpecial`.
  void
  forEachPart(std::string_view text, bool parseSpecial,
              const std::function<void(std::string_view part, bool atStart,
                                       const AddedToken *token)> &visit) const;

private:
  struct Match {
    size_t begin, end;
    const AddedToken *token;
  };
  bool findNext(std::string_view text, size_t from, Match &match) const;
  bool widen(std::string_view text, size_t consumed, Match &match) const;

  /// A trie: node and byte to the next node; node 0 is the root.
  std::unordered_map<uint64_t, uint32_t> edges;
  /// The token that ends at a node.
  std::vector<const AddedToken *> tokens = {nullptr};
  std::bitset<256> firstBytes;
};

} // namespace llqrt::tok

#endif // LLQRT_TOKENIZER_ADDEDTOKENS_H
