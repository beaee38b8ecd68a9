//===- Incoherence.cpp - Weights and inputs in a random basis -------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Incoherence.h"
#include "Dot.h"
#include "llq/Numerics/Float16.h"
#include "llq/Numerics/Rotation.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <cmath>

using namespace llq;
using namespace llq::numerics;

static constexpr int64_t kRows = 64;
/// The least share of the largest that H_jj and squares of a column count as.
static constexpr double kLeastShare = 1e-8;

void llq::numerics::addColumnSquares(const float *weights, int64_t rows,
                                     std::span<double> squares,
                                     ThreadPool &pool) {
  const int64_t columns = std::ssize(squares);
  pool.parallelFor(0, columns, kRows, [&](int64_t first, int64_t last) {
    for (int64_t r = 0; r != rows; ++r)
      for (int64_t j = first; j != last; ++j) {
        const double weight = weights[r * columns + j];
        squares[j] += weight * weight;
      }
  });
}

std::vector<float>
llq::numerics::chooseInputScales(std::span<const float> secondMoment,
                                 std::span<const double> squares) {
  const size_t columns = squares.size();
  assert(secondMoment.size() == columns * columns);
  double largestMoment = 0, largestSquare = 0;
  for (size_t j = 0; j != columns; ++j) {
    largestMoment = std::max(
        largestMoment, static_cast<double>(secondMoment[j * columns + j]));
    largestSquare = std::max(largestSquare, squares[j]);
  }
  auto share = [](double value, double largest) {
    return largest > 0 ? std::max(value / largest, kLeastShare) : 1.0;
  };
  std::vector<float> scales(columns);
  for (size_t j = 0; j != columns; ++j) {
    const double ratio = share(squares[j], largestSquare) /
                         share(secondMoment[j * columns + j], largestMoment);
    const auto scale = static_cast<float>(std::sqrt(std::sqrt(ratio)));
    scales[j] = decodeF16(encodeF16(scale));
  }
  return scales;
}

/// Calls scale(row, r) for rows of matrix[rows, columns] and their factors r[K]
/// if there are any.
template <typename Scale>
static void scaleRows(float *matrix, int64_t rows, int64_t columns,
                      std::span<const float> scales, ThreadPool &pool,
                      Scale scale) {
  if (scales.empty())
    return;
  assert(std::ssize(scales) == columns);
  pool.parallelFor(0, rows, kRows, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r != last; ++r)
      for (int64_t j = 0; j != columns; ++j)
        scale(matrix[r * columns + j], scales[j]);
  });
}

static void multiply(float &value, float scale) { value *= scale; }
static void divide(float &value, float scale) { value /= scale; }

void IncoherentBasis::enterWeights(float *weights, int64_t rows,
                                   int64_t columns, ThreadPool &pool) const {
  scaleRows(weights, rows, columns, inputScales, pool, divide);
  if (input)
    input->apply(weights, rows, pool);
  if (output)
    output->applyToColumns(weights, columns, pool);
}

void IncoherentBasis::leaveWeights(float *weights, int64_t rows,
                                   int64_t columns, ThreadPool &pool) const {
  if (output)
    output->applyTransposedToColumns(weights, columns, pool);
  if (input)
    input->applyTransposed(weights, rows, pool);
  scaleRows(weights, rows, columns, inputScales, pool, multiply);
}

/// Makes the lower triangle equal to the upper one, in squares that both fit
/// the cache.
static void mirror(float *matrix, int64_t n, ThreadPool &pool) {
  pool.parallelFor(0, n, kRows, [&](int64_t first, int64_t last) {
    for (int64_t begin = 0; begin <= first; begin += kRows)
      for (int64_t i = first; i != last; ++i)
        for (int64_t j = begin; j < std::min(begin + kRows, i); ++j)
          matrix[i * n + j] = matrix[j * n + i];
  });
}

void IncoherentBasis::enterSecondMoment(float *secondMoment, int64_t columns,
                                        ThreadPool &pool) const {
  if (!inputScales.empty())
    pool.parallelFor(0, columns, kRows, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i != last; ++i)
        for (int64_t j = 0; j != columns; ++j)
          secondMoment[i * columns + j] *= inputScales[i] * inputScales[j];
    });
  if (!input)
    return;
  input->apply(secondMoment, columns, pool);
  input->applyToColumns(secondMoment, columns, pool);
  mirror(secondMoment, columns, pool);
}

void IncoherentBasis::enterInputs(float *inputs, int64_t count, int64_t columns,
                                  ThreadPool &pool) const {
  scaleRows(inputs, count, columns, inputScales, pool, multiply);
  if (input)
    input->apply(inputs, count, pool);
}

void IncoherentBasis::leaveOutputs(float *outputs, int64_t count,
                                   ThreadPool &pool) const {
  if (output)
    output->applyTransposed(outputs, count, pool);
}

double llq::numerics::normalizeSecondMoment(float *secondMoment,
                                            int64_t columns, double ridge,
                                            ThreadPool &pool) {
  double trace = 0;
  for (int64_t j = 0; j != columns; ++j)
    trace += secondMoment[j * columns + j];
  const double mean =
      trace / static_cast<double>(std::max<int64_t>(columns, 1));
  const double factor = mean > 0 ? 1 / mean : 0;
  pool.parallelFor(0, columns, kRows, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i != last; ++i) {
      float *row = secondMoment + i * columns;
      for (int64_t j = 0; j != columns; ++j)
        row[j] = static_cast<float>(row[j] * factor + (i == j ? ridge : 0.0));
    }
  });
  return mean;
}

double llq::numerics::incoherence(std::span<const float> weights) {
  float largest = 0;
  for (float weight : weights)
    largest = std::max(largest, std::fabs(weight));
  if (largest == 0)
    return 0;
  const auto count = static_cast<int64_t>(weights.size());
  const double squares = dot(weights.data(), weights.data(), count);
  return largest / std::sqrt(squares / static_cast<double>(count));
}
