//===- HQQ.h - Uniform grids with a real zero point -------------*- C++ -*-===//
//
// Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning
// Models" (2023). Without calibration: the step of a group comes from its
// range, its zero point, a real number, from minimising the sum of |w - ŵ|^p, p
// < 1, by half-quadratic splitting.
//
// Code c of a group with scale s and zero z stands for s * (c - z); s is stored
// as the scale type says, z as f16, and codes are computed from both as stored.
//
// Departures from the authors' code: a group stops by its own error instead of
// the whole tensor's and keeps its best zero instead of the last, so rows are
// independent; a step is at least the 1024th part of the group's largest
// weight, so that z fits f16 (theirs is 1 for groups of a range up to 1e-4,
// which tiny weights do not survive).
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_HQQ_H
#define LLQ_NUMERICS_HQQ_H

#include "llq/Numerics/UniformGrid.h"

#include <cstdint>
#include <span>

namespace llq::numerics {

/// Free choices of HQQ. The grid's scheme and clip search have no meaning here.
/// Whether the search begins at a whole zero point, so that a weight of zero
/// stays one unless that costs the others more.
enum class FirstZero : uint8_t {
  Published, ///< with 4 bits, as the authors' code does
  Rounded,
  Exact,
};

struct HQQOptions {
  UniformGridOptions grid{.groupSize = 64};
  double power = 0.7; ///< p of the error model, 0 < p < 1
  double beta = 10;   ///< weight of the splitting, > 0
  int iterations = 20;
  /// Measures errors in steps of the grid. With the authors' absolute measure
  /// errors below beta^(-1/(2-p)), 0.17, are left to the mean square, and those
  /// of a language model all are.
  bool normalise = false;
  FirstZero firstZero = FirstZero::Published;

  bool roundsFirstZero() const {
    return firstZero == FirstZero::Rounded ||
           (firstZero == FirstZero::Published && grid.bits == 4);
  }
};

/// Scale and zero point of a group, not yet rounded to their storage.
struct FloatZeroGrid {
  float scale; ///< positive
  float zero;  ///< in codes, of magnitude at most 1024 + 2^bits
};

/// The grid of a group of finite weights before the first iteration: what
/// round-to-nearest with a real zero point uses, or the next whole one. The
/// scale is rounded to its type.
FloatZeroGrid chooseFloatZeroGrid(std::span<const float> group,
                                  const HQQOptions &options);

/// The grid after the iterations, best zero of all; its mean |w - ŵ| is at most
/// that of chooseFloatZeroGrid.
FloatZeroGrid searchFloatZero(std::span<const float> group,
                              const HQQOptions &options);

/// codes[j] = clamp(round(group[j] / scale + zero), 0, M), half to even.
void quantizeGroup(std::span<const float> group, FloatZeroGrid grid,
                   const UniformGridOptions &options, std::span<uint8_t> codes);

/// weights[j] = scale * (codes[j] - zero), in f32. The reference decode.
void dequantizeGroup(std::span<const uint8_t> codes, FloatZeroGrid grid,
                     std::span<float> weights);

/// Storage of a block of rows, G = groupsPerRow(columns).
struct FloatZeroRows {
  uint8_t *codes; ///< [rows, columns], one code a byte
  float *scales;  ///< [rows, G]; encodeF16 is exact on them if they are F16
  float *zeros;   ///< [rows, G]; encodeF16 is exact on them
};

/// Quantizes weights[rows, columns]. Returns the first weight, in row-major
/// order, that is not finite, in which case the output is incomplete. Blocks
/// are independent of each other.
[[nodiscard]] std::optional<NonFiniteWeight>
quantizeHQQ(const float *weights, int64_t rows, int64_t columns,
            const HQQOptions &options, const FloatZeroRows &result);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_HQQ_H
