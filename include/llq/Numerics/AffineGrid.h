//===- AffineGrid.h - Grids with an offset, 1 to 8 bits ---------*- C++ -*-===//
//
// Code c of a group stands for scale * c + offset, which unlike an integer zero
// point serves every width, one bit included. The quantizers of Huang et al.,
// "SliM-LLM: Salience-Driven Mixed-Precision Quantization for Large Language
// Models" (arXiv 2405.14917):
//
// - From two bits on, with M = 2^b - 1, lo = min(0, min w), hi = max(0, max w):
//   step tau (hi - lo) / M, zero z = round(-lo M / (hi - lo)), offset
//   -step z. tau is 1, or the one of a search around it that makes the weighted
//   sum of |error|^p least.
// - One bit: the two values mu -+ alpha around the mean mu.
//
// Both parameters are rounded to their type before codes follow from them.
//
// Departure from the authors' code: alpha is mean|w - mu|, which is the least
// squares solution; theirs is mean|w|.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_AFFINEGRID_H
#define LLQ_NUMERICS_AFFINEGRID_H

#include "llq/Numerics/UniformGrid.h"

#include <cstdint>
#include <span>

namespace llq::numerics {

/// How far from the mean the two values of one bit are.
enum class OneBitScale : uint8_t {
  Deviation, ///< mean|w - mu|
  Magnitude, ///< mean|w|, as the authors' code has it
};

/// Free choices of affine grids.
struct AffineGridOptions {
  ScaleType scaleType = ScaleType::F16;
  OneBitScale oneBit = OneBitScale::Deviation;
  /// tau = 1, then 1 + range k / steps, then 1 - range k / steps for k from 1
  /// to `steps`; the first one with the least loss. 0 steps: no search.
  int steps = 50;
  double range = 0.1; ///< 0 to below 1
  /// p > 0; 2 and 2.4 are fast. The paper has 2, the authors' code 2.4.
  double exponent = 2.4;
};

/// Scale and offset of a group.
struct AffineGrid {
  float scale;  ///< positive, finite, exact in the scale type
  float offset; ///< finite, exact in the scale type
};

/// The grid of a group of finite weights without a search, `bits` from 1 to 8.
AffineGrid plainAffineGrid(std::span<const float> group, unsigned bits,
                           const AffineGridOptions &options);

/// The grid of the best tau for sum_j omega_j |ŵ_j - w_j|^p, omega >= 0; with
/// an empty `omega` all of them are 1. One bit has nothing to search.
AffineGrid searchAffineGrid(std::span<const float> group,
                            std::span<const float> omega, unsigned bits,
                            const AffineGridOptions &options);

/// That sum in double precision: slow, for tests and reports.
double affineLoss(std::span<const float> group, std::span<const float> omega,
                  AffineGrid grid, unsigned bits,
                  const AffineGridOptions &options);

/// codes[j] = clamp(round((group[j] - offset) / scale), 0, 2^bits - 1), half to
/// even after a true division; with one bit, half up.
void quantizeGroup(std::span<const float> group, AffineGrid grid, unsigned bits,
                   std::span<uint8_t> codes);

/// weights[j] = scale * codes[j] + offset, in f32 with two roundings. The
/// reference decode.
void dequantizeGroup(std::span<const uint8_t> codes, AffineGrid grid,
                     std::span<float> weights);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_AFFINEGRID_H
