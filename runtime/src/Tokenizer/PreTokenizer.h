//===- PreTokenizer.h - Normalizer and pre-tokenizer ------------*- C++ -*-===//
//
// Runs the primitive steps of a TokenizerSpec on a stretch of text: rewriting
// it (normalizer) and cutting it into the pieces that are encoded one by one
// (pre-tokenizer).
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_PRETOKENIZER_H
#define LLQRT_TOKENIZER_PRETOKENIZER_H

#include "Pattern.h"
#include "TokenizerSpec.h"

#include <deque>
#include <optional>

namespace llqrt::tok {

/// Applies one Prefix or Replace step to `text`.
void rewrite(const TextStep &step, bool atStart, std::string &text);

/// Receives the pieces of a text in order.
class PieceVisitor {
public:
  /// `piece` is not empty and lives as long as the run.
  virtual void visitPiece(std::string_view piece) = 0;

protected:
  ~PieceVisitor() = default;
};

class PreTokenizer {
public:
  /// Compiles the patterns of `steps`, which must outlive the pre-tokenizer.
  /// Throws Error.
  explicit PreTokenizer(const std::vector<TextStep> &steps);

  /// What a thread needs while it encodes a text. Rewritten text lives here.
  struct Run {
    PatternState pattern;
    std::deque<std::string> rewritten;
  };

  /// Cuts `text` into pieces. `atStart` says that it begins the whole text.
  void split(std::string_view text, bool atStart, Run &run,
             PieceVisitor &visitor) const {
    apply(0, text, atStart, run, visitor);
  }

private:
  void apply(size_t index, std::string_view text, bool atStart, Run &run,
             PieceVisitor &visitor) const;
  bool findNext(size_t index, std::string_view text, size_t from, Run &run,
                PatternMatch &match) const;

  const std::vector<TextStep> &steps;
  /// One per step; none for those without a regular expression.
  std::vector<std::optional<Pattern>> patterns;
};

} // namespace llqrt::tok

#endif // LLQRT_TOKENIZER_PRETOKENIZER_H
