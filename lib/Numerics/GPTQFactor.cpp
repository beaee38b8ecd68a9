//===- GPTQFactor.cpp - Order, blocks and Cholesky factor of GPTQ ---------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/GPTQFactor.h"
#include "BLAS.h"
#include "Dot.h"
#include "llq/Numerics/Cholesky.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cmath>
#include <numeric>
#include <type_traits>

using namespace llq;
using namespace llq::numerics;

/// With four times the damping each time, the last one is far above the largest
/// eigenvalue of any second moment.
static constexpr int kMaxRetries = 16;
/// Rows that go through one product.
static constexpr int64_t kRows = 256;

GPTQFactor::GPTQFactor(int64_t columns, const GPTQOptions &options)
    : settings(options), order(columns), deadPosition(columns) {
  std::iota(order.begin(), order.end(), 0);
}

/// Sets the order and the groups, by the diagonal of H.
void GPTQFactor::chooseOrder(std::span<const double> diagonal) {
  const int64_t length = groupLength();
  const int64_t count = groupCount();
  // Equal columns stay in the order of the matrix.
  auto larger = [&](int64_t a, int64_t b) {
    return diagonal[a] != diagonal[b] ? diagonal[a] > diagonal[b] : a < b;
  };
  auto endOf = [&](int64_t group) {
    return std::min((group + 1) * length, columns());
  };

  std::vector<int64_t> groupOrder(count);
  std::iota(groupOrder.begin(), groupOrder.end(), 0);
  if (settings.order == GPTQOrder::Reverse) {
    std::reverse(order.begin(), order.end());
    std::reverse(groupOrder.begin(), groupOrder.end());
  } else if (settings.order == GPTQOrder::Activation) {
    std::sort(order.begin(), order.end(), larger);
  } else if (settings.order == GPTQOrder::GroupAware) {
    for (int64_t group = 0; group != count; ++group)
      std::sort(order.begin() + group * length, order.begin() + endOf(group),
                larger);
    // The first column of a group is now its largest.
    std::sort(groupOrder.begin(), groupOrder.end(), [&](int64_t a, int64_t b) {
      return larger(order[a * length], order[b * length]);
    });
    std::vector<int64_t> sorted;
    for (int64_t group : groupOrder)
      sorted.insert(sorted.end(), order.begin() + group * length,
                    order.begin() + endOf(group));
    order = std::move(sorted);
  }

  if (!hasDynamicGroups())
    return;
  int64_t position = 0;
  for (int64_t group : groupOrder) {
    const int64_t size = endOf(group) - group * length;
    groups.push_back({position, position + size, group});
    position += size;
  }
}

/// Blocks are whole groups, or parts of one.
void GPTQFactor::chooseBlocks() {
  const int64_t size = std::max<int64_t>(settings.blockSize, 1);
  blocks.push_back(0);
  if (!hasDynamicGroups()) {
    for (int64_t end = 0; end != columns();)
      blocks.push_back(end = std::min(end + size, columns()));
    return;
  }
  for (const Group &group : groups)
    for (int64_t end = group.begin; end != group.end;)
      blocks.push_back(end = std::min(end + size, group.end));
}

/// Sets `factor` for the present damping. False if H + lambda I is not positive
/// definite in single precision, nor in double where that is allowed.
bool GPTQFactor::factorize(std::span<const float> secondMoment,
                           std::span<const double> diagonal, ThreadPool &pool) {
  const int64_t k = columns();
  auto fill = [&](auto *matrix) {
    using T = std::remove_pointer_t<decltype(matrix)>;
    pool.parallelFor(0, k, 16, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i != last; ++i) {
        for (int64_t j = i + 1; j != k; ++j) {
          auto [low, high] = std::minmax(order[i], order[j]);
          matrix[i * k + j] =
              deadPosition[i] || deadPosition[j]
                  ? T(0)
                  : static_cast<T>(secondMoment[low * k + high]);
        }
        matrix[i * k + i] = static_cast<T>(diagonal[order[i]] + lambda);
      }
    });
  };

  // Large enough for the threads to be the first to touch it.
  if (!factor)
    factor = std::make_unique_for_overwrite<float[]>(k * k);
  if (!doublePrecision) {
    fill(factor.get());
    if (factorUpper(factor.get(), k, pool))
      return true;
    doublePrecision = true;
  }
  auto matrix = std::make_unique_for_overwrite<double[]>(k * k);
  fill(matrix.get());
  if (!factorUpper(matrix.get(), k, pool))
    return false;
  std::transform(matrix.get(), matrix.get() + k * k, factor.get(),
                 [](double value) { return static_cast<float>(value); });
  return true;
}

std::optional<GPTQFactor>
GPTQFactor::create(std::span<const float> secondMoment, int64_t columns,
                   const GPTQOptions &options, ThreadPool &pool) {
  assert(options.groupSize >= 0 && options.damp >= 0);
  assert(static_cast<int64_t>(secondMoment.size()) == columns * columns);
  std::atomic<bool> finite = true;
  pool.parallelFor(0, columns, 64, [&](int64_t first, int64_t last) {
    auto part = secondMoment.subspan(first * columns, (last - first) * columns);
    if (!std::all_of(part.begin(), part.end(),
                     [](float value) { return std::isfinite(value); }))
      finite = false;
  });
  if (!finite)
    return std::nullopt;

  GPTQFactor result(columns, options);
  std::vector<double> diagonal(columns);
  for (int64_t j = 0; j != columns; ++j) {
    diagonal[j] = secondMoment[j * columns + j];
    if (diagonal[j] < 0)
      return std::nullopt;
    if (diagonal[j] == 0) {
      result.dead.push_back(j);
      diagonal[j] = 1;
    }
  }
  result.chooseOrder(diagonal);
  result.chooseBlocks();
  for (int64_t j = 0; j != columns; ++j)
    result.deadPosition[j] = std::binary_search(
        result.dead.begin(), result.dead.end(), result.order[j]);

  const double mean = std::accumulate(diagonal.begin(), diagonal.end(), 0.0) /
                      static_cast<double>(std::max<int64_t>(columns, 1));
  result.dampUsed = options.damp;
  for (;; ++result.retries) {
    result.lambda = result.dampUsed * mean;
    if (result.factorize(secondMoment, diagonal, pool))
      break;
    if (result.retries == kMaxRetries)
      return std::nullopt;
    result.dampUsed = std::max(4 * result.dampUsed, 1e-4);
  }

  size_t total = 0;
  for (size_t b = 0; b + 1 < result.blocks.size(); ++b) {
    const size_t width = result.blocks[b + 1] - result.blocks[b];
    result.inverseOffsets.push_back(total);
    total += width * width;
  }
  result.inverses.resize(total);
  pool.parallelFor(
      0, static_cast<int64_t>(result.inverseOffsets.size()), 1,
      [&](int64_t b, int64_t) {
        const int64_t begin = result.blocks[b];
        invertUpper(result.row(begin) + begin, result.blocks[b + 1] - begin,
                    columns, result.inverses.data() + result.inverseOffsets[b]);
      });
  return result;
}

std::vector<float> GPTQFactor::inverseDiagonal(ThreadPool &pool) const {
  // H^-1 = U^T U with U = V^-1, whose columns are independent. A block of them
  // is solved from its diagonal block upwards.
  std::vector<float> result(columns());
  const auto count = static_cast<int64_t>(inverseOffsets.size());
  pool.parallelFor(0, count, 1, [&](int64_t b, int64_t) {
    const int64_t end = blocks[b + 1], width = end - blocks[b];
    std::vector<float> u(end * width), product;
    std::copy_n(inverse(b), width * width, &u[blocks[b] * width]);
    for (int64_t i = b - 1; i >= 0; --i) {
      const int64_t begin = blocks[i], next = blocks[i + 1];
      product.resize((next - begin) * width);
      blas::multiply(next - begin, width, end - next, -1.0f, row(begin) + next,
                     columns(), &u[next * width], width, 0.0f, product.data(),
                     width);
      blas::multiply(next - begin, width, next - begin, 1.0f, inverse(i),
                     next - begin, product.data(), width, 0.0f,
                     &u[begin * width], width);
    }
    for (int64_t j = 0; j != width; ++j) {
      double sum = 0;
      for (int64_t i = 0; i != end; ++i)
        sum += static_cast<double>(u[i * width + j]) *
               static_cast<double>(u[i * width + j]);
      result[blocks[b] + j] = static_cast<float>(sum);
    }
  });
  return result;
}

double GPTQFactor::squaredErrors(const float *delta, int64_t rows) const {
  constexpr int64_t kTile = 256;
  const int64_t k = columns();
  std::vector<float> product(kRows * kTile);
  double sum = 0;
  for (int64_t begin = 0; begin < k; begin += kTile) {
    const int64_t end = std::min(begin + kTile, k);
    blas::multiply(kRows, end - begin, end, 1.0f, delta, k,
                   factor.get() + begin, k, 0.0f, product.data(), kTile);
    for (int64_t r = 0; r != rows; ++r)
      sum += dot(&product[r * kTile], &product[r * kTile], end - begin);
  }
  return sum;
}

double GPTQFactor::outputError(const float *delta, int64_t rows,
                               ThreadPool &pool) const {
  // delta H delta^T = |delta V|^2 - lambda |delta|^2.
  const int64_t k = columns();
  std::vector<double> sums((rows + kRows - 1) / kRows);
  pool.parallelFor(0, rows, kRows, [&](int64_t first, int64_t last) {
    std::vector<float> permuted(kRows * k);
    double squares = 0;
    for (int64_t r = first; r != last; ++r)
      for (int64_t j = 0; j != k; ++j) {
        const float value = deadPosition[j] ? 0.0f : delta[r * k + order[j]];
        permuted[(r - first) * k + j] = value;
        squares += static_cast<double>(value) * static_cast<double>(value);
      }
    sums[first / kRows] =
        squaredErrors(permuted.data(), last - first) - lambda * squares;
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}
