//===- GroupedRounder.h - Grids per row and group in the loop ---*- C++ -*-===//
//
// The frame of methods that round to a grid per row and group in the loop of
// llq/Numerics/Compensation.h: grids are chosen where their group begins, or
// beforehand where they are static, and codes end up in rows.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_NUMERICS_GROUPEDROUNDER_H
#define LLQ_LIB_NUMERICS_GROUPEDROUNDER_H

#include "llq/Numerics/Compensation.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

namespace llq::numerics {

/// A group of a row of the strip, whose grid is to be chosen.
struct StripGroup {
  int64_t group, row;
  /// May be infinite or NaN: compensation without damping can run away from
  /// group to group. The loss says so; any grid will do.
  std::span<const float> values;
  /// The columns of the matrix that they belong to.
  std::span<const int64_t> columns;
};

/// `Grids` has a type `Strip`, which holds the grids of one group in all rows
/// of a strip and is usable, whatever it stands for, as it is constructed;
/// choose(StripGroup, Strip &), which sets one of them and stores it; and
/// round(group, current, Strip, codes, rounded), which rounds a column of a
/// strip.
template <typename Grids> class GroupedRounder : public StripRounder {
public:
  /// For `source[rows, K]`, whose codes go to `codes[rows, K]`: by position if
  /// the matrix is stored permuted, else by column.
  GroupedRounder(const GPTQFactor &factor, const float *source, int64_t rows,
                 uint8_t *codes, Grids grids)
      : factor(factor), columns(factor.columns()),
        dynamic(factor.options().hasDynamicGroups(columns)),
        permuted(factor.options().isStoredPermuted(columns)), rows(rows),
        result(codes), grids(std::move(grids)),
        strips(dynamic ? 1 : factor.groupCount()) {
    if (!dynamic)
      chooseStatic(source);
  }

  void beginGroup(int64_t group, const float *values, int64_t size) override {
    present = group;
    choose(group, values, size, size,
           factor.permutation().data() + nextPosition, strips[0]);
  }

  void roundColumn(int64_t position, const float *current,
                   float *rounded) override {
    nextPosition = position + 1;
    const size_t at = codes.size();
    codes.resize(at + kStripRows);
    const int64_t group =
        dynamic ? present
                : factor.permutation()[position] / factor.groupLength();
    grids.round(group, current, strips[dynamic ? 0 : group], &codes[at],
                rounded);
  }

  void endBlock(int64_t begin, int64_t end) override {
    for (int64_t r = 0; r != rows; ++r)
      for (int64_t j = begin; j != end; ++j)
        result[r * columns + (permuted ? j : factor.permutation()[j])] =
            codes[(j - begin) * kStripRows + r];
    codes.clear();
  }

private:
  /// Grids of all groups from the weights as given, dead columns included.
  void chooseStatic(const float *source) {
    std::vector<int64_t> natural(columns);
    std::iota(natural.begin(), natural.end(), 0);
    const int64_t length = factor.groupLength();
    for (int64_t group = 0; group != factor.groupCount(); ++group) {
      const int64_t first = group * length;
      choose(group, source + first, std::min(length, columns - first), columns,
             natural.data() + first, strips[group]);
    }
  }

  void choose(int64_t group, const float *values, int64_t size, int64_t stride,
              const int64_t *ofMatrix, typename Grids::Strip &strip) {
    const auto count = static_cast<size_t>(size);
    for (int64_t r = 0; r != rows; ++r)
      grids.choose({group, r, {values + r * stride, count}, {ofMatrix, count}},
                   strip);
  }

  const GPTQFactor &factor;
  const int64_t columns;
  const bool dynamic, permuted;
  const int64_t rows;
  uint8_t *result;
  Grids grids;
  std::vector<typename Grids::Strip> strips; ///< the present one, or all
  std::vector<uint8_t> codes; ///< of the present block, [columns, kStripRows]
  int64_t present = 0, nextPosition = 0;
};

/// Rounds finite weights[rows, K] with the grids that makeGrids(first, last)
/// returns for the rows [first, last) of each strip.
template <typename MakeGrids>
CompensatedLoss roundGrouped(const float *weights, int64_t rows,
                             const GPTQFactor &factor, uint8_t *codes,
                             MakeGrids makeGrids, ThreadPool &pool) {
  const int64_t columns = factor.columns();
  auto makeRounder = [&](int64_t first, int64_t last) {
    auto grids = makeGrids(first, last);
    return std::make_unique<GroupedRounder<decltype(grids)>>(
        factor, weights + first * columns, last - first,
        codes + first * columns, std::move(grids));
  };
  return compensateColumns(weights, rows, factor, makeRounder, pool);
}

} // namespace llq::numerics

#endif // LLQ_LIB_NUMERICS_GROUPEDROUNDER_H
