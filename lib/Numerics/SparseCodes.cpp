//===- SparseCodes.cpp - Codes of few elements of a matrix ----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/SparseCodes.h"

#include <algorithm>

using namespace llq;
using namespace llq::numerics;

SparseCodes llq::numerics::packSparseCodes(const uint8_t *codes,
                                           const uint8_t *present, int64_t rows,
                                           int64_t columns) {
  SparseCodes result;
  const int64_t stride = sparsePresenceBytes(columns);
  result.presence.resize(rows * stride);
  for (int64_t row = 0; row != rows; ++row) {
    if (row % kSparseRows == 0) {
      result.starts.push_back(static_cast<uint32_t>(result.masks.size()));
      result.starts.push_back(static_cast<uint32_t>(result.codes.size()));
    }
    for (int64_t block = 0; block * kSparseBlock < columns; ++block)
      for (int64_t j = 0; j != 4; ++j) {
        uint8_t mask = 0;
        for (int64_t f = 0; f != 8; ++f) {
          const int64_t column = block * kSparseBlock + 4 * f + j;
          if (column >= columns || !present[row * columns + column])
            continue;
          mask |= uint8_t(1u << f);
          result.codes.push_back(codes[row * columns + column]);
        }
        if (!mask)
          continue;
        const int64_t bit = 4 * block + j;
        result.presence[row * stride + bit / 8] |= uint8_t(1u << (bit % 8));
        result.masks.push_back(mask);
      }
  }
  return result;
}

std::optional<std::string> SparseView::findFault() const {
  const int64_t bytes = (columns + kSparseBlock - 1) / kSparseBlock * 4;
  const int64_t stride = sparsePresenceBytes(columns);
  uint64_t nextMask = 0, nextCode = 0;
  for (int64_t row = 0; row != rows; ++row) {
    if (row % kSparseRows == 0) {
      const int64_t at = row / kSparseRows * 2;
      if (start(at) != nextMask || start(at + 1) != nextCode)
        return "says that row " + std::to_string(row) +
               " begins where it does not";
    }
    for (int64_t i = 0; i != stride * 8; ++i) {
      if (!(presence[row * stride + i / 8] >> (i % 8) & 1))
        continue;
      if (i >= bytes || nextMask == masks.size())
        return "has more masks than it stores";
      const uint8_t bits = masks[nextMask++];
      const int64_t last = i / 4 * kSparseBlock + i % 4 +
                           4 * static_cast<int64_t>(std::bit_width(bits)) - 4;
      if (bits == 0 || last >= columns)
        return "has a mask that is none in row " + std::to_string(row);
      nextCode += static_cast<uint64_t>(std::popcount(bits));
    }
  }
  if (nextMask != masks.size() || nextCode != codes.size())
    return "stores " + std::to_string(masks.size()) + " masks and " +
           std::to_string(codes.size()) + " codes, its rows have " +
           std::to_string(nextMask) + " and " + std::to_string(nextCode);
  return std::nullopt;
}
