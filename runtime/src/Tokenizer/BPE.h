//===- BPE.h - Byte pair encoding of one piece of text ----------*- C++ -*-===//
//
// Splits a piece into its first symbols (bytes or characters) and merges
// neighbours, the pair of the lowest rank first and the leftmost of equals,
// until no neighbours merge.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_BPE_H
#define LLQRT_TOKENIZER_BPE_H

#include "Vocabulary.h"

#include <array>

namespace llqrt::tok {

class BytePairEncoder {
public:
  /// `spec` must outlive the encoder.
  explicit BytePairEncoder(const TokenizerSpec &spec);

  /// Working memory, reused from piece to piece; one per thread.
  struct Scratch {
    std::vector<uint32_t> symbols;
    std::vector<MergeTable::Entry> pairs;
  };

  /// Appends the tokens of `piece`. Symbols that the vocabulary has no token
  /// for become the unknown token, or nothing where the model has none: that is
  /// what the reference implementation of tokenizer.json does.
  void encode(std::string_view piece, Scratch &scratch,
              std::vector<int32_t> &ids) const;

private:
  void splitIntoSymbols(std::string_view piece,
                        std::vector<uint32_t> &symbols) const;
  void mergeShort(Scratch &scratch) const;
  void mergeLong(std::vector<uint32_t> &symbols) const;

  const TokenizerSpec &spec;
  Vocabulary vocabulary;
  MergeTable merges;
  /// Token of each byte: a symbol of the Bytes alphabet, or <0xNN>; -1 if none.
  std::array<int32_t, 256> byteTokens;
};

} // namespace llqrt::tok

#endif // LLQRT_TOKENIZER_BPE_H
