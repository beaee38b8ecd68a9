//===- PlaneTables.h - Products with planes of bits by look-up --*- C++ -*-===//
//
// A plane's bits for four columns choose one of the 16 sums that can be made of
// the activations there. With the sums of a row in tables, a plane of a block
// of 16 rows x 32 columns takes four look-ups of 64 bytes and four products
// with its weight, not eight vectors of bits and eight products with these. The
// sums are the same integers.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CODEGEN_CPU_PLANETABLES_H
#define LIB_CODEGEN_CPU_PLANETABLES_H

#include "Decoder.h"

namespace llq {

/// The tables of one row of 8-bit activations, in memory of the thread.
class PlaneTables {
public:
  using Value = mlir::Value;

  PlaneTables(KernelBuilder &b, Value memory) : b(b), memory(memory) {}

  /// Whether a level has such look-ups.
  static bool isSupported(const CPULevel &level) {
    return level.byteMoves == ByteMoves::Vector;
  }
  static int64_t getBytes(int64_t blocks) { return blocks * kBlockBytes; }

  /// Makes the tables of `blocks` blocks of codes from `x` on.
  void fill(Value x, int64_t blocks);

  /// For each term of a block, a sum of planes, the products with the
  /// activations, i32 by row. Terms take turns, so that the products of one
  /// need not wait for each other.
  llvm::SmallVector<Value>
  lookUp(llvm::ArrayRef<llvm::ArrayRef<BitPlane>> terms, Value block);

private:
  /// Tables of a block: for the bits 0 to 3 of a plane's bytes, sums of codes'
  /// low 4 bits, then sums of what they are above these, divided by 16, then
  /// both for the bits 4 to 7. A table has 16 entries for each of the four
  /// bytes of a row.
  static constexpr int64_t kBytes = 64, kBlockBytes = 4 * kBytes;

  KernelBuilder &b;
  Value memory;
};

} // namespace llq

#endif // LIB_CODEGEN_CPU_PLANETABLES_H
