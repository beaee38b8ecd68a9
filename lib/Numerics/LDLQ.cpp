//===- LDLQ.cpp - One uniform grid per matrix, with feedback --------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/LDLQ.h"
#include "GroupRange.h"
#include "RangeSearch.h"
#include "VectorClones.h"
#include "llq/Numerics/Compensation.h"
#include "llq/Numerics/CoordinateDescent.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

using namespace llq;
using namespace llq::numerics;

/// The rho at which rounding normal deviates to 2^bits levels costs least
/// (Max, "Quantizing for minimum distortion", 1960).
static constexpr double kNormalRange[] = {0,    0,    1.49, 2.05, 2.51,
                                          2.92, 3.28, 3.61, 3.93};

/// codes and `rounded` values of `count` values; half a step rounds up.
LLQ_VECTOR_CLONES static void roundToMatrixGrid(const float *__restrict values,
                                                int64_t count, float scale,
                                                float zero, float maxCode,
                                                uint8_t *__restrict codes,
                                                float *__restrict rounded) {
  for (int64_t i = 0; i != count; ++i) {
    // At least 0, so truncation is floor. What is no number becomes code 0.
    float code = values[i] / scale + (zero + 0.5f);
    code = code > 0.0f ? code : 0.0f;
    code = code < maxCode ? code : maxCode;
    const auto integer = static_cast<int32_t>(code);
    codes[i] = static_cast<uint8_t>(integer);
    rounded[i] = scale * (static_cast<float>(integer) - zero);
  }
}

namespace {

/// One grid, in the form the loop wants.
struct MatrixGrid {
  float scale, zero, maxCode;

  void round(const float *values, int64_t count, uint8_t *codes,
             float *rounded) const {
    roundToMatrixGrid(values, count, scale, zero, maxCode, codes, rounded);
  }
};

class MatrixRounder : public StripRounder {
public:
  /// The strip's codes[rows, K], or null.
  MatrixRounder(const GPTQFactor &factor, const MatrixGrid &grid, int64_t rows,
                uint8_t *result)
      : factor(factor), grid(grid), rows(rows), result(result) {}

  void roundColumn(int64_t position, const float *current,
                   float *rounded) override {
    const size_t at = codes.size();
    codes.resize(at + kStripRows);
    grid.round(current, kStripRows, &codes[at], rounded);
  }

  void endBlock(int64_t begin, int64_t end) override {
    if (result)
      for (int64_t r = 0; r != rows; ++r)
        for (int64_t j = begin; j != end; ++j)
          result[r * factor.columns() + factor.permutation()[j]] =
              codes[(j - begin) * kStripRows + r];
    codes.clear();
  }

private:
  const GPTQFactor &factor;
  const MatrixGrid grid;
  const int64_t rows;
  uint8_t *const result;
  std::vector<uint8_t> codes; ///< of the present block, [columns, kStripRows]
};

/// The weights of a matrix, or of a sample of its rows, on their way to codes.
class MatrixQuantizer {
public:
  MatrixQuantizer(const float *weights, int64_t rows, const GPTQFactor &factor,
                  const LDLQOptions &options, ThreadPool &pool)
      : weights(weights), rows(rows), factor(factor), options(options),
        pool(pool) {}

  /// Returns the error at the output. `codes` may be null.
  double compensate(const MatrixGrid &grid, uint8_t *codes) const;
  double descend(const MatrixGrid &grid, std::span<const float> secondMoment,
                 uint8_t *codes) const;

private:
  std::vector<float> decode(const MatrixGrid &grid, const uint8_t *codes) const;
  double errorOf(const std::vector<float> &rounded) const;

  int64_t size() const { return rows * factor.columns(); }

  const float *weights;
  const int64_t rows;
  const GPTQFactor &factor;
  const LDLQOptions &options;
  ThreadPool &pool;
};

} // namespace

double MatrixQuantizer::compensate(const MatrixGrid &grid,
                                   uint8_t *codes) const {
  const float *source = weights;
  std::vector<float> clamped;
  std::vector<uint8_t> own;
  if (options.clampFirst) {
    const float s = grid.scale * grid.zero;
    clamped.resize(size());
    std::transform(weights, weights + size(), clamped.begin(),
                   [&](float value) { return std::clamp(value, -s, s); });
    source = clamped.data();
    if (!codes) {
      own.resize(size());
      codes = own.data();
    }
  }
  auto makeRounder = [&](int64_t first, int64_t last) {
    return std::make_unique<MatrixRounder>(
        factor, grid, last - first,
        codes ? codes + first * factor.columns() : nullptr);
  };
  const CompensatedLoss loss =
      compensateColumns(source, rows, factor, makeRounder, pool);
  // The loop knows the weights as clamped.
  return options.clampFirst ? errorOf(decode(grid, codes)) : loss.outputError;
}

double MatrixQuantizer::descend(const MatrixGrid &grid,
                                std::span<const float> secondMoment,
                                uint8_t *codes) const {
  std::vector<float> rounded = decode(grid, codes);
  // A value on the grid tells its code.
  auto round = [&](float *values, int64_t count, uint32_t *) {
    std::vector<uint8_t> ignored(count);
    const std::vector<float> given(values, values + count);
    grid.round(given.data(), count, ignored.data(), values);
  };
  descendByTuples(weights, rows, factor.columns(), secondMoment, 1,
                  options.greedyPasses, round, rounded.data(), nullptr, pool);
  std::vector<float> same(rounded.size());
  grid.round(rounded.data(), size(), codes, same.data());
  return errorOf(rounded);
}

std::vector<float> MatrixQuantizer::decode(const MatrixGrid &grid,
                                           const uint8_t *codes) const {
  std::vector<float> rounded(size());
  std::transform(codes, codes + size(), rounded.begin(), [&](uint8_t code) {
    return grid.scale * (static_cast<float>(code) - grid.zero);
  });
  return rounded;
}

double MatrixQuantizer::errorOf(const std::vector<float> &rounded) const {
  std::vector<float> delta(size());
  std::transform(weights, weights + size(), rounded.begin(), delta.begin(),
                 std::minus<float>());
  return factor.outputError(delta.data(), rows, pool);
}

std::optional<NonFiniteWeight> llq::numerics::quantizeLDLQ(
    const float *weights, int64_t rows, const GPTQFactor &factor,
    std::span<const float> secondMoment, const LDLQOptions &options,
    uint8_t *codes, LDLQGrid &grid, ThreadPool &pool) {
  const int64_t columns = factor.columns();
  assert(options.bits >= 2 && options.bits <= 8);
  assert(!factor.options().hasDynamicGroups(columns));
  if (auto bad = findNonFinite(weights, rows, columns))
    return bad;

  const double rms = rootMeanSquare(weights, rows * columns);
  auto gridOf = [&](double range) {
    const double scale = 2 * range * rms / options.maxCode();
    return MatrixGrid{roundScale(static_cast<float>(scale), options.scaleType),
                      options.zero(), static_cast<float>(options.maxCode())};
  };
  grid.range = options.range;
  if (grid.range == 0) {
    const RowSample sample(weights, rows, columns);
    const MatrixQuantizer quantizer(sample.weights.data(), sample.rows, factor,
                                    options, pool);
    grid.range = searchRange(kNormalRange[options.bits], [&](double range) {
      return quantizer.compensate(gridOf(range), nullptr);
    });
  }

  const MatrixGrid chosen = gridOf(grid.range);
  const MatrixQuantizer quantizer(weights, rows, factor, options, pool);
  grid.scale = chosen.scale;
  grid.zero = chosen.zero;
  grid.outputError = quantizer.compensate(chosen, codes);
  if (options.greedyPasses != 0)
    grid.outputError = quantizer.descend(chosen, secondMoment, codes);
  return std::nullopt;
}
