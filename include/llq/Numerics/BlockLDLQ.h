//===- BlockLDLQ.h - Tuples of weights on E8P, with feedback ----*- C++ -*-===//
//
// The rounding of QuIP# (Tseng et al., "QuIP#: Even Better LLM Quantization
// with Hadamard Incoherence and Lattice Codebooks", arXiv 2402.04396): LDLQ on
// blocks of eight columns, which become points of the codebooks of E8P.h under
// one scale per matrix, then coordinate descent by such blocks.
//
// Departures from the authors' code: the scale is searched for each matrix,
// where it is RMS(W) / 1.03 there; a sweep moves a tuple only if that pays; the
// order of the blocks is free.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_BLOCKLDLQ_H
#define LLQ_NUMERICS_BLOCKLDLQ_H

#include "llq/Numerics/GPTQFactor.h"

#include <optional>

namespace llq::numerics {

struct BlockLDLQOptions {
  /// 2, 3 or 4
  unsigned bits = 2;
  /// scale / RMS(W); 0: the one with the least error on a sample of rows.
  double relativeScale = 0;
  /// Passes of coordinate descent behind the loop; the authors do 10.
  int sweeps = 0;
  /// Type in which the scales are stored.
  ScaleType scaleType = ScaleType::F16;
};

/// The codebook of a matrix. A tuple is scale * p + residualScale * r, p being
/// the point of E8P of bits 15..0 of its code, and r that of bits 31..16: none
/// (2 bits), of E8, a byte (3 bits), or of E8P (4 bits).
struct E8PGrid {
  unsigned bits = 2;
  float scale = 1, residualScale = 0;

  /// The code of each tuple values[count, 8], which becomes what it means:
  /// nearest in E8P, then nearest to what that leaves.
  void round(float *values, int64_t count, uint32_t *codes) const;
  /// values[8] of a code, in f32.
  void decode(uint32_t code, float *values) const;
};

struct BlockLDLQResult {
  E8PGrid grid;
  double relativeScale = 0;
  /// D H D^T, summed over rows, D = W - Ŵ, of the H that was factorized,
  /// without damping.
  double outputError = 0;
};

/// What BlockLDLQ needs of a factor: blocks that are tuples, from the last to
/// the first as the authors have them.
inline GPTQOptions blockLDLQFactorOptions() {
  GPTQOptions options;
  options.groupSize = 0;
  options.order = GPTQOrder::Reverse;
  options.blockSize = 8;
  return options;
}

/// Quantizes weights[rows, K], K a multiple of 8, to codes[rows, K / 8]. The
/// factor is one of blockLDLQFactorOptions, whatever its damping;
/// `secondMoment`[K, K] is what it is of, symmetric, and only read by sweeps.
/// Returns the first weight that is not finite, in which case nothing is
/// written.
[[nodiscard]] std::optional<NonFiniteWeight>
quantizeBlockLDLQ(const float *weights, int64_t rows, const GPTQFactor &factor,
                  std::span<const float> secondMoment,
                  const BlockLDLQOptions &options, uint32_t *codes,
                  BlockLDLQResult &result, ThreadPool &pool);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_BLOCKLDLQ_H
