//===- Rotation.h - Random orthogonal changes of basis ----------*- C++ -*-===//
//
// An orthogonal V that makes the entries of weights and the eigenvectors of
// second moments even, and is undone at the activations: W x = (W V^T)(V x).
// There are two, with the same interface:
//
//   Hadamard   V = H_n diag(+-1) / sqrt(n), for lengths of Hadamard.h
//   Kronecker  V = P_out (A (x) B) P_in for any n = p q, with A in SO(p) and B
//              in SO(q) drawn from the Haar measure and random permutations
//              (Chee et al., "QuIP: 2-Bit Quantization of Large Language Models
//              With Guarantees", arXiv 2307.13304); p + q products per element
//
// Tables follow from n and a seed in integer arithmetic and +, -, *, / and
// square roots of f64: equal on every machine. So all matrices of one width
// share a basis, and a model stores one table per width or, as tables may be
// made again, none.
//
// Tables of A and B are f32, and what is computed with them is. With f16
// entries V V^T would be off from the identity by 4e-4, up to 1e-3, which no
// rounding of weights can undo, to save 16 KB for each width of 4096.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_ROTATION_H
#define LLQ_NUMERICS_ROTATION_H

#include <cstdint>
#include <memory>
#include <vector>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

enum class RotationKind : uint8_t { Hadamard, Kronecker };

/// An orthogonal V[n, n]. All results are equal bit for bit for any number of
/// threads, those of a row or column whatever stands beside it.
class Rotation {
public:
  virtual ~Rotation() = default;

  int64_t size() const { return length; }

  /// Replaces each row x of rows[count, n] by V x: X becomes X V^T.
  virtual void apply(float *rows, int64_t count, ThreadPool &pool) const = 0;
  /// Replaces each row x of rows[count, n] by V^T x: X becomes X V.
  virtual void applyTransposed(float *rows, int64_t count,
                               ThreadPool &pool) const = 0;

  /// The same for each column of matrix[n, columns]: X becomes V X or V^T X.
  void applyToColumns(float *matrix, int64_t columns, ThreadPool &pool) const;
  void applyTransposedToColumns(float *matrix, int64_t columns,
                                ThreadPool &pool) const;

protected:
  explicit Rotation(int64_t size) : length(size) {}

private:
  const int64_t length;
};

/// V = H_n diag(signs) / sqrt(n), supportsHadamard(n).
class HadamardRotation final : public Rotation {
public:
  /// signs[n], each 1 or -1.
  explicit HadamardRotation(std::vector<float> signs);

  const std::vector<float> &signs() const { return table; }

  void apply(float *rows, int64_t count, ThreadPool &pool) const override;
  void applyTransposed(float *rows, int64_t count,
                       ThreadPool &pool) const override;

private:
  void multiplySigns(float *rows, int64_t count, ThreadPool &pool) const;

  std::vector<float> table;
};

/// What defines a Kronecker rotation: x becomes z with z_i = x[inputOrder[i]],
/// as a matrix z[p, q] becomes left z right^T, and y_i = z[outputOrder[i]].
struct KroneckerTables {
  int64_t p, q;
  std::vector<float> left;                      ///< A[p, p]
  std::vector<float> right;                     ///< B[q, q]
  std::vector<int32_t> inputOrder, outputOrder; ///< [p q]
};

class KroneckerRotation final : public Rotation {
public:
  explicit KroneckerRotation(KroneckerTables tables);

  const KroneckerTables &tables() const { return table; }

  void apply(float *rows, int64_t count, ThreadPool &pool) const override;
  void applyTransposed(float *rows, int64_t count,
                       ThreadPool &pool) const override;

private:
  KroneckerTables table;
};

/// n = p q, about equal where n allows it.
struct KroneckerSplit {
  int64_t p, q;
};

/// The split of n >= 1: of its prime factors in ascending order, p takes the
/// first, third and so on, q the others. 4096 = 64 * 64, 14336 = 64 * 224.
KroneckerSplit splitKronecker(int64_t n);

/// A matrix[n, n] of SO(n), Haar distributed, from numbers of `stream`. 4/3 n^3
/// operations.
std::vector<double> randomOrthogonal(int64_t n, uint64_t seed, uint64_t stream);

/// Every order of 0..n-1 with equal probability, up to 2^-32 n.
std::vector<int32_t> randomPermutation(int64_t n, uint64_t seed,
                                       uint64_t stream);

/// The tables of length n for a seed; different lengths are independent.
std::vector<float> randomSigns(int64_t n, uint64_t seed);
KroneckerTables randomKroneckerTables(int64_t n, uint64_t seed);

/// The rotation of length n for a seed; a Hadamard one if supportsHadamard(n).
std::unique_ptr<Rotation> makeRotation(RotationKind kind, int64_t n,
                                       uint64_t seed);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_ROTATION_H
