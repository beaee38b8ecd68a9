//===- OutliersLayout.h - Tiles with sparse codes ---------------*- C++ -*-===//
//
// Where things lie in a packed tile of #llq.outliers:
//
//   a tile of the base
//   scales    [16] f16
//   zeros     [16] u8
//   codes     u64: where the codes of the tile are, in bytes from the tile
//   columns   u64: where their columns are
//   padding to 64 bytes
//   counts    [blocks][16] u8: codes of each row of a block
//   starts    [ceil(blocks / 8)] u32: codes of the tile before the blocks 8 i
//   places    [blocks] u16: low 12 bits: codes from there to each block; the
//             other bits: steps of the block
//   padding to 64 bytes
//
// A step of a block of 16 rows x 32 columns has up to four codes of each row,
// row by row, and steps follow each other: so do codes, bytes, and columns in
// the block, 5 bits, low ones first. Those of tiles lie behind each other in
// the weight's tail, each tile from a whole byte on, which ends with 64 bytes
// that loads may run into.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_PACKING_OUTLIERSLAYOUT_H
#define LLQ_PACKING_OUTLIERSLAYOUT_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Packing/CPULayout.h"

#include "llvm/Support/MathExtras.h"

namespace llq {

struct OutliersLayout {
  OutliersLayout(OutliersAttr format, int64_t k);

  /// Blocks that share a start.
  static constexpr int64_t kStartBlocks = 8;
  static constexpr int64_t kPlaceBits = 12;
  static constexpr int64_t kTailSlack = 64;

  int64_t blocks;
  int64_t scalesOffset;
  int64_t zerosOffset;
  int64_t codesOffset;
  int64_t columnsOffset;
  int64_t countsOffset;
  int64_t startsOffset;
  int64_t placesOffset;
  int64_t tileBytes;
};

} // namespace llq

#endif // LLQ_PACKING_OUTLIERSLAYOUT_H
