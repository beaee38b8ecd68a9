//===- PreTokenizer.cpp - Normalizer and pre-tokenizer --------------------===//
//
// Each step hands its parts straight to the next one, so that a text of any
// length needs no list of its pieces.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "PreTokenizer.h"

#include "Utf8.h"

namespace llqrt::tok {

void rewrite(const TextStep &step, bool atStart, std::string &text) {
  if (step.kind == TextStep::Kind::Prefix) {
    bool present = step.unlessPresent && text.starts_with(step.replacement);
    if (!text.empty() && !present && (atStart || !step.onlyFirst))
      text.insert(0, step.replacement);
    return;
  }
  std::string result;
  size_t from = 0;
  for (size_t at; (at = text.find(step.pattern, from)) != std::string::npos;
       from = at + step.pattern.size()) {
    result.append(text, from, at - from);
    result += step.replacement;
  }
  result.append(text, from);
  text = std::move(result);
}

PreTokenizer::PreTokenizer(const std::vector<TextStep> &steps) : steps(steps) {
  for (const TextStep &step : steps) {
    patterns.emplace_back();
    if (step.kind == TextStep::Kind::Split && !step.literal)
      patterns.back().emplace(step.pattern);
  }
}

bool PreTokenizer::findNext(size_t index, std::string_view text, size_t from,
                            Run &run, PatternMatch &match) const {
  if (patterns[index])
    return patterns[index]->search(text, from, run.pattern, match);
  size_t at = text.find(steps[index].pattern, from);
  if (at == std::string_view::npos)
    return false;
  match = {at, at + steps[index].pattern.size()};
  return true;
}

namespace {
/// Joins matches and the text between them as a SplitBehavior asks, and passes
/// on each part once nothing can join it any more.
template <typename Emit> class Joiner {
public:
  Joiner(SplitBehavior behavior, Emit emit) : behavior(behavior), emit(emit) {}

  void add(size_t begin, size_t end, bool isMatch) {
    bool joins = false;
    switch (behavior) {
    case SplitBehavior::Removed:
      if (isMatch)
        return;
      break;
    case SplitBehavior::Isolated:
      break;
    case SplitBehavior::MergedWithPrevious:
      // A match joins what precedes it, unless that is a match as well.
      joins = isMatch && !lastIsMatch;
      break;
    case SplitBehavior::MergedWithNext:
      joins = lastIsMatch && !isMatch;
      break;
    case SplitBehavior::Contiguous:
      joins = isMatch == lastIsMatch;
      break;
    }
    lastIsMatch = isMatch;
    if (pending && joins) {
      pendingEnd = end;
      return;
    }
    flush();
    pending = true;
    pendingBegin = begin;
    pendingEnd = end;
  }

  void flush() {
    if (pending && pendingBegin < pendingEnd)
      emit(pendingBegin, pendingEnd);
    pending = false;
  }

private:
  SplitBehavior behavior;
  Emit emit;
  bool pending = false;
  bool lastIsMatch = false;
  size_t pendingBegin = 0, pendingEnd = 0;
};
} // namespace

void PreTokenizer::apply(size_t index, std::string_view text, bool atStart,
                         Run &run, PieceVisitor &visitor) const {
  if (index == steps.size()) {
    visitor.visitPiece(text);
    return;
  }
  const TextStep &step = steps[index];
  if (step.kind != TextStep::Kind::Split) {
    run.rewritten.emplace_back(text);
    rewrite(step, atStart, run.rewritten.back());
    if (!run.rewritten.back().empty())
      apply(index + 1, run.rewritten.back(), atStart, run, visitor);
    return;
  }

  Joiner joiner(step.behavior, [&](size_t begin, size_t end) {
    apply(index + 1, text.substr(begin, end - begin), atStart && begin == 0,
          run, visitor);
  });
  size_t consumed = 0;
  size_t from = 0;
  constexpr size_t kNowhere = static_cast<size_t>(-1);
  size_t lastEnd = kNowhere;
  PatternMatch match;
  while (from <= text.size() && findNext(index, text, from, run, match)) {
    if (match.begin == match.end && match.begin == lastEnd) {
      // An empty match right behind another match does not count.
      if (from == text.size())
        break;
      from += decodeUtf8(text.substr(from)).length;
      continue;
    }
    from = lastEnd = match.end;
    if (consumed != match.begin)
      joiner.add(consumed, match.begin, step.invert);
    joiner.add(match.begin, match.end, !step.invert);
    consumed = match.end;
  }
  if (consumed != text.size())
    joiner.add(consumed, text.size(), step.invert);
  joiner.flush();
}

} // namespace llqrt::tok
