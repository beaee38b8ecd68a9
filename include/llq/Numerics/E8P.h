//===- E8P.h - Codebooks of eight weights on the E8 lattice -----*- C++ -*-===//
//
// The codebook E8P of QuIP# (Tseng et al., "QuIP#: Even Better LLM Quantization
// with Hadamard Incoherence and Lattice Codebooks", arXiv 2402.04396): 2^16
// points of E8 + 1/4 for tuples of eight weights, 2 bits a weight, near those
// of the origin and so a good fit for normal deviates. A point is one of 256
// vectors of magnitudes 1/2, 3/2 or 5/2 with signs that make the sum of the
// coordinates even, shifted by 1/4 or -1/4 in all of them. So a table of 256
// entries is enough, and it is searched instead of 2^16 points.
//
//   bits 15..8  index of the entry
//   bits 7..0   s: an odd number of ones means the shift -1/4, and bit 0
//               flipped; after that, coordinate i is that of the entry, negated
//               if bit i is set
//
// Entries are the 227 vectors of squared length up to 10 in lexicographic
// order, then 29 of squared length 12, those of the authors' code; the last
// coordinate of an entry is negative where that makes its sum even. Codes are
// those of the authors' checkpoints but for the order of the sign bits, which
// there are those of the coordinates 0, 2, 4, 6, 1, 3, 5, 7 from bit 0 on.
//
// A second codebook takes up what the first leaves: E8P again (4 bits), or 256
// points of E8, the 241 of squared length up to 2, then 15 of length 2 (3
// bits).
//
// The same bits on every machine.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_E8P_H
#define LLQ_NUMERICS_E8P_H

#include <array>
#include <cstdint>

namespace llq::numerics {

/// Weights that share a code.
inline constexpr int64_t kE8Width = 8;

/// A table of 256 points, twice the coordinates.
using E8Table = std::array<std::array<int8_t, kE8Width>, 256>;

/// The entries of E8P, with the sign of the last coordinate; without shift.
const E8Table &e8pTable();
/// The 256 points of E8 for residuals.
const E8Table &e8Table();

/// values[8] of a code; exact in f16.
void decodeE8P(uint16_t code, float *values);
void decodeE8(uint8_t code, float *values);

/// codes[i] = the code of a point nearest to the tuple values[i, 8], finite.
void encodeE8P(const float *values, int64_t count, uint16_t *codes);
void encodeE8(const float *values, int64_t count, uint8_t *codes);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_E8P_H
