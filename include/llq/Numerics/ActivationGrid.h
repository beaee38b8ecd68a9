//===- ActivationGrid.h - Symmetric integers for activations ----*- C++ -*-===//
//
// Activations x[T, K] as signed codes of `bits` bits, x = scale * code, without
// a zero point, so that scales factor out of the sum over K of an integer
// product. With Q = 2^(bits-1) - 1 codes are -Q..Q; the value -2^(bits-1) never
// occurs. A scale belongs to a token and is taken from it at run time, or to
// the whole tensor and is taken from calibration. In plain loops: the reference
// of the kernels.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_ACTIVATIONGRID_H
#define LLQ_NUMERICS_ACTIVATIONGRID_H

#include <cstdint>
#include <span>

namespace llq::numerics {

/// Q, the largest code of 2..8 bits.
constexpr int32_t largestActivationCode(unsigned bits) {
  return (1 << (bits - 1)) - 1;
}

/// The scale of values of magnitude up to `absMax` >= 0: max(1e-5, absMax) / Q
/// in f32.
float activationScale(float absMax, unsigned bits);

/// codes[i] = clamp(round(x[i] / scale), -Q, Q), rounding half to even after a
/// true division. For a static scale; values are finite.
void quantizeActivations(std::span<const float> x, float scale, unsigned bits,
                         std::span<int8_t> codes);

/// Each token of x[tokens, channels] with a scale of its own: codes[tokens,
/// channels], scales[tokens].
void quantizeTokens(const float *x, int64_t tokens, int64_t channels,
                    unsigned bits, int8_t *codes, float *scales);

/// sums[tokens, rows] = codes[tokens, channels] weightCodes[rows, channels]^T,
/// exactly: channels * Q^2 of 8 bits is below 2^31 up to 133,152 channels.
void multiplyCodes(const int8_t *codes, const int8_t *weightCodes,
                   int64_t tokens, int64_t rows, int64_t channels,
                   int32_t *sums);

/// y[tokens, rows] = scales[token] * weightScales[row] * sums, in f32; the
/// product of the two scales first.
void scaleSums(const int32_t *sums, const float *scales,
               const float *weightScales, int64_t tokens, int64_t rows,
               float *y);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_ACTIVATIONGRID_H
