//===- QuantizeMatrix.h - Whole matrices for the grid's tests ---*- C++ -*-===//
//
// Owning storage around the row functions, so that tests read as one call.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TEST_UNIT_NUMERICS_QUANTIZEMATRIX_H
#define LLQ_TEST_UNIT_NUMERICS_QUANTIZEMATRIX_H

#include "llq/Numerics/Random.h"
#include "llq/Numerics/UniformGrid.h"

#include <vector>

namespace llq::numerics {

/// The quantized form of a matrix.
struct QuantizedMatrix {
  UniformGridOptions options;
  int64_t rows, columns;
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<uint8_t> zeros; // of all schemes, so that tests can compare them

  std::vector<float> dequantize() const {
    std::vector<float> weights(codes.size());
    dequantizeRows(codes.data(), scales.data(),
                   options.storesZeros() ? zeros.data() : nullptr, rows,
                   columns, options, weights.data());
    return weights;
  }
};

/// Quantizes weights[rows, columns], all of them finite.
inline QuantizedMatrix quantizeMatrix(const std::vector<float> &weights,
                                      int64_t rows,
                                      const UniformGridOptions &options) {
  int64_t columns = static_cast<int64_t>(weights.size()) / rows;
  size_t groups = rows * options.groupsPerRow(columns);
  QuantizedMatrix result{
      options,
      rows,
      columns,
      std::vector<uint8_t>(weights.size()),
      std::vector<float>(groups),
      std::vector<uint8_t>(groups, static_cast<uint8_t>(options.midCode()))};
  auto bad = quantizeRows(
      weights.data(), rows, columns, options,
      {result.codes.data(), result.scales.data(), result.zeros.data()});
  if (bad)
    result.codes.clear(); // no test expects an empty result
  return result;
}

/// Normal deviates, a different sequence for each seed.
inline std::vector<float> normalMatrix(size_t count, uint64_t seed,
                                       float deviation = 0.05f) {
  std::vector<float> weights(count);
  Random(seed).fillNormal(0, weights, deviation);
  return weights;
}

} // namespace llq::numerics

#endif // LLQ_TEST_UNIT_NUMERICS_QUANTIZEMATRIX_H
