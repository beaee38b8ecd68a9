//===- ResidualBinarization.h - Two binary terms for every weight -*- C++ -*-=//
//
// Huang et al., "BiLLM: Pushing the Limit of Post-Training Quantization for
// LLMs" (arXiv 2402.04291). In each block of columns the most salient columns
// get two binary terms, one for the weight and one for what it leaves; of the
// other weights, each gets one, small and large ones with values of their own.
// Either way a weight becomes one of four levels of its row and block, so 2
// bits a weight and two tables are stored, and which columns use the second
// one.
//
// Departures from the authors' code, all of which options undo:
// - The columns behind a block take over its error exactly, not as if its
//   columns were single (BlockCompensation).
// - Salient columns are counted by the error of what is stored, weighted with
//   V_jj^2, not by that of binarizing the matrix of saliences (SalientSearch).
//   The count costs no storage: salient or not, a weight has two bits.
// - Weights are split by magnitude, not salience, and each row at a point of
//   its own, which costs no storage either (SplitSearch).
// - No means: a table is two magnitudes (BinaryTerms).
// Besides, a weight at a mean counts as above it, and dead columns have no part
// in tables.
//
// Measured: output error over that of no weights at all, in %, 128 x 512
// weights, correlated inputs of which eight are 10 (3) times as large, mean of
// 3 layers of normal weights, blocks of 128:
//   default (finds 2 columns a block)                   3.4  (6.6)
//   compensation Diagonal / None                        3.8  (7.8) / 4.9 (9.8)
//   four levels, means                                  3.5  (6.9)
//   weighted levels                                     3.5  (6.6)
//   SplitSearch::Quantiles                              3.8  (6.8)
//   the same, 0 / 2 / 5 / 10 / 16 columns   8.7 / 3.8 / 6.7 / 7.8 / 8.1
//                                          (7.8 / 6.8 / 7.3 / 7.6 / 7.7)
//   10 columns, split by rows                           7.7  (7.5)
//   the same, weighted levels                           5.1  (7.2)
//   SalientSearch::Reference, split by rows             4.0  (6.8)
//   both searches of the paper                          8.5  (7.9)
//   the same, compensation Diagonal                     9.1  (9.3)
//   all of the authors' code                            7.7 (16.5)
//   the same, compensation Exact                        7.0 (14.2)
//   default, by magnitude                               5.8  (7.5)
//   default, blocks of 32 / 64 / 256       2.1 (4.4) / 2.7 (5.5) / 5.0 (8.1)
// Weights of heavier tails rank alike. A fixed number of columns is a bad
// choice unless it is that of the outlier channels.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_RESIDUALBINARIZATION_H
#define LLQ_NUMERICS_RESIDUALBINARIZATION_H

#include "llq/Numerics/Compensation.h"
#include "llq/Numerics/Salience.h"

#include <cstdint>
#include <optional>

namespace llq::numerics {

/// How many columns of a block, taken by the sums of their saliences, are
/// salient: the number that makes least
enum class SalientSearch : uint8_t {
  /// nothing: salientColumns.
  Fixed,
  /// the error of one term on either side, without means; 3 to 30 (the paper).
  Paper,
  /// the error of two terms on either side of the matrix of saliences; 1 to 49
  /// (the authors' code).
  Reference,
  /// the error of what is stored, weighted with V_jj^2, weights being split
  /// where it is best for normal ones; 0 to all.
  Weighted,
};

/// From which magnitude on the other weights are large: of the candidates, the
/// one that makes least
enum class SplitSearch : uint8_t {
  /// nothing: breakPoint.
  Fixed,
  /// the error, without means; tenths of the block's largest (the paper).
  Paper,
  /// the error of the saliences, of which it is one; their quantiles of 10 to
  /// 90 %, salient ones as zeros (the authors' code).
  Reference,
  /// the error weighted with V_jj^2; quantiles of 10 to 95 %.
  Quantiles,
  /// the same for each row.
  Rows,
};

/// What a binary term consists of.
enum class BinaryTerms : uint8_t {
  /// A magnitude: tables are symmetric, of two listed levels each.
  Scale,
  /// A mean as well: tables of four levels.
  MeanAndScale,
};

/// Free choices of BiLLM.
struct ResidualBinaryOptions {
  SalienceCriterion criterion = SalienceCriterion::Hessian;
  SalientSearch salientSearch = SalientSearch::Weighted;
  /// How many columns of a block are salient at most.
  int64_t salientColumns = 32;
  SplitSearch splitSearch = SplitSearch::Rows;
  float breakPoint = 0;
  BinaryTerms terms = BinaryTerms::Scale;
  /// Fits levels, too, to weights that count V_jj^2 each.
  bool weightedLevels = false;
  BlockCompensation compensation = BlockCompensation::Exact;
  ScaleType scaleType = ScaleType::F16;

  /// Levels that a table lists.
  int64_t listedLevels() const { return terms == BinaryTerms::Scale ? 2 : 4; }
};

/// The options that a factor for blocks of `groupSize` columns needs.
inline GPTQOptions blockOptions(int64_t groupSize, int64_t columns) {
  GPTQOptions options;
  options.groupSize = groupSize;
  options.staticGroups = true;
  options.blockSize =
      UniformGridOptions{.groupSize = groupSize}.groupLength(columns);
  return options;
}

/// Storage of the quantized form of a matrix, G = blocks of a row, L =
/// listedLevels(). Code c of a column stands for level c of its table; where
/// L = 2, code 2 + i for level i and code 1 - i for minus that.
struct ResidualBinaryRows {
  uint8_t *codes;   ///< [rows, K], 0..3
  float *levels;    ///< [rows, G, 2, L]: the other columns', the salient ones'
  uint8_t *salient; ///< [K]: 1 or 0
};

/// Quantizes weights[rows, K] in the factor's blocks (blockOptions). Adds to
/// `loss`. Returns the first weight that is not finite, in which case nothing
/// is written. Takes 12 bytes for each weight.
[[nodiscard]] std::optional<NonFiniteWeight> quantizeResidualBinary(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    const ResidualBinaryOptions &options, const ResidualBinaryRows &result,
    CompensatedLoss &loss, ThreadPool &pool);

/// weights[rows, K] from their quantized form. The reference decode.
void dequantizeResidualBinary(const ResidualBinaryRows &quantized, int64_t rows,
                              int64_t columns, int64_t groupSize,
                              int64_t listedLevels, float *weights);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_RESIDUALBINARIZATION_H
