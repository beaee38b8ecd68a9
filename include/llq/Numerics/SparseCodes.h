//===- SparseCodes.h - Codes of few elements of a matrix --------*- C++ -*-===//
//
// Which elements of a matrix have a code of 8 bits, in less than a bit for each
// element, and the codes. A row is cut into blocks of 32 columns, whose mask is
// four bytes: bit f of byte j says whether column 4 f + j has a code. Masks
// that are zero are left out; `presence` has a bit for each byte of each mask.
//
//   presence  [rows, ceil(4 B / 8)], bit 4 b + j: byte j of block b is there,
//             B = ceil(columns / 32)
//   masks     those bytes, block by block, row by row
//   codes     of the elements, in the order of their bits in the masks
//   starts    [ceil(rows / 16)][2], how many masks and codes there are in front
//             of each 16 rows
//
// With a share r of codes in random places this takes
// 1/8 + 1 - (1 - r)^8 bits for each element beside 8 r for the codes: at r =
// 0.1 0.69, where the entropy is 0.47 and a plain mask takes 1.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_SPARSECODES_H
#define LLQ_NUMERICS_SPARSECODES_H

#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace llq::numerics {

inline constexpr int64_t kSparseBlock = 32;
/// Rows between two starts.
inline constexpr int64_t kSparseRows = 16;

/// Bytes of `presence` in a row.
constexpr int64_t sparsePresenceBytes(int64_t columns) {
  return ((columns + kSparseBlock - 1) / kSparseBlock * 4 + 7) / 8;
}

struct SparseCodes {
  std::vector<uint8_t> presence, masks, codes;
  std::vector<uint32_t> starts;
};

/// The sparse form of codes[rows, columns] where present[rows, columns] is not
/// 0. At most 2^32 - 1 codes.
SparseCodes packSparseCodes(const uint8_t *codes, const uint8_t *present,
                            int64_t rows, int64_t columns);

/// The arrays of a matrix with sparse codes.
struct SparseView {
  std::span<const uint8_t> presence, masks, codes, starts;
  int64_t rows, columns;

  /// Why the arrays are not of such a matrix, or nothing if they are. The sizes
  /// of `presence` and `starts` are what they have to be.
  std::optional<std::string> findFault() const;

  /// Calls code(row, column, code) for each code of rows [begin, end). `begin`
  /// is a multiple of 16. The arrays have no fault.
  template <typename Code>
  void forRows(int64_t begin, int64_t end, Code code) const;

  /// Element `index` of `starts`.
  uint32_t start(int64_t index) const {
    uint32_t value = 0;
    for (int64_t i = 0; i != 4; ++i)
      value |= uint32_t(starts[4 * index + i]) << (8 * i);
    return value;
  }
};

template <typename Code>
void SparseView::forRows(int64_t begin, int64_t end, Code code) const {
  if (begin >= end)
    return;
  size_t nextMask = start(begin / kSparseRows * 2);
  size_t nextCode = start(begin / kSparseRows * 2 + 1);
  const int64_t bytes = (columns + kSparseBlock - 1) / kSparseBlock * 4;
  const int64_t stride = sparsePresenceBytes(columns);
  for (int64_t row = begin; row != end; ++row)
    for (int64_t i = 0; i != bytes; ++i) {
      if (!(presence[row * stride + i / 8] >> (i % 8) & 1))
        continue;
      for (unsigned left = masks[nextMask++]; left; left &= left - 1)
        code(row, i / 4 * kSparseBlock + 4 * std::countr_zero(left) + i % 4,
             codes[nextCode++]);
    }
}

} // namespace llq::numerics

#endif // LLQ_NUMERICS_SPARSECODES_H
