//===- BPE.cpp - Byte pair encoding of one piece of text ------------------===//
//
// Two algorithms with one result. Words are short, so a plain array in which
// the best pair is searched anew after each merge wins; a long run without a
// break (or a whole text, where there is no pre-tokenizer) needs the heap,
// which keeps the cost at n log n.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "BPE.h"

#include "Utf8.h"

#include <algorithm>
#include <queue>

namespace llqrt::tok {

/// Pieces with more symbols than this take the heap.
static constexpr size_t kShortPiece = 48;

static std::string byteTokenName(unsigned byte) {
  static constexpr char digits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
}

BytePairEncoder::BytePairEncoder(const TokenizerSpec &spec)
    : spec(spec), vocabulary(spec), merges(spec) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    byteTokens[byte] = -1;
    if (spec.alphabet == Alphabet::Bytes)
      byteTokens[byte] =
          vocabulary.find(std::string(1, static_cast<char>(byte)));
    else if (spec.byteFallback)
      byteTokens[byte] = vocabulary.find(byteTokenName(byte));
  }
}

void BytePairEncoder::splitIntoSymbols(std::string_view piece,
                                       std::vector<uint32_t> &symbols) const {
  bool lastUnknown = false;
  auto addUnknown = [&] {
    if (spec.unknownToken >= 0 && !(lastUnknown && spec.fuseUnknown))
      symbols.push_back(static_cast<uint32_t>(spec.unknownToken));
    lastUnknown = true;
  };
  auto add = [&](int32_t id) {
    symbols.push_back(static_cast<uint32_t>(id));
    lastUnknown = false;
  };

  if (spec.alphabet == Alphabet::Bytes) {
    for (char c : piece) {
      int32_t id = byteTokens[static_cast<unsigned char>(c)];
      id >= 0 ? add(id) : addUnknown();
    }
    return;
  }
  for (size_t pos = 0; pos < piece.size();) {
    std::string_view c =
        piece.substr(pos, decodeUtf8(piece.substr(pos)).length);
    pos += c.size();
    auto tokenOf = [&](char byte) {
      return byteTokens[static_cast<unsigned char>(byte)];
    };
    if (int32_t id = vocabulary.find(c); id >= 0)
      add(id);
    else if (std::all_of(c.begin(), c.end(),
                         [&](char byte) { return tokenOf(byte) >= 0; }))
      for (char byte : c)
        add(tokenOf(byte));
    else
      addUnknown();
  }
}

void BytePairEncoder::mergeShort(Scratch &scratch) const {
  auto &[symbols, pairs] = scratch;
  // pairs[i] is what symbols i and i + 1 merge to.
  pairs.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i)
    pairs.push_back(merges.find(symbols[i], symbols[i + 1]));
  while (!pairs.empty()) {
    size_t best = 0;
    for (size_t i = 1; i < pairs.size(); ++i)
      if (pairs[i].rank < pairs[best].rank)
        best = i;
    if (pairs[best].rank == MergeTable::kNone)
      return;
    symbols[best] = pairs[best].result;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
    pairs.erase(pairs.begin() + static_cast<ptrdiff_t>(best));
    if (best < pairs.size())
      pairs[best] = merges.find(symbols[best], symbols[best + 1]);
    if (best > 0)
      pairs[best - 1] = merges.find(symbols[best - 1], symbols[best]);
  }
}

void BytePairEncoder::mergeLong(std::vector<uint32_t> &symbols) const {
  constexpr uint32_t kEnd = UINT32_MAX;
  struct Node {
    uint32_t symbol, previous, next;
  };
  struct Candidate {
    uint32_t rank, position, left, right, result;
    bool operator>(const Candidate &other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  auto count = static_cast<uint32_t>(symbols.size());
  std::vector<Node> nodes(count);
  for (uint32_t i = 0; i < count; ++i)
    nodes[i] = {symbols[i], i ? i - 1 : kEnd, i + 1 < count ? i + 1 : kEnd};

  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  auto consider = [&](uint32_t position) {
    if (position == kEnd || nodes[position].next == kEnd)
      return;
    uint32_t left = nodes[position].symbol;
    uint32_t right = nodes[nodes[position].next].symbol;
    MergeTable::Entry entry = merges.find(left, right);
    if (entry.rank != MergeTable::kNone)
      queue.push({entry.rank, position, left, right, entry.result});
  };
  for (uint32_t i = 0; i < count; ++i)
    consider(i);

  while (!queue.empty()) {
    Candidate best = queue.top();
    queue.pop();
    Node &node = nodes[best.position];
    // Either neighbour may have merged with another one in the meantime; a
    // node that is gone has no successor.
    if (node.next == kEnd || node.symbol != best.left ||
        nodes[node.next].symbol != best.right)
      continue;
    Node &gone = nodes[node.next];
    node.symbol = best.result;
    node.next = gone.next;
    if (node.next != kEnd)
      nodes[node.next].previous = best.position;
    gone.next = kEnd;
    consider(node.previous);
    consider(best.position);
  }

  // A node is alive if the chain from the first one reaches it.
  symbols.clear();
  for (uint32_t i = 0; i != kEnd; i = nodes[i].next)
    symbols.push_back(nodes[i].symbol);
}

void BytePairEncoder::encode(std::string_view piece, Scratch &scratch,
                             std::vector<int32_t> &ids) const {
  if (spec.ignoreMerges) {
    if (int32_t id = vocabulary.find(piece); id >= 0) {
      ids.push_back(id);
      return;
    }
  }
  std::vector<uint32_t> &symbols = scratch.symbols;
  symbols.clear();
  splitIntoSymbols(piece, symbols);
  if (symbols.size() <= kShortPiece)
    mergeShort(scratch);
  else
    mergeLong(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

} // namespace llqrt::tok
