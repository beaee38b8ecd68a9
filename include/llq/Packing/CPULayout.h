//===- CPULayout.h - The order in which CPU kernels read weights -*- C++
//-*-===//
//
// A matrix w[N,K] is cut into tiles of 16 rows (N is padded to a multiple of 32
// with zero rows), a tile into blocks of 32 columns (K is padded with zeros). A
// tile is what one work item of a kernel reads, front to back:
//
//   source types:  Kp columns of 16 elements                  (Kp = padded K)
//   formats:       whatever their CPULayoutInterface says; for #llq.uniform
//                  scales, zeros, then blocks of bit planes, see
//                  UniformLayout.cpp
//
// The unit of 16 rows x 4 columns is 64 bytes of 8-bit codes: one AVX-512
// register, two AVX2 registers, four of SSE or NEON, so that every level reads
// the same bytes without a shuffle.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_PACKING_CPULAYOUT_H
#define LLQ_PACKING_CPULAYOUT_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Support/LLVM.h"

namespace llq {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kBlockColumns = 32;
/// Bytes of a channel's number in the order of permuted activations, of which
/// there are up to kMostPermutedColumns.
inline constexpr int64_t kOrderBytes = 2;
inline constexpr int64_t kMostPermutedColumns = 65536;
/// Rows are padded to a multiple of this, so that padded columns of an
/// activation buffer are always written (with zeros).
inline constexpr int64_t kRowPadding = 32;

/// `columns` rounded up: the stride of activation buffers, in elements.
inline int64_t getPaddedColumns(int64_t columns) {
  return (columns + kBlockColumns - 1) / kBlockColumns * kBlockColumns;
}

inline int64_t getPaddedRows(int64_t rows) {
  return (rows + kRowPadding - 1) / kRowPadding * kRowPadding;
}

/// Bytes of one tile of a weight of `type` (a tensor or !llq.quantized). Fails
/// with an error if the CPU target has no layout for it.
mlir::FailureOr<int64_t>
getTileBytes(mlir::Type type,
             llvm::function_ref<mlir::InFlightDiagnostic()> emitError);
/// The same for a weight that has one.
int64_t getTileBytes(mlir::Type type);

/// Bytes that such a weight has behind all tiles of its buffer.
int64_t getTailBytes(mlir::Type type);

/// Bytes that such a weight takes in a file: tiles, with their padding, and
/// tail.
int64_t getPackedBytes(mlir::Type type);

} // namespace llq

#include "llq/Packing/CPULayoutInterface.h.inc"

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace llq {
/// Attaches the layouts to the formats.
void registerCPULayouts(mlir::DialectRegistry &registry);
} // namespace llq

#endif // LLQ_PACKING_CPULAYOUT_H
