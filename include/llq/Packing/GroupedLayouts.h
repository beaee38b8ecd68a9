//===- GroupedLayouts.h - Tiles of planes, codebooks, widths ----*- C++ -*-===//
//
// Where things lie in the packed tiles of formats whose groups are whole blocks
// of 32 columns, shared by packers and decode recipes. Codes are bit planes as
// in UniformLayout.h: a plane of one bit is 64 bytes a block, and bit f of byte
// 4 * row + j belongs to column 4 * f + j. G = units, a unit is a group.
//
//   #llq.planes    scales [G][count][16] f16, offsets [G][16] f16,
//                  padding to 64 bytes, blocks of `count` planes of one bit
//   #llq.codebook  levels [G][tables][listed][16] f16, counts [G] u8 if there
//                  are two tables, padding to 64 bytes, blocks of `bits` planes
//                  of one bit, low bit first
//   #llq.mixed     scales [G][16] f16, offsets [G][16] f16, headers [G] u32
//                  (in the low byte which of the widths, above it where the
//                  unit's first block is, in units of 64 bytes from the tile),
//                  padding to 64 bytes, blocks as of #llq.uniform
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_PACKING_GROUPEDLAYOUTS_H
#define LLQ_PACKING_GROUPEDLAYOUTS_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Packing/CPULayout.h"

namespace llq {

/// Units and blocks of a row.
struct GroupedLayout {
  GroupedLayout(int64_t group, int64_t k);

  int64_t unitColumns; ///< a multiple of 32
  int64_t units;
  int64_t blocks;
  int64_t blocksOffset = 0;
  int64_t tileBytes = 0;
};

struct PlanesLayout : GroupedLayout {
  PlanesLayout(PlanesAttr format, int64_t k);

  int64_t offsetsOffset;
  int64_t blockBytes;
};

struct CodebookLayout : GroupedLayout {
  CodebookLayout(CodebookAttr format, int64_t k);

  /// f16 levels of a unit and row.
  int64_t listed;
  int64_t countsOffset;
  int64_t blockBytes;
};

struct MixedLayout : GroupedLayout {
  MixedLayout(MixedAttr format, int64_t k);

  int64_t offsetsOffset;
  int64_t headersOffset;
};

} // namespace llq

#endif // LLQ_PACKING_GROUPEDLAYOUTS_H
