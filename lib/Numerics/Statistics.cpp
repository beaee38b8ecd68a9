//===- Statistics.cpp - How far an approximation is off -------------------===//
//
// Sums run in a fixed number of independent lanes, which both vectorises and
// fixes the order of the additions.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Statistics.h"

#include <cassert>
#include <cmath>
#include <cstddef>
#include <limits>

using namespace llq::numerics;

void ErrorStatistics::add(std::span<const float> reference,
                          std::span<const float> approximation) {
  assert(reference.size() == approximation.size() && "lengths differ");
  constexpr size_t lanes = 8;
  double errors[lanes] = {}, references[lanes] = {}, maxima[lanes] = {};
  auto addPair = [&](size_t lane, double r, double a) {
    double error = std::fabs(a - r);
    errors[lane] += error * error;
    references[lane] += r * r;
    maxima[lane] = error > maxima[lane] ? error : maxima[lane];
  };

  size_t size = reference.size(), whole = size - size % lanes;
  for (size_t i = 0; i != whole; i += lanes)
    for (size_t lane = 0; lane != lanes; ++lane)
      addPair(lane, reference[i + lane], approximation[i + lane]);
  for (size_t i = whole; i != size; ++i)
    addPair(i - whole, reference[i], approximation[i]);

  ErrorStatistics part;
  part.count = size;
  for (size_t lane = 0; lane != lanes; ++lane) {
    ErrorStatistics one;
    one.squaredError = errors[lane];
    one.squaredReference = references[lane];
    // The comparison above passes over NaNs, the sum keeps them.
    one.maxAbsError = std::isnan(errors[lane]) ? errors[lane] : maxima[lane];
    part.merge(one);
  }
  merge(part);
}

void ErrorStatistics::merge(const ErrorStatistics &other) {
  count += other.count;
  squaredError += other.squaredError;
  squaredReference += other.squaredReference;
  if (std::isnan(other.maxAbsError) || other.maxAbsError > maxAbsError)
    maxAbsError = other.maxAbsError;
}

double ErrorStatistics::meanSquaredError() const {
  return count == 0 ? 0.0 : squaredError / static_cast<double>(count);
}

double ErrorStatistics::relativeError() const {
  if (squaredError == 0)
    return 0;
  if (squaredReference == 0)
    return std::numeric_limits<double>::infinity();
  return std::sqrt(squaredError / squaredReference);
}

double ErrorStatistics::sqnrDecibel() const {
  if (squaredError == 0)
    return std::numeric_limits<double>::infinity();
  return 10 * std::log10(squaredReference / squaredError);
}
