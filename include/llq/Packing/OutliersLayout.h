//===- OutliersLayout.h - Tiles with sparse codes ---------------*- C++ -*-===//
//
// Where things lie in a packed tile of #llq.outliers:
//
//   a tile of the base
//   scales    [16] f16
//   zeros     [16] u8
//   stream    u64: where the tile's stream is, in bytes from the tile
//   padding to 64 bytes
//   starts    [ceil(blocks / 8)] u32: where the blocks 8 i begin in the stream
//   places    [blocks] u16, u16: low 13 bits of the first: how far behind that
//             each block begins, other bits: its steps, less one; the second:
//             its codes
//   padding to 64 bytes
//
// A stream has for each block of 16 rows x 32 columns
//
//   counts    [16] u8: codes of each row
//   codes     bytes
//   columns   of each code, 5 bits, low ones first
//   padding to a byte
//
// Codes and columns are in the order of steps: a step has up to four codes of
// each row, row by row. Streams of tiles lie in the weight's tail, which ends
// with 64 bytes that loads may run into.
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
  static constexpr int64_t kPlaceBits = 13;
  static constexpr int64_t kTailSlack = 64;

  int64_t blocks;
  int64_t scalesOffset;
  int64_t zerosOffset;
  int64_t streamOffset;
  int64_t startsOffset;
  int64_t placesOffset;
  int64_t tileBytes;
};

} // namespace llq

#endif // LLQ_PACKING_OUTLIERSLAYOUT_H
