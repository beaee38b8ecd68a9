//===- AffineGrid.cpp - Grids with an offset, 1 to 8 bits -----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/AffineGrid.h"
#include "GroupRange.h"
#include "Power.h"
#include "RoundToType.h"
#include "VectorClones.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <vector>

using namespace llq::numerics;

static float maxCodeOf(unsigned bits) {
  return static_cast<float>((1 << bits) - 1);
}

/// The code of `weight` as a number. Clamping comes first, so that rounding by
/// addition is exact.
static inline float codeOf(float weight, AffineGrid grid, float maxCode) {
  float code = (weight - grid.offset) / grid.scale;
  code = code > 0.0f ? code : 0.0f;
  code = code < maxCode ? code : maxCode;
  return roundToInteger(code);
}

/// The same of one bit.
static inline float bitOf(float weight, AffineGrid grid) {
  return weight - grid.offset >= grid.scale * 0.5f ? 1.0f : 0.0f;
}

void llq::numerics::quantizeGroup(std::span<const float> group, AffineGrid grid,
                                  unsigned bits, std::span<uint8_t> codes) {
  assert(bits >= 1 && bits <= 8 && codes.size() >= group.size());
  const float *__restrict source = group.data();
  uint8_t *__restrict target = codes.data();
  const auto count = static_cast<int64_t>(group.size());
  const float maxCode = maxCodeOf(bits);
  if (bits == 1)
    for (int64_t j = 0; j != count; ++j)
      target[j] =
          static_cast<uint8_t>(static_cast<int32_t>(bitOf(source[j], grid)));
  else
    for (int64_t j = 0; j != count; ++j)
      target[j] = static_cast<uint8_t>(
          static_cast<int32_t>(codeOf(source[j], grid, maxCode)));
}

void llq::numerics::dequantizeGroup(std::span<const uint8_t> codes,
                                    AffineGrid grid, std::span<float> weights) {
  assert(weights.size() >= codes.size());
  for (size_t j = 0, e = codes.size(); j != e; ++j)
    weights[j] = grid.scale * static_cast<float>(codes[j]) + grid.offset;
}

/// mu - alpha and 2 alpha.
static AffineGrid oneBitGrid(std::span<const float> group,
                             const AffineGridOptions &options) {
  const double count = static_cast<double>(std::max<size_t>(group.size(), 1));
  double mean = 0, alpha = 0;
  for (float weight : group)
    mean += weight;
  mean /= count;
  const double center = options.oneBit == OneBitScale::Deviation ? mean : 0;
  for (float weight : group)
    alpha += std::fabs(weight - center);
  alpha /= count;
  // Equal weights all have code 0, of any scale.
  const double scale = alpha > 0 ? 2 * alpha : 1;
  return {roundScale(static_cast<float>(scale), options.scaleType),
          roundToType(static_cast<float>(mean - alpha), options.scaleType)};
}

namespace {
/// The grids of a group for all tau.
class RangeGrids {
public:
  RangeGrids(std::span<const float> group, unsigned bits,
             const AffineGridOptions &options)
      : type(options.scaleType) {
    const UniformGridOptions uniform{.bits = bits, .scaleType = ScaleType::F32};
    std::optional<GroupRange> range = groupRange(group, GridScheme::Asymmetric);
    assert(range && "weights must be finite");
    const GroupGrid grid = gridOfRange(*range, uniform);
    step = grid.scale;
    zero = static_cast<float>(grid.zero);
  }

  AffineGrid at(double tau) const {
    const float scale = roundScale(static_cast<float>(tau * step), type);
    return {scale, roundToType(-scale * zero, type)};
  }

private:
  ScaleType type;
  double step;
  float zero; ///< the same for all
};

/// A group in the form that its loss is taken of, scaled by a power of two to a
/// range of about 1, so that powers neither overflow nor underflow, and padded
/// to whole vectors with weights that count nothing.
struct PaddedGroup {
  float unit;
  std::vector<float> values, omega;

  PaddedGroup(std::span<const float> group, std::span<const float> weights) {
    float largest = 0;
    for (float value : group)
      largest = std::max(largest, std::fabs(value));
    const int exponent = largest > 0 ? std::ilogb(largest) : 0;
    unit = std::ldexp(1.0f, std::clamp(-exponent, -126, 126));
    const size_t size = (group.size() + kLanes - 1) / kLanes * kLanes;
    values.resize(size);
    omega.resize(size);
    for (size_t i = 0; i != group.size(); ++i) {
      values[i] = group[i] * unit;
      omega[i] = weights.empty() ? 1.0f : weights[i];
    }
  }
};
} // namespace

/// sum omega power(error); infinity as soon as it is no less than `bound`.
template <typename Power>
static inline __attribute__((always_inline)) double
sumPowers(const float *__restrict values, const float *__restrict omega,
          int64_t count, AffineGrid grid, float maxCode, double bound,
          Power power) {
  constexpr int64_t chunk = 16 * kLanes; // floats are exact enough for it
  const float inverse = 1.0f / grid.scale;
  double sum = 0;
  for (int64_t i = 0; i < count;) {
    float partial[kLanes] = {};
    for (int64_t end = std::min(count, i + chunk); i != end; i += kLanes)
      for (int64_t lane = 0; lane != kLanes; ++lane) {
        // Multiplying by the inverse may round a tie the other way; either side
        // of a tie has the same error.
        float code = (values[i + lane] - grid.offset) * inverse;
        code = code > 0.0f ? code : 0.0f;
        code = code < maxCode ? code : maxCode;
        code = roundToInteger(code);
        const float error = grid.scale * code + grid.offset - values[i + lane];
        partial[lane] += omega[i + lane] * power(error);
      }
    for (int64_t width = kLanes / 2; width != 0; width /= 2)
      for (int64_t lane = 0; lane != width; ++lane)
        partial[lane] += partial[lane + width];
    sum += static_cast<double>(partial[0]);
    if (!(sum < bound))
      return std::numeric_limits<double>::infinity();
  }
  return sum;
}

LLQ_VECTOR_CLONES static double sumSquares(const float *values,
                                           const float *omega, int64_t count,
                                           AffineGrid grid, float maxCode,
                                           double bound) {
  return sumPowers(values, omega, count, grid, maxCode, bound,
                   [](float d) { return d * d; });
}

LLQ_VECTOR_CLONES static double sumPowers24(const float *values,
                                            const float *omega, int64_t count,
                                            AffineGrid grid, float maxCode,
                                            double bound) {
  return sumPowers(values, omega, count, grid, maxCode, bound,
                   [](float d) { return power24(d); });
}

static double sumAnyPowers(const PaddedGroup &group, AffineGrid grid,
                           float maxCode, double bound, double exponent) {
  return sumPowers(group.values.data(), group.omega.data(),
                   static_cast<int64_t>(group.values.size()), grid, maxCode,
                   bound, [exponent](float d) {
                     return static_cast<float>(
                         std::pow(std::fabs(static_cast<double>(d)), exponent));
                   });
}

/// The loss of a grid, times unit^p.
static double lossBelow(const PaddedGroup &group, AffineGrid grid,
                        float maxCode, double bound, double exponent) {
  grid = {grid.scale * group.unit, grid.offset * group.unit};
  if (exponent != 2 && exponent != 2.4)
    return sumAnyPowers(group, grid, maxCode, bound, exponent);
  auto *sum = exponent == 2 ? sumSquares : sumPowers24;
  return sum(group.values.data(), group.omega.data(),
             static_cast<int64_t>(group.values.size()), grid, maxCode, bound);
}

AffineGrid llq::numerics::plainAffineGrid(std::span<const float> group,
                                          unsigned bits,
                                          const AffineGridOptions &options) {
  assert(bits >= 1 && bits <= 8);
  return bits == 1 ? oneBitGrid(group, options)
                   : RangeGrids(group, bits, options).at(1);
}

AffineGrid llq::numerics::searchAffineGrid(std::span<const float> group,
                                           std::span<const float> omega,
                                           unsigned bits,
                                           const AffineGridOptions &options) {
  assert(omega.empty() || omega.size() == group.size());
  if (bits == 1 || options.steps == 0)
    return plainAffineGrid(group, bits, options);
  assert(options.range >= 0 && options.range < 1 && options.exponent > 0);
  const RangeGrids grids(group, bits, options);
  const PaddedGroup padded(group, omega);
  const float maxCode = maxCodeOf(bits);
  double least = std::numeric_limits<double>::infinity();
  AffineGrid best = grids.at(1);
  auto consider = [&](double tau) {
    const AffineGrid grid = grids.at(tau);
    const double loss =
        lossBelow(padded, grid, maxCode, least, options.exponent);
    if (loss < least) {
      least = loss;
      best = grid;
    }
  };
  consider(1);
  for (double sign : {1.0, -1.0})
    for (int k = 1; k <= options.steps; ++k)
      consider(1 + sign * options.range * k / options.steps);
  return best;
}

double llq::numerics::affineLoss(std::span<const float> group,
                                 std::span<const float> omega, AffineGrid grid,
                                 unsigned bits,
                                 const AffineGridOptions &options) {
  double sum = 0;
  for (size_t j = 0; j != group.size(); ++j) {
    uint8_t code;
    float decoded;
    quantizeGroup(group.subspan(j, 1), grid, bits, {&code, 1});
    dequantizeGroup({&code, 1}, grid, {&decoded, 1});
    sum += (omega.empty() ? 1.0 : double(omega[j])) *
           std::pow(std::fabs(double(decoded) - double(group[j])),
                    options.exponent);
  }
  return sum;
}
