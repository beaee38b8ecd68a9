//===- GPTQReference.h - The published algorithm in plain loops -*- C++ -*-===//
//
// GPTQ as docs/methods/gptq.md states it, one column at a time in
// f64, with the explicit inverse of H: slow, and nothing in common with the
// library but the choice of a grid.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TEST_UNIT_NUMERICS_GPTQREFERENCE_H
#define LLQ_TEST_UNIT_NUMERICS_GPTQREFERENCE_H

#include "QuantizeLayer.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace llq::numerics {

/// Lower L[n, n] with L L^T = a.
inline std::vector<double> lowerCholesky(std::vector<double> a, int64_t n) {
  for (int64_t j = 0; j != n; ++j)
    for (int64_t i = j; i != n; ++i) {
      double sum = a[i * n + j];
      for (int64_t k = 0; k != j; ++k)
        sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = i == j ? std::sqrt(sum) : sum / a[j * n + j];
    }
  for (int64_t i = 0; i != n; ++i)
    std::fill_n(&a[i * n + i + 1], n - i - 1, 0.0);
  return a;
}

/// U with a^-1 = U^T U, by way of the inverse.
inline std::vector<double> inverseFactor(const std::vector<double> &a,
                                         int64_t n) {
  auto l = lowerCholesky(a, n);
  std::vector<double> inverse(n * n);
  for (int64_t column = 0; column != n; ++column) {
    std::vector<double> x(n);
    x[column] = 1;
    for (int64_t i = 0; i != n; ++i) {
      for (int64_t k = 0; k != i; ++k)
        x[i] -= l[i * n + k] * x[k];
      x[i] /= l[i * n + i];
    }
    for (int64_t i = n - 1; i >= 0; --i) {
      for (int64_t k = i + 1; k != n; ++k)
        x[i] -= l[k * n + i] * x[k];
      x[i] /= l[i * n + i];
    }
    for (int64_t i = 0; i != n; ++i)
      inverse[i * n + column] = x[i];
  }
  auto lower = lowerCholesky(inverse, n);
  std::vector<double> upper(n * n);
  for (int64_t i = 0; i != n; ++i)
    for (int64_t j = 0; j != n; ++j)
      upper[j * n + i] = lower[i * n + j];
  return upper;
}

/// What the reference rounds weights to, in the order of the matrix.
struct GPTQReference {
  std::vector<float> rounded;
  std::vector<uint8_t> codes;
  double squaredErrors = 0;
};

/// `order`: the permutation; `groupOf[position]`: which positions share a
/// dynamic grid; a static grid where options say so.
inline GPTQReference referenceGPTQ(const std::vector<float> &weights,
                                   int64_t rows, const std::vector<float> &h,
                                   const std::vector<int64_t> &order,
                                   const std::vector<int64_t> &groupOf,
                                   const LayerOptions &options) {
  const int64_t k = static_cast<int64_t>(order.size());
  const UniformGridOptions &grid = options.grid;
  double mean = 0;
  for (int64_t j = 0; j != k; ++j)
    mean += (h[j * k + j] == 0 ? 1.0 : h[j * k + j]) / double(k);
  std::vector<double> damped(k * k);
  for (int64_t i = 0; i != k; ++i)
    for (int64_t j = 0; j != k; ++j)
      damped[i * k + j] = h[order[i] * k + order[j]];
  for (int64_t i = 0; i != k; ++i) {
    if (damped[i * k + i] == 0)
      damped[i * k + i] = 1;
    damped[i * k + i] += options.damp * mean;
  }
  auto u = inverseFactor(damped, k);

  GPTQReference result{std::vector<float>(weights.size()),
                       std::vector<uint8_t>(weights.size())};
  const int64_t length = grid.groupLength(k);
  const bool dynamic = !options.staticGroups && grid.groupsPerRow(k) > 1;
  for (int64_t r = 0; r != rows; ++r) {
    std::vector<double> w(k);
    for (int64_t j = 0; j != k; ++j)
      w[j] = h[order[j] * k + order[j]] == 0 ? 0 : weights[r * k + order[j]];
    GroupGrid current{};
    for (int64_t j = 0; j != k; ++j) {
      std::vector<float> group;
      if (!dynamic) {
        int64_t first = order[j] / length * length;
        group.assign(&weights[r * k + first],
                     &weights[r * k] + std::min(first + length, k));
        current = chooseGrid(group, grid);
      } else if (j == 0 || groupOf[j] != groupOf[j - 1]) {
        for (int64_t i = j; i != k && groupOf[i] == groupOf[j]; ++i)
          group.push_back(static_cast<float>(w[i]));
        current = chooseGrid(group, grid);
      }
      double code = std::nearbyint(w[j] / current.scale) + current.zero;
      code = std::clamp<double>(code, grid.minCode(), grid.maxCode());
      const double rounded = double(current.scale) * (code - current.zero);
      const double error = (w[j] - rounded) / u[j * k + j];
      for (int64_t i = j; i != k; ++i)
        w[i] -= error * u[j * k + i];
      result.rounded[r * k + order[j]] = static_cast<float>(rounded);
      result.codes[r * k + order[j]] = static_cast<uint8_t>(code);
      result.squaredErrors += error * error;
    }
  }
  return result;
}

} // namespace llq::numerics

#endif // LLQ_TEST_UNIT_NUMERICS_GPTQREFERENCE_H
