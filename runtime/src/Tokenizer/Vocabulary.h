//===- Vocabulary.h - Hash tables of tokens and merges ----------*- C++ -*-===//
//
// Two flat open-addressing tables, built once when a tokenizer is loaded: bytes
// to token id, and pair of ids to merge. They are what loading time and
// encoding speed depend on.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_VOCABULARY_H
#define LLQRT_TOKENIZER_VOCABULARY_H

#include "TokenizerSpec.h"

#include <bit>
#include <cstring>

namespace llqrt::tok {

/// A fast hash for short strings, the same on every machine of one endianness.
inline uint64_t hashBytes(std::string_view bytes) {
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15u;
  uint64_t hash = bytes.size() * kMultiplier;
  auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
  };
  const char *p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; left -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    mix(word);
  }
  if (left) {
    uint64_t word = 0;
    std::memcpy(&word, p, left);
    mix(word);
  }
  return hash;
}

/// Finds the id of a token of the BPE model by its bytes.
class Vocabulary {
public:
  /// `spec` must outlive the vocabulary.
  explicit Vocabulary(const TokenizerSpec &spec);

  /// The id, or -1.
  int32_t find(std::string_view bytes) const {
    uint64_t hash = hashBytes(bytes);
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      const Slot &slot = slots[i];
      if (slot.id < 0)
        return -1;
      if (slot.tag == static_cast<uint32_t>(hash >> 32) &&
          spec.token(static_cast<uint32_t>(slot.id)) == bytes)
        return slot.id;
    }
  }

private:
  struct Slot {
    int32_t id = -1;
    uint32_t tag = 0;
  };
  const TokenizerSpec &spec;
  std::vector<Slot> slots;
  size_t mask = 0;
};

/// Finds the merge of two neighbouring tokens.
class MergeTable {
public:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Entry {
    /// The lower, the earlier; kNone where the pair does not merge.
    uint32_t rank = kNone;
    uint32_t result = 0;
  };

  explicit MergeTable(const TokenizerSpec &spec);

  Entry find(uint32_t left, uint32_t right) const {
    uint64_t key = uint64_t(left) << 32 | right;
    for (size_t i = slotOf(key);; i = (i + 1) & mask) {
      const Slot &slot = slots[i];
      if (slot.key == key || slot.key == kEmpty)
        return slot.entry;
    }
  }

private:
  static constexpr uint64_t kEmpty = UINT64_MAX;
  struct Slot {
    uint64_t key = kEmpty;
    Entry entry;
  };
  size_t slotOf(uint64_t key) const {
    return (key * 0x9e3779b97f4a7c15u) >> shift;
  }
  std::vector<Slot> slots;
  size_t mask = 0;
  unsigned shift = 0;
};

} // namespace llqrt::tok

#endif // LLQRT_TOKENIZER_VOCABULARY_H
