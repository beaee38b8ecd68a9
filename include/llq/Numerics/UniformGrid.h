//===- UniformGrid.h - Round-to-nearest on uniform grids --------*- C++ -*-===//
//
// The quantizer of one group of weights and of a block of rows: choice of scale
// and zero point, rounding to codes, and the way back in plain loops. It is all
// there is to RTN, and the inner step of the methods that move weights or
// scales before they round (GPTQ, AWQ, SmoothQuant).
//
// A weight matrix W[N, K] is row-major, one row per output. Groups are runs of
// `groupSize` weights of a row, the last one of a row possibly shorter. A group
// has a scale s > 0 and an integer zero point z; code c stands for s * (c - z).
//
// Everything is computed in f32 with one rounding per operation and in an order
// that depends on the group alone: equal inputs give equal bytes for any
// division of the rows among threads, on any machine.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_UNIFORMGRID_H
#define LLQ_NUMERICS_UNIFORMGRID_H

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

namespace llq::numerics {

/// How scale and zero point follow from the weights of a group. With M = 2^b-1,
/// lo = min(0, min v) and hi = max(0, max v):
enum class GridScheme : uint8_t {
  /// `asym_range0`: s = (hi - lo) / M, z = round(-lo / s). Codes 0..M, a zero
  /// point per group.
  Asymmetric,
  /// `sym_mid`: the range is [-A, A], A = max(hi, -lo), or [0, A] where no
  /// weight is negative; s = range / M, z = 2^(b-1). Codes 0..M.
  Symmetric,
  /// `sym_signed`: s = max|v| / (2^(b-1) - 1), signed codes of magnitude up to
  /// 2^(b-1) - 1, held as unsigned codes 1..M by adding z = 2^(b-1).
  Signed,
};

/// Type in which the scale is stored. The scale is rounded to it before zero
/// point and codes are computed.
enum class ScaleType : uint8_t { F16, F32 };

/// Whether a smaller range than that of the weights is tried.
enum class ClipSearch : uint8_t {
  None,
  /// lo and hi shrink by p = 1 - i/100, i = 0..79; the first p with the least
  /// sum |s (c - z) - v|^2.4 wins.
  MSE,
};

/// The grid's free choices. `bits` is 2..8; `groupSize` >= 0, 0 meaning one
/// group per row.
struct UniformGridOptions {
  unsigned bits = 4;
  int64_t groupSize = 128;
  GridScheme scheme = GridScheme::Asymmetric;
  ScaleType scaleType = ScaleType::F16;
  ClipSearch clip = ClipSearch::None;

  /// Whether bits and group size are in range. Every function below requires
  /// it.
  bool isValid() const { return bits >= 2 && bits <= 8 && groupSize >= 0; }

  /// Weights in a whole group of a row of `columns` weights (at least 1).
  int64_t groupLength(int64_t columns) const;
  /// Groups in a row of `columns` weights.
  int64_t groupsPerRow(int64_t columns) const;

  /// Largest code, M = 2^bits - 1.
  int32_t maxCode() const { return (1 << bits) - 1; }
  /// Smallest code that occurs: 1 for Signed, else 0.
  int32_t minCode() const { return scheme == GridScheme::Signed ? 1 : 0; }
  /// The middle code 2^(bits-1), the zero point of Symmetric and Signed.
  int32_t midCode() const { return 1 << (bits - 1); }
  /// Whether zero points differ between groups and thus have to be stored.
  bool storesZeros() const { return scheme == GridScheme::Asymmetric; }
};

/// Scale and zero point of one group.
struct GroupGrid {
  float scale;  ///< positive, finite, exact in the scale type
  int32_t zero; ///< minCode..maxCode
};

/// A weight that is NaN or infinite, and where it is.
struct NonFiniteWeight {
  int64_t row, column;
  float value;
};

/// `scale` >= 0 as it is stored in `type`: for F16 rounded to nearest even,
/// never to zero (2^-24 instead) nor to infinity (65504 instead); for F32 only
/// kept from zero (2^-149 instead) and infinity (the largest f32 instead).
float roundScale(float scale, ScaleType type);

/// The grid of a group of finite weights. A group of zeros, or an empty one,
/// gets the range -1..1.
GroupGrid chooseGrid(std::span<const float> group,
                     const UniformGridOptions &options);

/// codes[j] = clamp(round(group[j] / s) + z, minCode, maxCode), rounding half
/// to even after a true division. Weights are finite; `codes` has as many
/// elements as `group`.
void quantizeGroup(std::span<const float> group, GroupGrid grid,
                   const UniformGridOptions &options, std::span<uint8_t> codes);

/// weights[j] = s * (codes[j] - z), in f32. The reference decode.
void dequantizeGroup(std::span<const uint8_t> codes, GroupGrid grid,
                     std::span<float> weights);

/// The objective of ClipSearch::MSE, sum |s (c - z) - v|^2.4 with s (c - z)
/// rounded to f32, evaluated in double precision: slow, for tests and reports.
double clipObjective(std::span<const float> group, GroupGrid grid,
                     const UniformGridOptions &options);

/// Storage of the quantized form of a block of rows, G = groupsPerRow(columns).
struct UniformRows {
  uint8_t *codes; ///< [rows, columns], one code a byte
  float *scales;  ///< [rows, G]; encodeF16 is exact on them if they are F16
  uint8_t *zeros; ///< [rows, G]; may be null unless options.storesZeros()
};

/// Quantizes weights[rows, columns]. Returns the first weight, in row-major
/// order, that is not finite, in which case the output is incomplete; its row
/// counts from the start of the block. Blocks are independent of each other.
[[nodiscard]] std::optional<NonFiniteWeight>
quantizeRows(const float *weights, int64_t rows, int64_t columns,
             const UniformGridOptions &options, const UniformRows &result);

/// weights[rows, columns] from their quantized form, in plain loops. Without
/// zeros, the zero point is midCode().
void dequantizeRows(const uint8_t *codes, const float *scales,
                    const uint8_t *zeros, int64_t rows, int64_t columns,
                    const UniformGridOptions &options, float *weights);

/// How many of weights[rows, columns] lie beyond the ends of their group's
/// grid, scales[rows, G] and the zero points that `getZero` says, by more than
/// half a step. Weights are finite.
int64_t countClipped(const float *weights, int64_t rows, int64_t columns,
                     const UniformGridOptions &options,
                     std::span<const float> scales,
                     const std::function<float(int64_t group)> &getZero);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_UNIFORMGRID_H
