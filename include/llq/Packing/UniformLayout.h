//===- UniformLayout.h - Packed tile of #llq.uniform ------------*- C++ -*-===//
//
// Where scales, zeros and codes of a tile lie; shared by the packer and by the
// decode recipe of the kernels.
//
//   scales  [units][16] f16 or f32      unit: a group, or a part of a group
//   zeros   [units][16] u8 or f16, or [units][8] bytes for integer zeros of at
//           most 4 bits: row r in the low half of byte r % 8, r + 8 in the high
//           one; absent for zero = none
//   padding to a multiple of 64 bytes
//   codes   [blocks][bits * 64 bytes]   one block: 16 rows x 32 columns
//
// A block is a sequence of bit planes of 4, 2 and 1 bits (or one of 8), low
// bits first, e.g. 3 bits = plane of 2 + plane of 1. A plane of w bits has w
// chunks of 64 bytes; byte (4 * row + j) of chunk c holds, in bits f*w ..
// f*w+w-1, those bits of the code at column 4 * (c * 8/w + f) + j of the block.
//
// Groups that are not multiples of 32 columns are cut into units of
// gcd(group, 32) columns with repeated scales.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_PACKING_UNIFORMLAYOUT_H
#define LLQ_PACKING_UNIFORMLAYOUT_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Packing/CPULayout.h"

namespace llq {

struct UniformLayout {
  UniformLayout(UniformAttr format, int64_t k);

  /// Columns of one scale: a multiple of 32, or 16, 8 or 4.
  int64_t unitColumns;
  int64_t units;
  int64_t blocks;
  int64_t scaleBytes;
  /// Bits of one zero point: 4, 8 or 16, or 0 if none is stored.
  int64_t zeroBits;
  int64_t zerosOffset;
  int64_t codesOffset;
  int64_t blockBytes;
  int64_t tileBytes;

  /// Widths of the bit planes of a code of 1 to 8 bits, low bits first.
  static llvm::ArrayRef<int64_t> getPlanes(int64_t bits);
};

} // namespace llq

#endif // LLQ_PACKING_UNIFORMLAYOUT_H
