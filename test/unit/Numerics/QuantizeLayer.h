//===- QuantizeLayer.h - GPTQ on whole matrices for tests -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TEST_UNIT_NUMERICS_QUANTIZELAYER_H
#define LLQ_TEST_UNIT_NUMERICS_QUANTIZELAYER_H

#include "QuantizeMatrix.h"
#include "llq/Numerics/GPTQ.h"
#include "llq/Support/ParallelFor.h"

#include <optional>
#include <vector>

namespace llq::numerics {

/// GPTQ and the grid that it ends on.
struct LayerOptions : GPTQOptions {
  UniformGridOptions grid;
};

/// A layer after GPTQ. `matrix` is empty if the second moment was refused.
struct GPTQLayer {
  std::optional<GPTQFactor> factor;
  QuantizedMatrix matrix;
  CompensatedLoss loss;

  /// Values that stand as the columns of `matrix` do, as those of the layer.
  template <typename T>
  std::vector<T> restoreColumns(const std::vector<T> &stored) const {
    const int64_t k = matrix.columns;
    if (!factor->options().isStoredPermuted(k))
      return stored;
    std::vector<T> values(stored.size());
    for (int64_t r = 0; r != matrix.rows; ++r)
      for (int64_t j = 0; j != k; ++j)
        values[r * k + factor->permutation()[j]] = stored[r * k + j];
    return values;
  }

  std::vector<uint8_t> codes() const { return restoreColumns(matrix.codes); }
  std::vector<float> dequantize() const {
    return restoreColumns(matrix.dequantize());
  }
  /// Group of each column of the layer.
  std::vector<int64_t> groupIndex() const {
    const int64_t k = matrix.columns;
    const int64_t length = matrix.options.groupLength(k);
    std::vector<int64_t> index(k);
    for (int64_t j = 0; j != k; ++j)
      if (factor->options().isStoredPermuted(k))
        index[factor->permutation()[j]] = j / length;
      else
        index[j] = j / length;
    return index;
  }
};

inline GPTQLayer gptq(const std::vector<float> &weights, int64_t rows,
                      const std::vector<float> &h, LayerOptions options,
                      unsigned threads = 2) {
  options.groupSize = options.grid.groupSize;
  ThreadPool pool(threads);
  const int64_t k = static_cast<int64_t>(weights.size()) / rows;
  const size_t groups = rows * options.grid.groupsPerRow(k);
  GPTQLayer layer{GPTQFactor::create(h, k, options, pool),
                  {options.grid,
                   rows,
                   k,
                   {},
                   std::vector<float>(groups),
                   std::vector<uint8_t>(
                       groups, static_cast<uint8_t>(options.grid.midCode()))},
                  {}};
  if (!layer.factor)
    return layer;
  auto &m = layer.matrix;
  m.codes.resize(weights.size());
  if (quantizeGPTQ(weights.data(), rows, *layer.factor, options.grid,
                   {m.codes.data(), m.scales.data(), m.zeros.data()},
                   layer.loss, pool))
    m.codes.clear(); // no test expects an empty result
  return layer;
}

} // namespace llq::numerics

#endif // LLQ_TEST_UNIT_NUMERICS_QUANTIZELAYER_H
