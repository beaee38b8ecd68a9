//===- TokenizerImpl.h - What a loaded tokenizer consists of ----*- C++ -*-===//
//
// The checked data and everything derived from it at load time. Immutable
// afterwards, so that threads share it freely.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_TOKENIZERIMPL_H
#define LLQRT_TOKENIZER_TOKENIZERIMPL_H

#include "AddedTokens.h"
#include "BPE.h"
#include "PreTokenizer.h"
#include "llqrt/Tokenizer.h"

namespace llqrt {

struct Tokenizer::Impl {
  /// Checks `spec` and builds the tables. Throws tok::Error.
  explicit Impl(tok::TokenizerSpec &&spec);
  Impl(const Impl &) = delete;
  Impl &operator=(const Impl &) = delete;

  /// Encodes UTF-8 text (Encoder.cpp). Throws tok::Error.
  void encode(std::string_view text, const EncodeOptions &options,
              std::vector<int32_t> &ids) const;

  /// Appends the bytes that token `id` stands for, which need not be whole
  /// characters. `atStart` says that no token came before.
  void appendTokenBytes(int32_t id, bool atStart, std::string &bytes) const;

  const tok::TokenizerSpec spec;
  tok::BytePairEncoder bpe;
  tok::PreTokenizer preTokenizer;
  /// Tokens found in the text as it comes, and in its normalized form.
  tok::AddedTokenFinder rawTokens;
  tok::AddedTokenFinder normalizedTokens;
};

} // namespace llqrt

#endif // LLQRT_TOKENIZER_TOKENIZERIMPL_H
