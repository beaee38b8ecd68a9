//===- UniformWeight.h - From grids to the uniform format -------*- C++ -*-===//
//
// Methods that end on a uniform grid have one code per byte and f32 scales;
// `#llq.uniform` stores bit streams and scales of a type. This is the bridge.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_QUANTIZE_UNIFORMWEIGHT_H
#define LLQ_QUANTIZE_UNIFORMWEIGHT_H

#include "llq/Quantize/Method.h"

#include <cstdint>
#include <vector>

namespace llq {

/// The format that stores weights on `grid`; with `floatZeros`, zero points
/// that are no codes, as f16.
UniformAttr getUniformFormat(mlir::MLIRContext *context,
                             const numerics::UniformGridOptions &grid,
                             bool floatZeros = false);

/// Codes, scales and zero points of a block of rows, before they are stored.
struct UniformBlock {
  /// Room for `rows` rows of `columns` weights.
  UniformBlock(int64_t rows, int64_t columns,
               const numerics::UniformGridOptions &grid,
               bool floatZeros = false);

  /// For the functions of llq/Numerics/UniformGrid.h.
  numerics::UniformRows view();

  std::vector<uint8_t> codes;    ///< [rows, columns]
  std::vector<float> scales;     ///< [rows, groups]
  std::vector<uint8_t> zeros;    ///< [rows, groups]; empty if none are stored
  std::vector<float> floatZeros; ///< the same for zero points as f16
};

/// Writes `block`, the rows [begin, begin + rows) of the matrix, to `weight`,
/// whose format is getUniformFormat of the same grid, and adds to its range
/// what the block says of the source weights `source[rows, columns]`. Blocks
/// may be stored from several threads.
void storeUniformBlock(const UniformBlock &block, int64_t begin,
                       const numerics::UniformGridOptions &grid,
                       llvm::ArrayRef<float> source, QuantizedWeight &weight);

/// Fills the codes, scales and zero points of a block of rows. Returns the
/// first weight that is not finite, as the functions of llq/Numerics do; a
/// layer has none.
using QuantizeUniformFn =
    llvm::function_ref<std::optional<numerics::NonFiniteWeight>(
        const RowBlock &, const numerics::UniformRows &)>;

/// A layer on its grid, for methods that treat rows independently.
mlir::FailureOr<QuantizedWeight> quantizeUniform(const LinearLayer &layer,
                                                 QuantizeUniformFn quantize);

/// Rounds the weights of `layer` to the nearest codes of its grid: all of RTN,
/// and what other methods do with an embedding.
mlir::FailureOr<QuantizedWeight> roundToNearest(const LinearLayer &layer);

} // namespace llq

#endif // LLQ_QUANTIZE_UNIFORMWEIGHT_H
