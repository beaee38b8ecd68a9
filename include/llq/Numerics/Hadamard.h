//===- Hadamard.h - Fast Hadamard transforms --------------------*- C++ -*-===//
//
// Orthogonal matrices of entries +-1 / sqrt(n) that cost a few additions per
// element: what spreads outliers of weights and activations over all channels.
//
// H_n is H_m (x) H_(2^a), n = m 2^a: on the right Sylvester's matrix, on the
// left none (m = 1) or one of order 12, 20, 28 or 36. All of them are
// symmetric, so the scaled transform is its own inverse.
//
// The orders are Paley's second construction for q = 5, 9, 13 and 17: with chi
// the quadratic character of the field of q elements, S the symmetric matrix of
// order q + 1 with zeros on the diagonal, ones in the rest of its first row and
// column, and chi(i - j) elsewhere,
//
//   H_m = S (x) [[1, 1], [1, -1]] + I (x) [[1, -1], [-1, -1]],  m = 2 q + 2.
//
// The result is equal bit for bit on every machine.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_HADAMARD_H
#define LLQ_NUMERICS_HADAMARD_H

#include <cstdint>
#include <vector>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

/// The order m of H_m in H_n, m being 1, 12, 20, 28 or 36; 0 if there is no
/// transform of length n. There is one for 2^a (1024, 4096), and for 2^a times
/// 3 (192, 1536, 3072), 5 (5120), 7 (14336, 28672) or 9 (576), a >= 2. There is
/// no Hadamard matrix at all of an order above 2 that 4 does not divide; other
/// odd factors (11008 = 256 * 43) would need one of a larger order, whose
/// m - 1 additions per element are no longer fast.
int64_t hadamardOrder(int64_t n);

/// Whether there is a transform of length n.
inline bool supportsHadamard(int64_t n) { return hadamardOrder(n) != 0; }

/// H_n, unscaled, for supportsHadamard(n).
std::vector<int8_t> hadamardMatrix(int64_t n);

/// Replaces each row x of rows[count, n] by H_n x / sqrt(n), which is x if done
/// twice. supportsHadamard(n); log2(2^a) + m - 1 additions per element.
void hadamardTransform(float *rows, int64_t count, int64_t n, ThreadPool &pool);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_HADAMARD_H
