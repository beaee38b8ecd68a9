//===- LDLQ.h - One uniform grid per matrix, with feedback ------*- C++ -*-===//
//
// The adaptive rounding of QuIP (Chee et al., "QuIP: 2-Bit Quantization of
// Large Language Models With Guarantees", arXiv 2307.13304), for weights in an
// incoherent basis (Incoherence.h): 2^b levels at even distances in [-s, s],
// s = rho RMS(W), the same for the whole matrix, and no level at zero.
//
// With H = L D L^T the paper feeds the errors of columns done back to the next
// as w_j + sum_{i>j} (w_i - ŵ_i) L_ij, from the last column to the first. As
// L = V diag(V)^-1 in the reverse order, that is the loop of Compensation.h
// with GPTQOrder::Reverse.
//
// Departures from the authors' code: rho is searched for each matrix, where it
// is 2.4 there, and weights are not clamped to [-s, s] before they are rounded,
// so that the feedback sees what clipping costs; both at 2 bits save a third of
// the error or more. Greedy passes move a code only if that pays.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_LDLQ_H
#define LLQ_NUMERICS_LDLQ_H

#include "llq/Numerics/GPTQFactor.h"

#include <optional>

namespace llq::numerics {

struct LDLQOptions {
  /// 2..8
  unsigned bits = 2;
  /// rho = s / RMS(W); 0: the one with the least error on a sample of rows.
  double range = 0;
  /// Clamps weights to [-s, s] first, as the authors' code does.
  bool clampFirst = false;
  /// Passes of coordinate descent behind the loop (QuIP-RG, whose order is
  /// GPTQOrder::Activation).
  int greedyPasses = 0;
  /// Type in which the scale is stored.
  ScaleType scaleType = ScaleType::F16;

  int32_t maxCode() const { return (1 << bits) - 1; }
  /// The code that would stand for 0: half an odd integer, exact in f16.
  float zero() const { return 0.5f * static_cast<float>(maxCode()); }
};

/// Code c stands for scale * (c - zero), with a scale of 2 s / maxCode.
struct LDLQGrid {
  float scale = 1, zero = 0;
  double range = 0; ///< rho
  /// D H D^T, summed over rows, D = W - Ŵ, of the H that was factorized,
  /// without damping.
  double outputError = 0;
};

/// Quantizes weights[rows, K] to codes[rows, K], in the order of the matrix.
/// `secondMoment`[K, K] is what the factor is of, symmetric; only greedy passes
/// read it. The factor has no dynamic groups. Sets `grid`. Returns the first
/// weight that is not finite, in which case nothing is written.
[[nodiscard]] std::optional<NonFiniteWeight>
quantizeLDLQ(const float *weights, int64_t rows, const GPTQFactor &factor,
             std::span<const float> secondMoment, const LDLQOptions &options,
             uint8_t *codes, LDLQGrid &grid, ThreadPool &pool);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_LDLQ_H
