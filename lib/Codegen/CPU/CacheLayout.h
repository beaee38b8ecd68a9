//===- CacheLayout.h - How keys and values are cached -----------*- C++ -*-===//
//
// A type of cache is a number of bits and a size of groups; places, and how
// kernels write and read them, follow from the two. The cache is kept in blocks
// of 16 positions, of which each key/value head has a part:
//
//   keys [cells][16]      transposed: a vector is one cell of 16 positions
//   values [16][cells]
//   for each group, [16]: scale, minimum; of keys, then of values
//
// A cell is a number, or the byte that codes of several channels of a position
// share. Positions share none: threads append neighbours at the same time.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CODEGEN_CPU_CACHELAYOUT_H
#define LIB_CODEGEN_CPU_CACHELAYOUT_H

#include "dialects/LLQ/LLQ.h"

#include "mlir/IR/Builders.h"

namespace llq {

/// Positions of a cache block (LLQRT_POSITION_BLOCK).
inline constexpr int64_t kCachePositions = 16;

/// How one head of keys or values of a position is stored.
struct CacheFormat {
  /// Of a number (32, 16) or of a code (8, 4).
  int64_t bits;
  /// Channels that share a scale; the last group of a head may have fewer. 0:
  /// numbers without scales.
  int64_t group = 0;
  /// Of scales and minimums: 32 or 16.
  int64_t scaleBits = 32;
  /// Whether codes are 0 to 2^bits - 1 and stand for `minimum + scale * code`.
  /// Otherwise they are -Q to Q.
  bool minimum = false;
  /// Whether a Hadamard transform of queries and keys, which leaves their
  /// products as they are, spreads the few large channels of keys over all.
  bool spreadsKeys = false;

  static CacheFormat get(CacheType type, int64_t headDim);

  bool isQuantized() const { return group != 0; }
  /// Of numbers, or of scales and minimums.
  mlir::FloatType getFloatType(mlir::Builder &b) const {
    return (isQuantized() ? scaleBits : bits) == 16 ? b.getF16Type()
                                                    : b.getF32Type();
  }
  int64_t getLargestCode() const {
    return (int64_t(1) << (minimum ? bits : bits - 1)) - 1;
  }
  int64_t getCellBytes() const { return bits < 8 ? 1 : bits / 8; }
  /// Codes that share a cell.
  int64_t getCellCodes() const { return bits < 8 ? 8 / bits : 1; }
};

/// Places in the part of a block that belongs to one head.
struct CacheLayout {
  CacheLayout(CacheType type, int64_t headDim);

  /// Channels are `channel + code * cells + i`, in cell `cell + i`: the first
  /// run of them in the low bits of the cells.
  struct Group {
    int64_t channel, channels;
    int64_t cell, cells;
  };

  CacheFormat format;
  /// One for the whole head if the format has no groups.
  llvm::SmallVector<Group> groups;
  /// Cells of a position, and their bytes.
  int64_t cells = 0, rowBytes;
  /// Widest vector of up to 16 lanes that divides the cells of every group.
  int64_t lanes = 16;
  /// Where values, scales of keys and scales of values begin, and all bytes.
  int64_t values, keyScales, valueScales, bytes;

  /// Bytes from `keyScales` or `valueScales` to the 16 scales of a group, and
  /// to its minimums.
  int64_t getScaleOffset(int64_t group) const;
  int64_t getMinimumOffset(int64_t group) const;
};

} // namespace llq

#endif // LIB_CODEGEN_CPU_CACHELAYOUT_H
