//===- OutliersLayout.h - Tiles with sparse codes ---------------*- C++ -*-===//
//
// Where things lie in a packed tile of #llq.outliers:
//
//   a tile of the base
//   scales    [16] f16
//   zeros     [16] u8
//   stream    u64: where the tile's stream is, in bytes from the tile
//   padding to 64 bytes
//   presence  [blocks] u64: bit 4 * row + j says whether byte j of the mask of
//             a row and block is there (llq/Numerics/SparseCodes.h)
//   starts    [ceil(blocks / 8)] u32: where the blocks 8 i begin in the stream
//   steps     [blocks] u16: how far behind that each block begins
//   padding to 64 bytes
//
// A stream is, for each block of 16 rows x 32 columns, the bytes of its masks
// in the order of presence, then its codes: column 4 f + j of a row is bit 4 *
// row + j of step f, and steps follow each other. Streams of tiles lie behind
// each other in the weight's tail, which ends with 64 bytes that loads may run
// into.
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
  static constexpr int64_t kTailSlack = 64;

  int64_t blocks;
  int64_t scalesOffset;
  int64_t zerosOffset;
  int64_t streamOffset;
  int64_t presenceOffset;
  int64_t startsOffset;
  int64_t stepsOffset;
  int64_t tileBytes;
};

} // namespace llq

#endif // LLQ_PACKING_OUTLIERSLAYOUT_H
