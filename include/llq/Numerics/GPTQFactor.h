//===- GPTQFactor.h - Factorized second moment of inputs --------*- C++ -*-===//
//
// What compensation needs to know of a layer's inputs, once for all layers that
// share them (q, k, v; gate, up).
//
// The factor is V with H + lambda I = V V^T, not U with H^-1 = U^T U as in the
// authors' code. As U = V^-1 and the errors satisfy E = (W - Ŵ) V, the value
// that column j has when its turn comes is w_j + sum_{i<j} (w_i - ŵ_i) V_ij /
// V_jj: no inverse and a quarter of the work. Blocks of columns are taken
// together, with the inverse of their diagonal block only.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_GPTQFACTOR_H
#define LLQ_NUMERICS_GPTQFACTOR_H

#include "llq/Numerics/UniformGrid.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace llq {
class ThreadPool;
} // namespace llq

namespace llq::numerics {

/// The order in which columns are rounded.
enum class GPTQOrder : uint8_t {
  /// From the first to the last.
  Natural,
  /// Columns of large activations, by the diagonal of H, first (`act_order`).
  /// Unless groups are static, they are runs of this order, and the matrix is
  /// stored in it.
  Activation,
  /// Columns sorted within their group, groups by their largest column: groups
  /// stay contiguous in the matrix (GPTQModel's group-aware reordering).
  GroupAware,
  /// From the last to the first (LDLQ of QuIP).
  Reverse,
};

/// Free choices of GPTQ, but for the grid itself: layers that share their
/// inputs may differ in bits and scheme.
struct GPTQOptions {
  /// As in UniformGridOptions; 0: one group per row.
  int64_t groupSize = 128;
  GPTQOrder order = GPTQOrder::Natural;
  /// Takes the grids of all groups from the weights as they were given. A grid
  /// with one group per row always does.
  bool staticGroups = false;
  /// lambda = damp * mean of the diagonal of H; at least 0.
  double damp = 0.01;
  /// Columns rounded between two matrix products. A block does not reach over
  /// the end of a group that has a grid of its own; results agree for all sizes
  /// up to rounding.
  int64_t blockSize = 256;

  /// Whether the groups of a row of `columns` take their grids from values that
  /// have been compensated.
  bool hasDynamicGroups(int64_t columns) const {
    return !staticGroups &&
           UniformGridOptions{.groupSize = groupSize}.groupsPerRow(columns) > 1;
  }
  /// Whether the columns of a matrix are stored in the order in which they are
  /// rounded: its groups are runs of that order.
  bool isStoredPermuted(int64_t columns) const {
    return order == GPTQOrder::Activation && hasDynamicGroups(columns);
  }
};

/// The factorized second moment of a layer's inputs.
class GPTQFactor {
public:
  /// Factorizes secondMoment[K, K], symmetric, of which the upper triangle and
  /// any positive factor are used and left as they are. Where damping does not
  /// suffice the factorization is repeated in double precision, then with four
  /// times the damping, and so on. Returns nothing if the matrix is no second
  /// moment: it has an entry that is not finite, a negative diagonal, or stays
  /// indefinite. Takes 4 K^2 bytes, 12 K^2 while double precision is needed.
  [[nodiscard]] static std::optional<GPTQFactor>
  create(std::span<const float> secondMoment, int64_t columns,
         const GPTQOptions &options, ThreadPool &pool);

  const GPTQOptions &options() const { return settings; }
  int64_t columns() const { return static_cast<int64_t>(order.size()); }
  /// Weights in a whole group, and groups in a row.
  int64_t groupLength() const {
    return UniformGridOptions{.groupSize = settings.groupSize}.groupLength(
        columns());
  }
  int64_t groupCount() const {
    return UniformGridOptions{.groupSize = settings.groupSize}.groupsPerRow(
        columns());
  }
  /// Column of the matrix that is rounded at position j.
  const std::vector<int64_t> &permutation() const { return order; }
  /// Columns without activations, in ascending order. Their weights become 0.
  const std::vector<int64_t> &deadColumns() const { return dead; }
  /// The damping that was used, as a share of the mean diagonal, and how many
  /// smaller ones failed before.
  double damp() const { return dampUsed; }
  int dampingRetries() const { return retries; }
  /// lambda, what damping added to the diagonal of H.
  double addedToDiagonal() const { return lambda; }
  /// Whether single precision did not suffice.
  bool usedDoublePrecision() const { return doublePrecision; }

  /// V_jj of the column at position j: 1 / U_jj with H^-1 = U^T U. Its square
  /// is what the output loses if that column alone is off by one, and the
  /// columns behind it make up for it.
  float pivot(int64_t j) const { return row(j)[j]; }
  /// Whether the column at position j is a dead one.
  bool isDead(int64_t j) const { return deadPosition[j]; }

  /// The diagonal of (H + lambda I)^-1, by position. Takes K^3 / 3 operations.
  std::vector<float> inverseDiagonal(ThreadPool &pool) const;

  /// sum over rows of delta H delta^T for delta[rows, K] in the order of the
  /// matrix: what replacing W by W - delta costs at the output. H without
  /// damping; dead columns count nothing.
  double outputError(const float *delta, int64_t rows, ThreadPool &pool) const;

private:
  friend class CompensatedStrip;

  /// Columns that share a grid: positions [begin, end), stored as `index`.
  struct Group {
    int64_t begin, end, index;
  };

  GPTQFactor(int64_t columns, const GPTQOptions &options);
  void chooseOrder(std::span<const double> diagonal);
  void chooseBlocks();
  bool factorize(std::span<const float> secondMoment,
                 std::span<const double> diagonal, ThreadPool &pool);

  /// |delta V|^2 of the first `rows` rows of delta[256, K], by position.
  double squaredErrors(const float *delta, int64_t rows) const;

  bool hasDynamicGroups() const { return settings.hasDynamicGroups(columns()); }
  const float *row(int64_t i) const { return factor.get() + i * columns(); }
  /// V_bb^-1 of block b.
  const float *inverse(int64_t b) const {
    return inverses.data() + inverseOffsets[b];
  }

  GPTQOptions settings;
  std::vector<int64_t> order;
  std::vector<int64_t> dead;
  std::vector<bool> deadPosition;  ///< by position
  std::vector<Group> groups;       ///< dynamic groups, by position
  std::vector<int64_t> blocks;     ///< block b: positions [b], [b + 1]
  std::unique_ptr<float[]> factor; ///< V[K, K] by position
  /// Inverses of the diagonal blocks of V, [width, width] each, one after
  /// another.
  std::vector<float> inverses;
  std::vector<size_t> inverseOffsets;
  double dampUsed = 0, lambda = 0;
  int retries = 0;
  bool doublePrecision = false;
};

} // namespace llq::numerics

#endif // LLQ_NUMERICS_GPTQFACTOR_H
