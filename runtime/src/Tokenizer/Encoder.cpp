//===- Encoder.cpp - From text to token ids -------------------------------===//
//
// Added tokens are cut out first, then each stretch of text between them is
// normalized, cut into pieces and encoded. Words come back again and again in a
// text: a small table remembers where in the output the tokens of a recent
// piece are.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TokenizerImpl.h"
#include "Utf8.h"

#include <algorithm>
#include <limits>

namespace llqrt {

namespace {
/// Encodes pieces, remembering recent ones.
class PieceEncoder final : public tok::PieceVisitor {
public:
  PieceEncoder(const tok::BytePairEncoder &bpe, size_t textBytes,
               std::vector<int32_t> &ids)
      : bpe(bpe), ids(ids) {
    // A table for a short text would cost more than it saves.
    if (textBytes >= kWorthRemembering)
      slots.resize(kSlots);
  }

  void visitPiece(std::string_view piece) override {
    if (slots.empty() || piece.size() > kLongestRemembered) {
      bpe.encode(piece, scratch, ids);
      return;
    }
    uint64_t hash = tok::hashBytes(piece);
    Slot &slot = slots[hash % kSlots];
    size_t begin = ids.size();
    if (slot.piece == piece) {
      // The ids may move while they are appended to themselves.
      ids.resize(begin + slot.count);
      std::copy_n(ids.begin() + static_cast<ptrdiff_t>(slot.begin), slot.count,
                  ids.begin() + static_cast<ptrdiff_t>(begin));
      return;
    }
    bpe.encode(piece, scratch, ids);
    slot = {piece, begin, static_cast<uint32_t>(ids.size() - begin)};
  }

private:
  static constexpr size_t kWorthRemembering = 4096;
  static constexpr size_t kSlots = 1 << 13;
  static constexpr size_t kLongestRemembered = 64;
  struct Slot {
    /// Points into the text or into PreTokenizer::Run, which outlive the table.
    std::string_view piece;
    size_t begin = 0;
    uint32_t count = 0;
  };
  const tok::BytePairEncoder &bpe;
  std::vector<int32_t> &ids;
  tok::BytePairEncoder::Scratch scratch;
  std::vector<Slot> slots;
};
} // namespace

void Tokenizer::Impl::encode(std::string_view text,
                             const EncodeOptions &options,
                             std::vector<int32_t> &ids) const {
  if (text.size() > std::numeric_limits<int32_t>::max())
    throw tok::Error("text of " + std::to_string(text.size()) +
                     " bytes is too long to tokenize at once, split it");
  size_t invalid = tok::findInvalidUtf8(text);
  if (invalid != std::string_view::npos)
    throw tok::Error("text is not UTF-8 at byte " + std::to_string(invalid));

  bool addsSpecial = options.addSpecial != SpecialTokens::None;
  if (options.addSpecial == SpecialTokens::WithBos) {
    if (spec.bosToken < 0)
      throw tok::Error("the tokenizer has no BOS token");
    if (spec.prefix.empty() || spec.prefix[0] != spec.bosToken)
      ids.push_back(spec.bosToken);
  }
  if (addsSpecial)
    ids.insert(ids.end(), spec.prefix.begin(), spec.prefix.end());

  // The rewritten text in `run` is what remembered pieces point to.
  tok::PreTokenizer::Run run;
  PieceEncoder pieces(bpe, text.size(), ids);

  auto encodeNormalized = [&](std::string_view normalized, bool atStart) {
    normalizedTokens.forEachPart(
        normalized, options.parseSpecial,
        [&](std::string_view part, bool first, const tok::AddedToken *token) {
          if (token)
            ids.push_back(static_cast<int32_t>(token->id));
          else
            preTokenizer.split(part, atStart && first, run, pieces);
        });
  };
  rawTokens.forEachPart(
      text, options.parseSpecial,
      [&](std::string_view part, bool atStart, const tok::AddedToken *token) {
        if (token) {
          ids.push_back(static_cast<int32_t>(token->id));
          return;
        }
        if (spec.normalizer.empty()) {
          encodeNormalized(part, atStart);
          return;
        }
        std::string &normalized = run.rewritten.emplace_back(part);
        for (const tok::TextStep &step : spec.normalizer)
          tok::rewrite(step, atStart, normalized);
        encodeNormalized(normalized, atStart);
      });

  if (addsSpecial)
    ids.insert(ids.end(), spec.suffix.begin(), spec.suffix.end());
}

} // namespace llqrt
