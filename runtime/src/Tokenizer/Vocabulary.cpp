//===- Vocabulary.cpp - Hash tables of tokens and merges ------------------===//
//
// Builds the tables at most half full, so that an unsuccessful search ends
// after a slot or two.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Vocabulary.h"

#include <algorithm>

namespace llqrt::tok {

Vocabulary::Vocabulary(const TokenizerSpec &spec) : spec(spec) {
  size_t capacity = std::bit_ceil(std::max<size_t>(spec.size() * 2, 16));
  slots.resize(capacity);
  mask = capacity - 1;
  for (uint32_t id = 0; id < spec.size(); ++id) {
    if (!(spec.tokenFlags[id] & InModel))
      continue;
    std::string_view bytes = spec.token(id);
    uint64_t hash = hashBytes(bytes);
    auto tag = static_cast<uint32_t>(hash >> 32);
    size_t i = hash & mask;
    while (slots[i].id >= 0) {
      if (slots[i].tag == tag &&
          spec.token(static_cast<uint32_t>(slots[i].id)) == bytes)
        throw Error("tokens " + std::to_string(slots[i].id) + " and " +
                    std::to_string(id) + " have the same bytes");
      i = (i + 1) & mask;
    }
    slots[i] = {static_cast<int32_t>(id), tag};
  }
}

MergeTable::MergeTable(const TokenizerSpec &spec) {
  size_t capacity = std::bit_ceil(std::max<size_t>(spec.merges.size() * 2, 16));
  slots.resize(capacity);
  mask = capacity - 1;
  shift = 64 - static_cast<unsigned>(std::countr_zero(capacity));
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const Merge &merge = spec.merges[rank];
    uint64_t key = uint64_t(merge.left) << 32 | merge.right;
    size_t i = slotOf(key);
    while (slots[i].key != kEmpty && slots[i].key != key)
      i = (i + 1) & mask;
    // Of a pair that is listed twice the last rank counts.
    slots[i].key = key;
    slots[i].entry = {spec.rankByResult ? merge.result
                                        : static_cast<uint32_t>(rank),
                      merge.result};
  }
}

} // namespace llqrt::tok
