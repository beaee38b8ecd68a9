//===- E8PLayout.h - Tiles of tuples on the E8 lattice ----------*- C++ -*-===//
//
// Where things lie in a packed tile of #llq.e8p:
//
//   scales  [S][16] f16, padding to 64 bytes; S = 1 with 2 bits, else 2
//   blocks  16 rows x 32 columns, of rows of 64 bytes:
//             entries, signs                     of the codes
//             entries, or entries and signs      of the residuals (3, 4 bits)
//
// Byte 4 * row + t of such a row belongs to tuple t of the block: columns t,
// 4 + t, .. 28 + t. So coordinate i of all tuples is columns 4 i to 4 i + 3 of
// 16 rows, in the order in which products take codes. E8P entries and signs are
// those of llq/Numerics/E8P.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_PACKING_E8PLAYOUT_H
#define LLQ_PACKING_E8PLAYOUT_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Packing/CPULayout.h"

namespace llq {

struct E8PLayout {
  E8PLayout(E8PAttr format, int64_t k)
      : scales(format.getNumScales()), blocks(k / kBlockColumns),
        blockBytes(format.getBits() * 64),
        tileBytes(kBlocksOffset + blocks * blockBytes) {}

  static constexpr int64_t kBlocksOffset = 64;
  int64_t scales;
  int64_t blocks;
  int64_t blockBytes;
  int64_t tileBytes;
};

} // namespace llq

#endif // LLQ_PACKING_E8PLAYOUT_H
