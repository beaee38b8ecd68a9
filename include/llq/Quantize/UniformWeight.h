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

/// The format that stores weights on `grid`.
UniformAttr getUniformFormat(mlir::MLIRContext *context,
                             const numerics::UniformGridOptions &grid);

/// Codes, scales and zero points of a block of rows, before they are stored.
struct UniformBlock {
  /// Room for `rows` rows of `columns` weights.
  UniformBlock(int64_t rows, int64_t columns,
               const numerics::UniformGridOptions &grid);

  /// For the functions of llq/Numerics/UniformGrid.h.
  numerics::UniformRows view();

  std::vector<uint8_t> codes; ///< [rows, columns]
  std::vector<float> scales;  ///< [rows, groups]
  std::vector<uint8_t> zeros; ///< [rows, groups]; empty if none are stored
};

/// Writes `block`, the rows [begin, begin + rows) of the matrix, to `weight`,
/// whose format is getUniformFormat of the same grid. Blocks may be stored from
/// several threads.
void storeUniformBlock(const UniformBlock &block, int64_t begin,
                       const numerics::UniformGridOptions &grid,
                       QuantizedWeight &weight);

/// Rounds the weights of `layer` to the nearest codes of its grid: all of RTN,
/// and what other methods do with an embedding.
mlir::FailureOr<QuantizedWeight> roundToNearest(const LinearLayer &layer);

} // namespace llq

#endif // LLQ_QUANTIZE_UNIFORMWEIGHT_H
