//===- Decoder.h - How kernels decode a weight format -----------*- C++ -*-===//
//
// The decode recipe of a format for the CPU: given a packed tile, where its
// scales are and how a block of 32 columns becomes unsigned bytes or f32
// values. The product kernels know nothing else of a format.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CODEGEN_CPU_DECODER_H
#define LIB_CODEGEN_CPU_DECODER_H

#include "KernelBuilder.h"

#include <memory>

namespace llq {

/// A plane of bits of a block, each worth `weight`: bit f of byte 4 * row + j
/// is that of column 4 * f + j. Weights are 1 to 15; `alike` says that the bits
/// of a byte are.
struct BitPlane {
  mlir::Value bits;
  int64_t weight = 1;
  bool alike = false;
};

/// Codes of a block of one term: vectors as CPUDecoder::codes returns them, or
/// the planes that they are the sum of, or none at all.
struct TermCodes {
  llvm::SmallVector<mlir::Value> codes;
  llvm::SmallVector<BitPlane> planes;

  bool empty() const { return codes.empty() && planes.empty(); }
};

/// Codes here and there in a block. Rows have up to four in each of `steps`
/// steps, `counts` of 16 rows say how many in all. A step has its codes one
/// after another from `codes` on, row by row, and as many columns of 5 bits
/// from `columns` on; the next step follows it.
struct SparseBlock {
  mlir::Value counts, steps, codes, columns;
};

/// Emits the code that decodes tiles of a weight w[N,K].
///
/// The value of row r and column c is `scale(unit)[r] * values(...)[r]`, where
/// a unit is a range of `unitColumns` columns. With integer codes, `values =
/// codes - zero(unit)`, or, in a format with several streams of codes, the sum
/// of `coefficient(unit, term)[r] * terms(...)[term]` and `offset(unit)[r]`.
class CPUDecoder {
public:
  using Value = mlir::Value;
  virtual ~CPUDecoder() = default;

  /// Bytes of a tile, its blocks of 32 columns, and the columns of a unit: a
  /// multiple of 32, or 16, 8 or 4.
  int64_t tileBytes = 0;
  int64_t blocks = 0;
  int64_t unitColumns = 0;
  /// Where the blocks of a tile begin and the bytes of each.
  int64_t blocksOffset = 0;
  int64_t blockBytes = 0;
  /// Largest code; 0 if the format has no integer codes.
  int64_t maxCode = 0;
  /// Whether zero points are integers.
  bool integerZeros = false;

  int64_t getUnits() const {
    return (blocks * 32 + unitColumns - 1) / unitColumns;
  }

  /// Codes of a block in eight vectors of `bytes` unsigned bytes: byte
  /// 4 * row + j of vector s is the code of column 4 * s + j. `firstByte`
  /// selects the rows from firstByte / 4 on.
  virtual llvm::SmallVector<Value> codes(KernelBuilder &b, Value tile,
                                         Value block, int64_t firstByte,
                                         int64_t bytes) const {
    return {};
  }

  /// Scales of rows [row, row + rows) of a unit as f32, or null for ones.
  virtual Value scale(KernelBuilder &b, Value tile, Value unit, int64_t row,
                      int64_t rows) const {
    return {};
  }

  /// Zero points likewise, or null for zeros.
  virtual Value zero(KernelBuilder &b, Value tile, Value unit, int64_t row,
                     int64_t rows) const {
    return {};
  }

  /// The 32 columns of a block, each a vector of 16 rows, without the scale and
  /// without sparse codes. `zeros[u]` is the zero point of the block's unit u.
  virtual llvm::SmallVector<Value> values(KernelBuilder &b, Value tile,
                                          Value block,
                                          llvm::ArrayRef<Value> zeros) const;

  //===--- Formats with several streams of codes --------------------------===//

  /// Streams of codes; 0: there is one with scale and zero point. Units are
  /// whole blocks and have no scale.
  int64_t terms = 0;
  /// Whether some streams are those of the first block of a unit alone.
  bool hasFirstBlock = false;

  /// Whether some terms can be planes, and whether all are, at no cost.
  /// Products with planes are looked up where the level can do that
  /// (PlaneTables.h).
  bool hasPlanes = false;
  bool onlyPlanes = false;

  /// Codes of a block of each term; none for a term that is not in blocks of
  /// this kind, `first` in its unit or not. `firstByte` and `bytes` select rows
  /// as for `codes`. Unless they are `forLookUp`, planes are single ones of
  /// weight 1.
  virtual llvm::SmallVector<TermCodes>
  getTerms(KernelBuilder &b, Value tile, Value block, Value unit, bool first,
           bool forLookUp, int64_t firstByte, int64_t bytes) const {
    return {};
  }
  /// Largest code of a term of getTerms.
  virtual int64_t getMaxCode(int64_t term) const { return maxCode; }

  /// Whether the last two terms are a one for each sparse code, and these
  /// codes. getTerms has none for them.
  bool hasSparseCodes = false;
  virtual SparseBlock getSparseBlock(KernelBuilder &b, Value tile,
                                     Value block) const {
    return {};
  }
  /// Coefficients of a term, of rows [row, row + rows) of a unit.
  virtual Value coefficient(KernelBuilder &b, Value tile, Value unit,
                            int64_t term, int64_t row, int64_t rows) const {
    return {};
  }
  /// What is added to all weights of these rows of a unit, or null for nothing.
  virtual Value offset(KernelBuilder &b, Value tile, Value unit, int64_t row,
                       int64_t rows) const {
    return {};
  }

  //===--- Formats whose units differ -------------------------------------===//

  /// Ways to decode a unit; 0: all units are decoded alike, by this decoder.
  int64_t variants = 0;

  /// Which of them a unit needs, an index; another stands for variant 0.
  virtual Value variant(KernelBuilder &b, Value tile, Value unit) const {
    return {};
  }
  virtual std::unique_ptr<CPUDecoder> createVariant(int64_t index) const {
    return nullptr;
  }
};

/// Calls `body` with the decoder of a unit: `decoder` itself, or in a branch of
/// its own each of its variants. `body` returns as many values as `types` has.
llvm::SmallVector<mlir::Value> perVariant(
    KernelBuilder &b, const CPUDecoder &decoder, mlir::Value tile,
    mlir::Value unit, mlir::TypeRange types,
    llvm::function_ref<llvm::SmallVector<mlir::Value>(const CPUDecoder &)>
        body);

/// Calls `take` for each step of sparse codes, carrying values, with bytes
/// [firstByte, firstByte + bytes) of: whether byte 4 * row + j has a code, the
/// codes, zero elsewhere, and in the low 5 bits their columns.
KernelBuilder::Carried
forSparseCodes(KernelBuilder &b, const SparseBlock &sparse, int64_t firstByte,
               int64_t bytes, mlir::ValueRange init,
               llvm::function_ref<KernelBuilder::Carried(
                   mlir::Value isThere, mlir::Value codes, mlir::Value columns,
                   mlir::ValueRange carried)>
                   take);

/// Calls `take` with sparse codes of a block as f32, one of each row at a time:
/// what each adds to the weight that the other terms make, and in the low 5
/// bits of i32 its column. Rows that have none have 0 at column 0.
KernelBuilder::Carried forSparseValues(
    KernelBuilder &b, const CPUDecoder &decoder, mlir::Value tile,
    mlir::Value block, mlir::Value unit, mlir::ValueRange init,
    llvm::function_ref<KernelBuilder::Carried(
        mlir::Value values, mlir::Value columns, mlir::ValueRange carried)>
        take);

/// The 32 columns of a block's codes, those of all rows, as f32.
llvm::SmallVector<mlir::Value> toFloats(KernelBuilder &b,
                                        llvm::ArrayRef<mlir::Value> codes);

/// Whether column `c` of a block has its bit set, by row: `plane` holds one bit
/// for each column of all rows, as 32-bit words.
mlir::Value testColumn(KernelBuilder &b, mlir::Value plane, int64_t c);

/// The codes of a plane of weight 1, as CPUDecoder::codes returns them.
llvm::SmallVector<mlir::Value> expandPlane(KernelBuilder &b, mlir::Value plane);

/// Eight vectors of codes, as CPUDecoder::codes returns them, from bit planes
/// of `widths` bits, low bits first, at `pointer + offset`.
llvm::SmallVector<mlir::Value> loadPlanes(KernelBuilder &b, mlir::Value pointer,
                                          int64_t offset,
                                          llvm::ArrayRef<int64_t> widths,
                                          int64_t firstByte, int64_t bytes);

/// The decoder of a weight of `type`, a tensor or !llq.quantized, whose layout
/// has been verified.
std::unique_ptr<CPUDecoder> createCPUDecoder(mlir::Type type);

/// Attaches the recipes of GroupedDecoders.cpp, E8PDecoder.cpp and
/// OutliersDecoder.cpp.
void registerGroupedCPUDecoders(mlir::DialectRegistry &registry);
void registerE8PCPUDecoder(mlir::DialectRegistry &registry);
void registerOutliersCPUDecoder(mlir::DialectRegistry &registry);

} // namespace llq

#include "llq/Codegen/CPUDecodeInterface.h.inc"

#endif // LIB_CODEGEN_CPU_DECODER_H
