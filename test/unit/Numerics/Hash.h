//===- Hash.h - Known answers for tables of numbers -------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TEST_UNIT_NUMERICS_HASH_H
#define LLQ_TEST_UNIT_NUMERICS_HASH_H

#include <bit>
#include <cstdint>
#include <vector>

namespace llq::numerics {

/// FNV-1a over the bytes of 32-bit values, the low ones first.
template <typename T> uint64_t hashOf(const std::vector<T> &values) {
  static_assert(sizeof(T) == 4);
  uint64_t hash = 0xcbf29ce484222325;
  for (T value : values)
    for (int shift = 0; shift != 32; shift += 8)
      hash = (hash ^ (std::bit_cast<uint32_t>(value) >> shift & 0xff)) *
             0x100000001b3;
  return hash;
}

} // namespace llq::numerics

#endif // LLQ_TEST_UNIT_NUMERICS_HASH_H
