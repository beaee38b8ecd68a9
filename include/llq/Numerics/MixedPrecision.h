//===- MixedPrecision.h - Groups of different widths ------------*- C++ -*-===//
//
// SliM-LLM (arXiv 2405.14917) once the widths of groups are known
// (llq/Numerics/GroupWidths.h): the grids of llq/Numerics/AffineGrid.h in the
// loop of llq/Numerics/Compensation.h. The grid of a group is that of its
// present values, searched with more weight on its salient elements, those
// whose salience (w_ij V_jj)^2 is more than some standard deviations above the
// mean of the group's columns in all rows.
//
// Departures from the authors' code: salience is that of the weights as they
// were given, so that rows are independent; a group without salient elements is
// one without, where theirs fails. As there, salient elements have weight 1
// unless asked otherwise, and then nothing depends on which they are.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_MIXEDPRECISION_H
#define LLQ_NUMERICS_MIXEDPRECISION_H

#include "llq/Numerics/AffineGrid.h"
#include "llq/Numerics/Compensation.h"

#include <cstdint>
#include <optional>
#include <span>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

/// Free choices besides the widths.
struct MixedPrecisionOptions {
  AffineGridOptions grid;
  /// Weight of salient elements in the search of a range.
  double salientWeight = 1;
  /// Standard deviations above the mean from which on elements are salient; the
  /// paper has 3, the authors' code 2.
  double salientDeviations = 2;
};

/// Storage of groups of different widths, G groups in a row.
struct MixedRows {
  uint8_t *codes; ///< [rows, columns], one code a byte
  float *scales;  ///< [rows, G]; encodeF16 is exact on them if they are F16
  float *offsets; ///< [rows, G], the same
};

/// Quantizes weights[rows, K] in the compensated loop, group g to widths[g]
/// bits, 1 to 8, groups being those of the factor. Its columns are in any order
/// but a stored permutation. Adds to `loss`. Returns the first weight that is
/// not finite, in which case nothing is written.
[[nodiscard]] std::optional<NonFiniteWeight>
quantizeMixed(const float *weights, int64_t rows, const GPTQFactor &factor,
              std::span<const uint8_t> widths,
              const MixedPrecisionOptions &options, const MixedRows &result,
              CompensatedLoss &loss, ThreadPool &pool);

/// weights[rows, columns] from their quantized form, in plain loops.
void dequantizeMixed(const uint8_t *codes, const float *scales,
                     const float *offsets, int64_t rows, int64_t columns,
                     int64_t groupSize, float *weights);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_MIXEDPRECISION_H
