//===- DualBinarization.h - Weights as sums of two bit planes ---*- C++ -*-===//
//
// Chen et al., "DB-LLM: Accurate Dual-Binarization for Efficient LLMs" (arXiv
// 2402.11960). A weight is a sum of two bits with a scale each,
//
//   w = alpha1 b1 + alpha2 b2,  b1, b2 in {0, 1},
//
// alpha1 and alpha2 per row and group of columns: one of the levels 0, alpha1,
// alpha2 and alpha1 + alpha2. The published start alpha1 = 2s, alpha2 = -s is
// the signed 2-bit grid -s..2s; what follows frees the scales.
//
// The authors published no code and train the scales. Here they are found per
// group from the weights (fitDualScales), or from the values that the
// compensated loop hands on (quantizeDualBinary with a factor), and then fit
// once more, at the layer's output, to what planes are by then
// (refitDualScales). llq-tune-scales trains them, as those of any format.
//
// Departures from the splitting rule of the paper, which holds for
// alpha1 > 0 > alpha2 and alpha1 + alpha2 > 0: a weight goes to the nearest of
// the four levels whatever their order, which is the same where the rule holds,
// ties included. The mirrored grid is tried too; negating weights and scales
// gives the same planes.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_DUALBINARIZATION_H
#define LLQ_NUMERICS_DUALBINARIZATION_H

#include "llq/Numerics/Compensation.h"
#include "llq/Numerics/UniformGrid.h"

#include <cstdint>
#include <optional>
#include <span>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

/// Where the search for a group's scales begins.
enum class DualStart : uint8_t {
  /// alpha1 = 2s, alpha2 = -s with s = max|w| / 2.
  Largest,
  /// The best s = f max|w| / 2, f from 0.3 to 1, of this and of the negated
  /// grid; both are pursued.
  Search,
};

/// Free choices of dual binarization.
struct DualBinaryOptions {
  /// As in UniformGridOptions; 0: one group per row.
  int64_t groupSize = 128;
  /// Scales are rounded to it before planes follow from them.
  ScaleType scaleType = ScaleType::F16;
  DualStart start = DualStart::Search;
  /// Most rounds of the best planes for the scales and the best scales for the
  /// planes in turn.
  int rounds = 20;
};

/// alpha1 and alpha2 of a group: finite, exact in the scale type, possibly 0.
struct DualScales {
  float first, second;
};

/// The scales found for a group of finite weights. Its sum of squared errors is
/// at most that of the start. A group of zeros has scales of 0.
DualScales fitDualScales(std::span<const float> group,
                         const DualBinaryOptions &options);

/// codes[j] = b1 + 2 b2 of the level nearest to group[j]. Of two levels as
/// near, in ascending order with alpha1 > 0, the lower one of the first and of
/// the last two and the upper one of those in the middle.
void quantizeGroup(std::span<const float> group, DualScales scales,
                   std::span<uint8_t> codes);

/// weights[j] = alpha1 b1 + alpha2 b2, in f32. The reference decode.
void dequantizeGroup(std::span<const uint8_t> codes, DualScales scales,
                     std::span<float> weights);

/// Storage of the planes of a block of rows, G groups in a row.
struct DualBinaryRows {
  uint8_t *codes; ///< [rows, columns], b1 + 2 b2
  float *scales;  ///< [rows, G, 2]; encodeF16 is exact on them if they are F16
};

/// Quantizes weights[rows, columns] without calibration. Returns the first
/// weight that is not finite, in which case the output is incomplete. Blocks of
/// rows are independent of each other.
[[nodiscard]] std::optional<NonFiniteWeight>
quantizeDualBinary(const float *weights, int64_t rows, int64_t columns,
                   const DualBinaryOptions &options,
                   const DualBinaryRows &result);

/// Quantizes weights[rows, K] in the compensated loop: the scales of a group
/// are those of its present values. The group size is that of the factor;
/// columns of `result` are in the order of permutation() if the factor's
/// options say so (isStoredPermuted). Adds to `loss`. Returns the first weight
/// that is not finite, in which case nothing is written.
[[nodiscard]] std::optional<NonFiniteWeight>
quantizeDualBinary(const float *weights, int64_t rows, const GPTQFactor &factor,
                   const DualBinaryOptions &options,
                   const DualBinaryRows &result, CompensatedLoss &loss,
                   ThreadPool &pool);

/// Sets the scales of `result` to those that with the planes as they are make
/// delta (H + lambda I) delta^T least, delta = weights - ŵ, for a symmetric
/// H[K, K] of the columns as they are stored; as far as scales of their type
/// can, and never to worse ones. A scale whose bits are all 0, or all those of
/// the other, stays. Weights of columns without inputs, H_jj = 0, count as 0.
/// Returns by how much the sum over rows has fallen.
///
/// The groups of a row are solved for 16 at a time, the last ones first; with
/// no more the result is the least there is. Takes somewhat more than 2 rows
/// K^2 operations.
double refitDualScales(const float *weights, int64_t rows, int64_t columns,
                       std::span<const float> secondMoment, double lambda,
                       const DualBinaryOptions &options,
                       const DualBinaryRows &result, ThreadPool &pool);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_DUALBINARIZATION_H
