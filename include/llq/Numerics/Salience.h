//===- Salience.h - Which weights a layer cannot do without -----*- C++ -*-===//
//
// The order in which methods that treat few weights with more care choose them.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_SALIENCE_H
#define LLQ_NUMERICS_SALIENCE_H

#include "llq/Numerics/GPTQFactor.h"

#include <cstdint>
#include <vector>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

/// The salience S of a weight w of column j. With H^-1 = U^T U, V = U^-1:
enum class SalienceCriterion : uint8_t {
  /// S = |w|.
  Magnitude,
  /// S = w^2 / U_jj^2 = (w V_jj)^2: what the output loses without w if the
  /// columns behind it make up for it.
  Hessian,
  /// S = w^2 / [H^-1]_jj^2, as PB-LLM and BiLLM print it.
  InverseDiagonal,
};

/// f with S = (w f_j)^2, or |w| f_j for magnitudes; by position.
std::vector<float> salienceFactors(const GPTQFactor &factor,
                                   SalienceCriterion criterion,
                                   ThreadPool &pool);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_SALIENCE_H
