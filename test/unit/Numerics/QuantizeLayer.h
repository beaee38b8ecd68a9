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
  GPTQLoss loss;

  /// The weights, by way of the group index if there is one.
  std::vector<float> dequantize() const {
    auto index = factor->groupIndex();
    if (index.empty())
      return matrix.dequantize();
    std::vector<float> weights(matrix.codes.size());
    const int64_t k = matrix.columns, g = matrix.options.groupsPerRow(k);
    for (int64_t r = 0; r != matrix.rows; ++r)
      for (int64_t j = 0; j != k; ++j)
        weights[r * k + j] =
            matrix.scales[r * g + index[j]] *
            (matrix.codes[r * k + j] - matrix.zeros[r * g + index[j]]);
    return weights;
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
