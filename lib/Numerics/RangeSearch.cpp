//===- RangeSearch.cpp - The scale of a whole matrix ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "RangeSearch.h"
#include "Dot.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

using namespace llq::numerics;

RowSample::RowSample(const float *matrix, int64_t matrixRows, int64_t columns)
    : rows(std::min(matrixRows, kSampleRows)) {
  weights.reserve(rows * columns);
  for (int64_t i = 0; i != rows; ++i) {
    const float *row = matrix + i * matrixRows / rows * columns;
    weights.insert(weights.end(), row, row + columns);
  }
}

double llq::numerics::rootMeanSquare(const float *values, int64_t count) {
  const double squares = dot(values, values, count);
  return squares > 0 ? std::sqrt(squares / static_cast<double>(count)) : 1.0;
}

double llq::numerics::searchRange(double start,
                                  const std::function<double(double)> &cost) {
  constexpr int least = -28, most = 160, coarse = 8; // in steps of 2.5 %
  std::map<int, double> costs;
  auto costAt = [&](int step) {
    if (step < least || step > most)
      return std::numeric_limits<double>::infinity();
    auto [entry, isNew] = costs.try_emplace(step);
    if (isNew) {
      const double value = cost(start * (1 + 0.025 * step));
      entry->second =
          std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
    }
    return entry->second;
  };
  int best = 0;
  for (int stride = coarse; stride != 0; stride /= 2)
    for (int direction : {stride, -stride})
      while (costAt(best + direction) < costAt(best)) {
        best += direction;
        if (stride != coarse)
          break; // the coarser steps have bracketed the minimum
      }
  return start * (1 + 0.025 * best);
}
