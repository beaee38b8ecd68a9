//===- PartialBinarization.h - Few weights in 8 bits, one for all -*- C++ -*-=//
//
// Shang et al., "PB-LLM: Partially Binarized Large Language Models" (arXiv
// 2310.00034), its post-training form: a share of the weights, the most salient
// ones wherever they are, keep 8 bits on a grid of their row; one bit is left
// for each of the others, which chooses one of two values of its group. All in
// the loop of llq/Numerics/Compensation.h.
//
// Departures from the authors' code: once the paper's mask is known, it is
// chosen again by what a bit in place of the weight would cost (`rounds`); a
// group's two values come from the weights that they stand for (the authors'
// code counts salient ones as zeros, which makes the values too small:
// BinaryScale::Reference); the bit of a weight at the mean says "+", where
// their code stores a third value; dead columns have no part in masks and
// values; any group size, and any order of columns.
//
// Measured: output error over that of no weights at all, in %, 128 x 512
// weights, correlated inputs of which eight are 10 (3) times as large, mean of
// 3 layers of normal weights, 10 % salient, groups of 128:
//   paper's mask by magnitude           13.4 (12.8)
//   by [H^-1]_jj                         5.9 (13.1)
//   by the Hessian                       7.1 (11.6)
//   the same, BinaryScale::Reference     6.8 (11.7)
//   Hessian, rounds = 1 (default)        4.7 (10.6)
//   rounds = 4                           4.7 (10.6)
//   rounds = 2, BinaryScale::Reference   4.8 (11.0)
//   rounds = 2, groups of 64 / of a row  4.6 (10.4) / 4.7 (11.1)
//   rounds = 2, columns by activation    4.6 (11.1)
// With 1/7 salient 5.4 (9.1) becomes 3.6 (8.2); weights of heavier tails rank
// alike.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_PARTIALBINARIZATION_H
#define LLQ_NUMERICS_PARTIALBINARIZATION_H

#include "llq/Numerics/Compensation.h"
#include "llq/Numerics/Salience.h"

#include <cstdint>
#include <optional>

namespace llq::numerics {

/// Which weights of a group its two values are fitted to.
enum class BinaryScale : uint8_t {
  /// Those that are stored as bits.
  Masked,
  /// All, salient ones as zeros: for published numbers only.
  Reference,
};

/// Free choices of PB-LLM.
struct PartialBinaryOptions {
  /// Share of salient weights, 0 to 1. Of n weights, those above the one of
  /// ascending rank floor(n (1 - salient)) are, n those of a group of columns
  /// in all rows: one less than salient * n, fewer if some are equal.
  double salient = 0.1;
  SalienceCriterion criterion = SalienceCriterion::Hessian;
  /// How often masks are chosen again, by the error that a bit would make
  /// instead of the weight it would stand for; 0: the paper.
  int rounds = 1;
  /// As in UniformGridOptions; 0: one group per row.
  int64_t groupSize = 128;
  BinaryScale binaryScale = BinaryScale::Masked;
  /// Type of everything stored but codes.
  ScaleType scaleType = ScaleType::F16;
};

/// Storage of the quantized form of a matrix, G = groups in a row. A weight is
/// salientScale * (code - salientZero) where it is salient, else
/// scale * code + offset.
struct PartialBinaryRows {
  uint8_t *codes;        ///< [rows, K]: of salient weights 0..255, else 0 or 1
  uint8_t *salient;      ///< [rows, K]: 1 or 0
  float *scales;         ///< [rows, G], at least 0
  float *offsets;        ///< [rows, G]
  float *salientScales;  ///< [rows], positive
  uint8_t *salientZeros; ///< [rows]
};

/// Quantizes weights[rows, K]. Masks and values come from the weights as they
/// are given, so the factor has static groups, of any size. Adds to `loss`.
/// Returns the first weight that is not finite, in which case nothing is
/// written. Takes 4 bytes for each weight of a group of columns and thread.
[[nodiscard]] std::optional<NonFiniteWeight> quantizePartialBinary(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    const PartialBinaryOptions &options, const PartialBinaryRows &result,
    CompensatedLoss &loss, ThreadPool &pool);

/// weights[rows, K] from their quantized form. The reference decode.
void dequantizePartialBinary(const PartialBinaryRows &quantized, int64_t rows,
                             int64_t columns, int64_t groupSize,
                             float *weights);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_PARTIALBINARIZATION_H
