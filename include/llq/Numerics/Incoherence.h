//===- Incoherence.h - Weights and inputs in a random basis -----*- C++ -*-===//
//
// What QuIP does before and after it rounds (Chee et al., arXiv 2307.13304):
// channels of the inputs are scaled so that weights and inputs share their
// spread, then both sides of W[N, K] and the second moment H[K, K] of its
// inputs are rotated. Entries become even, so that one scale serves a whole
// matrix. With input scales r, rotations V of inputs and R of outputs,
//
//   y = W x = R^T W' V (r * x),   W' = R W diag(1/r) V^T,
//   H' = V diag(r) H diag(r) V^T,  tr(D H D^T) = tr(D' H' D'^T).
//
// Departures from the authors' code: weights stay f32, where it falls back to
// f16 between the steps; the scales are those of the inputs, the inverses of
// its d, and rounded to f16 as they are stored; its lower bounds are relative,
// so that the size of weights does not matter and the scales lie in 1/100..100.
// Layers that read the same inputs share scales and V if their columns' squares
// are summed (addColumnSquares).
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_INCOHERENCE_H
#define LLQ_NUMERICS_INCOHERENCE_H

#include <cstdint>
#include <span>
#include <vector>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

class Rotation;

/// Adds the sums of squares of the columns of weights[rows, K] to squares[K].
void addColumnSquares(const float *weights, int64_t rows,
                      std::span<double> squares, ThreadPool &pool);

/// r[K] = (squares_j / H_jj)^(1/4), the scales of inputs that make
/// tr(H) |W|^2 least, up to a common factor. squares_j and H_jj count as shares
/// of the largest, at least 1e-8. Exact in f16.
std::vector<float> chooseInputScales(std::span<const float> secondMoment,
                                     std::span<const double> squares);

/// A basis of the inputs and outputs of a layer. What is absent is the
/// identity. Refers to its parts and does not own them.
struct IncoherentBasis {
  std::span<const float> inputScales; ///< r[K]
  const Rotation *input = nullptr;    ///< V[K, K]
  const Rotation *output = nullptr;   ///< R[N, N]

  /// weights[rows, columns] = R W diag(1/r) V^T, in place, and the way back.
  void enterWeights(float *weights, int64_t rows, int64_t columns,
                    ThreadPool &pool) const;
  void leaveWeights(float *weights, int64_t rows, int64_t columns,
                    ThreadPool &pool) const;

  /// secondMoment[K, K] = V diag(r) H diag(r) V^T, in place, from the whole
  /// symmetric matrix; the result is exactly symmetric. Computed in f32: the
  /// error is some 1e-6 of the largest eigenvalue.
  void enterSecondMoment(float *secondMoment, int64_t columns,
                         ThreadPool &pool) const;

  /// inputs[count, columns]: x = V (r * x).
  void enterInputs(float *inputs, int64_t count, int64_t columns,
                   ThreadPool &pool) const;
  /// outputs[count, N]: y = R^T y.
  void leaveOutputs(float *outputs, int64_t count, ThreadPool &pool) const;
};

/// H = H K / tr(H) + ridge I, in place; rotations change neither term. Returns
/// the mean of the diagonal before, by which losses are multiplied to compare
/// them with those of the H given; of an H of zeros, which becomes ridge I, 0.
double normalizeSecondMoment(float *secondMoment, int64_t columns, double ridge,
                             ThreadPool &pool);

/// max |W_ij| sqrt(N K) / |W|, the mu of the paper: 1 for equal magnitudes; 0
/// for zeros.
double incoherence(std::span<const float> weights);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_INCOHERENCE_H
