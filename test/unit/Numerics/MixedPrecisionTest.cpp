//===- MixedPrecisionTest.cpp - Widths by salience, affine grids ----------===//
//
// The examples and the properties of docs/methods/slimllm.md.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/MixedPrecision.h"
#include "Calibration.h"
#include "GPTQReference.h"
#include "QuantizeLayer.h"
#include "llq/Numerics/Float16.h"
#include "llq/Numerics/GroupWidths.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>

using namespace llq;
using namespace llq::numerics;

namespace {
using Floats = std::vector<float>;
using Codes = std::vector<uint8_t>;

/// Options of the worked examples: f32 and, with 0 steps, no search.
AffineGridOptions exact(int steps, double exponent = 2) {
  AffineGridOptions options;
  options.scaleType = ScaleType::F32;
  options.steps = steps;
  options.exponent = exponent;
  return options;
}

Codes codesOf(const Floats &group, AffineGrid grid, unsigned bits) {
  Codes codes(group.size());
  quantizeGroup(group, grid, bits, codes);
  return codes;
}

Floats rounded(const Floats &group, AffineGrid grid, unsigned bits) {
  Floats result(group.size());
  dequantizeGroup(codesOf(group, grid, bits), grid, result);
  return result;
}

double tau(const Floats &group, const Floats &omega, unsigned bits,
           const AffineGridOptions &options) {
  return searchAffineGrid(group, omega, bits, options).scale /
         plainAffineGrid(group, bits, options).scale;
}

const Floats exampleA = {-0.9f, -0.4f, -0.1f, 0, 0.2f, 0.3f, 0.5f, 1.2f};

TEST(AffineGrid, ExampleOfTwoAndThreeBits) {
  const auto plain = exact(0);
  AffineGrid grid = plainAffineGrid(exampleA, 2, plain);
  EXPECT_NEAR(grid.scale, 0.7, 1e-6);
  EXPECT_NEAR(grid.offset, -0.7, 1e-6);
  EXPECT_EQ(codesOf(exampleA, grid, 2), (Codes{0, 0, 1, 1, 1, 1, 2, 3}));
  expectNear(rounded(exampleA, grid, 2), {-0.7f, -0.7f, 0, 0, 0, 0, 0.7f, 1.4f},
             1e-6);
  EXPECT_NEAR(affineLoss(exampleA, {}, grid, 2, plain), 0.35, 1e-6);
  // Planes against the same inputs.
  const Floats x = {1, -1, 2, 0.5f, -2, 1, 3, -0.5f};
  const Codes codes = codesOf(exampleA, grid, 2);
  float planes[2] = {}, inputs = 0;
  for (int i = 0; i != 8; ++i) {
    inputs += x[i];
    for (int bit = 0; bit != 2; ++bit)
      planes[bit] += codes[i] >> bit & 1 ? x[i] : 0;
  }
  EXPECT_EQ(planes[0], 1);
  EXPECT_EQ(planes[1], 2.5f);
  EXPECT_NEAR(grid.scale * (planes[0] + 2 * planes[1]) + grid.offset * inputs,
              1.4, 1e-5);

  grid = plainAffineGrid(exampleA, 3, plain);
  EXPECT_NEAR(grid.scale, 0.3, 1e-6);
  EXPECT_NEAR(grid.offset, -0.9, 1e-6);
  EXPECT_EQ(codesOf(exampleA, grid, 3), (Codes{0, 2, 3, 3, 4, 4, 5, 7}));
  EXPECT_NEAR(affineLoss(exampleA, {}, grid, 3, plain), 0.04, 1e-6);

  grid = searchAffineGrid(exampleA, {}, 2, exact(50));
  EXPECT_NEAR(grid.scale, 0.63, 1e-6);
  EXPECT_NEAR(affineLoss(exampleA, {}, grid, 2, plain), 0.2863, 1e-6);
}

TEST(AffineGrid, ExampleOfSalience) {
  const Floats w = {-1, -0.55f, -0.45f, -0.1f, 0.1f, 0.5f, 0.9f, 2};
  const Floats omega = {1, 1, 1, 1, 1, 1, 1, 20};
  AffineGrid grid = plainAffineGrid(w, 2, exact(0));
  EXPECT_EQ(grid.scale, 1);
  EXPECT_NEAR(affineLoss(w, {}, grid, 2, exact(0)), 0.685, 1e-6);
  EXPECT_NEAR(tau(w, {}, 2, exact(50)), 0.9, 1e-6);
  grid = searchAffineGrid(w, {}, 2, exact(50));
  EXPECT_NEAR(affineLoss(w, {}, grid, 2, exact(50)), 0.555, 1e-6);
  EXPECT_NEAR(tau(w, omega, 2, exact(50)), 0.988, 1e-6);
  grid = searchAffineGrid(w, omega, 2, exact(50));
  EXPECT_NEAR(affineLoss(w, omega, grid, 2, exact(50)), 0.671896, 1e-6);
  EXPECT_NEAR(tau(w, omega, 2, exact(50, 2.4)), 0.974, 1e-6);
}

TEST(AffineGrid, ExampleOfOneBit) {
  const Floats w = {0.6f, 0.2f, 0.5f, -0.1f};
  AffineGridOptions options = exact(0);
  AffineGrid grid = plainAffineGrid(w, 1, options);
  EXPECT_NEAR(grid.scale, 0.5, 1e-6);
  EXPECT_NEAR(grid.offset, 0.05, 1e-6);
  EXPECT_EQ(codesOf(w, grid, 1), (Codes{1, 0, 1, 0}));
  EXPECT_NEAR(affineLoss(w, {}, grid, 1, options), 0.05, 1e-6);
  const Floats x = {1, 2, -1, 3};
  float y = 0;
  for (int i = 0; i != 4; ++i)
    y += rounded(w, grid, 1)[i] * x[i];
  EXPECT_NEAR(y, 0.25, 1e-6);
  options.oneBit = OneBitScale::Magnitude;
  grid = plainAffineGrid(w, 1, options);
  EXPECT_NEAR(grid.scale, 0.7, 1e-6);
  EXPECT_NEAR(grid.offset, -0.05, 1e-6);
  EXPECT_NEAR(affineLoss(w, {}, grid, 1, options), 0.09, 1e-6);
  // The mean itself goes up.
  EXPECT_EQ(codesOf({-1, 0, 1}, {2, -1}, 1), (Codes{0, 1, 1}));
}

TEST(AffineGrid, SearchIsNeverWorseAndKeepsTheZero) {
  for (uint64_t seed = 0; seed != 12; ++seed)
    for (unsigned bits : {2, 3, 4, 8})
      for (double exponent : {2.0, 2.4, 1.5})
        for (auto type : {ScaleType::F16, ScaleType::F32}) {
          const Floats w = normalMatrix(77, seed, seed % 2 ? 0.02f : 1000.0f);
          Floats omega(w.size(), 1);
          AffineGridOptions options = exact(50, exponent);
          options.scaleType = type;
          const AffineGrid plain = plainAffineGrid(w, bits, options);
          const AffineGrid unweighted = searchAffineGrid(w, {}, bits, options);
          EXPECT_EQ(searchAffineGrid(w, omega, bits, options).scale,
                    unweighted.scale);
          for (size_t i = 0; i < w.size(); i += 7)
            omega[i] = 20;
          const AffineGrid best = searchAffineGrid(w, omega, bits, options);
          EXPECT_LE(affineLoss(w, omega, best, bits, options),
                    affineLoss(w, omega, plain, bits, options) * (1 + 1e-6));
          EXPECT_EQ(std::round(best.offset / best.scale),
                    std::round(plain.offset / plain.scale));
          EXPECT_LE(std::fabs(best.scale / plain.scale - 1), 0.1 + 1e-3);
          if (type == ScaleType::F16) {
            EXPECT_EQ(decodeF16(encodeF16(best.scale)), best.scale);
            EXPECT_EQ(decodeF16(encodeF16(best.offset)), best.offset);
          }
        }
}

TEST(AffineGrid, OddGroups) {
  AffineGridOptions f16;
  for (unsigned bits = 1; bits <= 8; ++bits)
    for (const auto &options : {exact(50), f16}) {
      const Floats zeros(5);
      EXPECT_EQ(
          rounded(zeros, searchAffineGrid(zeros, {}, bits, options), bits),
          zeros);
      for (const Floats &w :
           {Floats{0.5f, 0.5f, 0.5f}, Floats{-0.25f}, Floats{0.75f, -0.25f}}) {
        const AffineGrid grid = searchAffineGrid(w, {}, bits, options);
        EXPECT_GT(grid.scale, 0);
        const bool exactly = bits == 1 || w[0] == w.back();
        expectNear(rounded(w, grid, bits), w,
                   exactly ? 1e-3 : 0.6 / ((1 << bits) - 1));
      }
      for (float size : {1e-30f, 1e-9f, 1e9f, 3e38f}) {
        const Floats w = {size, -size, size / 3};
        const AffineGrid grid = searchAffineGrid(w, {}, bits, options);
        EXPECT_TRUE(grid.scale > 0 && std::isfinite(grid.scale));
        for (float value : rounded(w, grid, bits))
          EXPECT_FALSE(std::isnan(value));
      }
      EXPECT_GT(searchAffineGrid(Floats{}, {}, bits, options).scale, 0);
    }
}

TEST(GroupWidths, ExampleOfAnAllocation) {
  const std::vector<double> salience = {5, 1, 9, 2, 7, 3, 8, 4};
  EXPECT_EQ(allocateWidths(salience, 8, 1, 2), (Codes{2, 1, 3, 2, 2, 2, 2, 2}));
  EXPECT_EQ(allocateWidths(salience, 8, 2, 2), (Codes{2, 1, 3, 1, 2, 2, 3, 2}));
  EXPECT_EQ(allocateWidths(salience, 8, 3, 2), (Codes{2, 1, 3, 1, 3, 1, 3, 2}));
  EXPECT_EQ(allocateWidths(salience, 8, 0, 7), Codes(8, 7));
  // Equal saliences: the first groups lose. A shorter last group stays.
  EXPECT_EQ(allocateWidths(std::vector<double>(5, 1.0), 4, 2, 4),
            (Codes{3, 3, 5, 5, 4}));
}

TEST(GroupWidths, ExampleOfADivergence) {
  const Floats reference = {1, 0, -1}, outputs = {0.8f, 0.3f, -1.2f};
  EXPECT_NEAR(softmaxDivergence(outputs, reference), 0.0267528, 1e-6);
  EXPECT_NEAR(softmaxDivergence(reference, outputs), 0.0249867, 1e-6);
  EXPECT_NEAR(softmaxDivergence(reference, reference), 0, 1e-9);
  EXPECT_EQ(softmaxDivergence({}, {}), 0);
  // By its definition, also where channels are clamped.
  for (float size : {0.1f, 3.0f, 40.0f}) {
    const Floats q = normalMatrix(100, 1, size), p = normalMatrix(100, 2, size);
    auto softmax = [](const Floats &y) {
      std::vector<double> result;
      const double top = *std::max_element(y.begin(), y.end());
      for (float value : y)
        result.push_back(std::exp(value - top));
      const double sum = std::accumulate(result.begin(), result.end(), 0.0);
      for (double &value : result)
        value = std::max(value / sum, 1e-6);
      return result;
    };
    const auto a = softmax(q), b = softmax(p);
    double sum = 0;
    for (int i = 0; i != 100; ++i)
      sum += a[i] * std::log(a[i] / b[i]);
    EXPECT_NEAR(softmaxDivergence(q, p), sum, 1e-5 * std::max(1.0, sum));
  }
}

/// Inputs and weights of a small layer.
struct Layer {
  int64_t rows, columns, tokens;
  Floats weights, inputs, h;

  Layer(int64_t rows, int64_t columns, int64_t tokens, uint64_t seed)
      : rows(rows), columns(columns), tokens(tokens),
        weights(normalMatrix(rows * columns, seed, 0.2f)),
        inputs(correlatedInputs(tokens, columns, seed)),
        h(secondMoment(inputs, columns, 1.0 / double(tokens))) {}

  GPTQFactor factor(GPTQOptions options) const {
    ThreadPool pool(2);
    return *GPTQFactor::create(h, columns, options, pool);
  }
};

std::vector<double> salienceOf(const Layer &layer, const GPTQFactor &factor) {
  ThreadPool pool(2);
  return groupSalience(layer.weights.data(), layer.rows, factor, pool);
}

GroupWidths widthsOf(const Layer &layer, const std::vector<double> &salience,
                     const GroupWidthOptions &options, unsigned threads = 2) {
  ThreadPool pool(threads);
  return chooseGroupWidths(layer.weights.data(), layer.rows, layer.columns,
                           layer.inputs, salience, options, pool);
}

TEST(GroupWidths, SalienceFollowsItsDefinition) {
  const Layer layer(7, 26, 60, 3);
  for (auto order : {GPTQOrder::Natural, GPTQOrder::GroupAware}) {
    const GPTQFactor factor = layer.factor({.groupSize = 4, .order = order});
    const auto salience = salienceOf(layer, factor);
    ASSERT_EQ(salience.size(), 7u);
    std::vector<double> damped(layer.h.begin(), layer.h.end());
    for (int64_t j = 0; j != 26; ++j)
      damped[j * 27] += factor.addedToDiagonal();
    std::vector<double> permuted(26 * 26);
    const auto &columns = factor.permutation();
    for (int64_t i = 0; i != 26; ++i)
      for (int64_t j = 0; j != 26; ++j)
        permuted[i * 26 + j] = damped[columns[i] * 26 + columns[j]];
    const auto u = inverseFactor(permuted, 26);
    std::vector<double> expected(7);
    for (int64_t j = 0; j != 26; ++j)
      for (int64_t r = 0; r != 7; ++r)
        expected[columns[j] / 4] +=
            std::pow(layer.weights[r * 26 + columns[j]] / u[j * 27], 2);
    for (int g = 0; g != 7; ++g)
      EXPECT_NEAR(salience[g], expected[g], 1e-4 * expected[g]);
  }
}

/// The outputs' mean cost from scratch.
double costOf(const Layer &layer, const Codes &widths,
              const GroupWidthOptions &options) {
  double sum = 0;
  Floats decoded = layer.weights;
  for (int64_t r = 0; r != layer.rows; ++r)
    for (size_t g = 0; g != widths.size(); ++g) {
      const int64_t first = int64_t(g) * options.groupSize;
      const size_t size = std::min(options.groupSize, layer.columns - first);
      float *at = &decoded[r * layer.columns + first];
      const Floats group(at, at + size);
      const Floats result = rounded(
          group, plainAffineGrid(group, widths[g], options.grid), widths[g]);
      std::copy(result.begin(), result.end(), at);
    }
  for (int64_t t = 0; t != layer.tokens; ++t) {
    Floats y(layer.rows), z(layer.rows);
    double squares = 0;
    for (int64_t r = 0; r != layer.rows; ++r) {
      double right = 0, error = 0;
      for (int64_t j = 0; j != layer.columns; ++j) {
        const double x = layer.inputs[t * layer.columns + j];
        const int64_t at = r * layer.columns + j;
        right += x * layer.weights[at];
        error += x * (double(decoded[at]) - layer.weights[at]);
      }
      y[r] = static_cast<float>(right);
      z[r] = static_cast<float>(right + error);
      squares += error * error;
    }
    sum += options.cost == OutputCost::SquaredError ? squares
                                                    : softmaxDivergence(z, y);
  }
  return sum / double(layer.tokens);
}

TEST(GroupWidths, CostsAreThoseFromScratch) {
  const Layer layer(40, 67, 9, 4);
  GroupWidthOptions options;
  options.groupSize = 8;
  const auto salience =
      salienceOf(layer, layer.factor({.groupSize = options.groupSize}));
  for (unsigned bits : {2, 4, 7})
    for (auto cost : {OutputCost::Divergence, OutputCost::SquaredError}) {
      options.bits = bits;
      options.cost = cost;
      const GroupWidths found = widthsOf(layer, salience, options);
      ASSERT_EQ(found.costs.size(), 4u); // 8 whole groups
      for (int64_t p = 0; p != 4; ++p) {
        const Codes widths = allocateWidths(salience, 8, p, bits);
        const double expected = costOf(layer, widths, options);
        EXPECT_NEAR(found.costs[p], expected, 2e-3 * expected + 1e-6);
        EXPECT_GE(found.costs[p], found.costs[found.moved]);
        EXPECT_EQ(std::count(widths.begin(), widths.end(), bits - 1), p);
        EXPECT_EQ(std::count(widths.begin(), widths.end(), bits + 1), p);
        EXPECT_EQ(widths[8], bits); // the shorter one
        for (int a = 0; a != 8; ++a)
          for (int b = 0; b != 8; ++b)
            if (salience[a] < salience[b]) {
              EXPECT_LE(widths[a], widths[b]);
            }
      }
      EXPECT_EQ(found.widths, allocateWidths(salience, 8, found.moved, bits));
    }
}

TEST(GroupWidths, SalientGroupsPay) {
  // Two groups of large inputs, two of small ones.
  Layer layer(30, 64, 50, 5);
  for (size_t i = 0; i != layer.inputs.size(); ++i)
    layer.inputs[i] *= i % 64 / 8 < 2 ? 8.0f : i % 64 / 8 < 4 ? 0.1f : 1.0f;
  layer.h = secondMoment(layer.inputs, 64, 1.0 / 50);
  GroupWidthOptions options;
  options.groupSize = 8;
  const GroupWidths found = widthsOf(
      layer, salienceOf(layer, layer.factor({.groupSize = 8})), options);
  EXPECT_GE(found.moved, 2);
  EXPECT_LT(found.costs[found.moved], found.costs[0]);
  EXPECT_EQ(found.widths[0] + found.widths[1], 6);
  EXPECT_EQ(found.widths[2] + found.widths[3], 2);
}

TEST(GroupWidths, FewGroupsOrNoInputsMoveNothing) {
  for (int64_t groupSize : {0, 9, 15, 30}) {
    const Layer layer(5, 30, 20, 6);
    GroupWidthOptions options;
    options.groupSize = groupSize;
    options.bits = 3;
    const auto salience =
        salienceOf(layer, layer.factor({.groupSize = groupSize}));
    const GroupWidths found = widthsOf(layer, salience, options);
    EXPECT_EQ(found.moved, 0);
    EXPECT_EQ(found.costs.size(), 1u);
    EXPECT_EQ(found.widths, Codes(salience.size(), 3));
    Layer silent = layer;
    silent.inputs.clear();
    EXPECT_EQ(widthsOf(silent, salience, options).widths, found.widths);
  }
}

/// A layer of mixed widths.
struct MixedMatrix {
  Codes codes;
  Floats scales, offsets, weights;
  CompensatedLoss loss;
};

MixedMatrix quantize(const Layer &layer, const GPTQFactor &factor,
                     const Codes &widths, const MixedPrecisionOptions &options,
                     unsigned threads = 2) {
  ThreadPool pool(threads);
  MixedMatrix m{Codes(layer.weights.size()),
                Floats(layer.rows * widths.size()),
                Floats(layer.rows * widths.size()),
                Floats(layer.weights.size()),
                {}};
  EXPECT_FALSE(quantizeMixed(
      layer.weights.data(), layer.rows, factor, widths, options,
      {m.codes.data(), m.scales.data(), m.offsets.data()}, m.loss, pool));
  dequantizeMixed(m.codes.data(), m.scales.data(), m.offsets.data(), layer.rows,
                  layer.columns, factor.options().groupSize, m.weights.data());
  return m;
}

TEST(MixedPrecision, ExampleOfTheWholeMethod) {
  auto numbers = [](uint32_t seed, size_t count) {
    Floats values;
    uint64_t x = seed;
    for (size_t i = 0; i != count; ++i) {
      x = (1103515245 * x + 12345) % (uint64_t(1) << 31);
      values.push_back(static_cast<float>(2.0 * double(x) / 0x1p31 - 1));
    }
    return values;
  };
  Layer layer(2, 8, 16, 1);
  layer.weights = numbers(1, 16);
  const Floats transposed = numbers(2, 8 * 16); // [8, 16]
  for (int64_t t = 0; t != 16; ++t)
    for (int64_t j = 0; j != 8; ++j)
      layer.inputs[t * 8 + j] = transposed[j * 16 + t];
  layer.h = secondMoment(layer.inputs, 8, 2.0 / 16);
  const GPTQFactor factor = layer.factor({.groupSize = 2});
  const auto salience = salienceOf(layer, factor);
  const double expected[] = {0.426882, 0.447822, 0.739320, 0.904221};
  for (int g = 0; g != 4; ++g)
    EXPECT_NEAR(salience[g], expected[g], 1e-5);
  const Codes widths = allocateWidths(salience, 4, 1, 2);
  EXPECT_EQ(widths, (Codes{1, 2, 2, 3}));
  MixedPrecisionOptions options;
  options.grid = exact(0);
  const MixedMatrix m = quantize(layer, factor, widths, options);
  expectNear(m.weights,
             {0.027740f, -0.648517f, -0.451765f, 0, 1.055255f, -0.527628f,
              0.451624f, -0.602165f, -0.010453f, -0.750559f, -0.832202f,
              -0.277401f, -0.410914f, -0.273943f, 0.977167f, 0},
             2e-6);
  EXPECT_NEAR(m.loss.squaredErrors, 0.041122, 2e-6);
}

TEST(MixedPrecision, LossIsTheErrorAtTheOutput) {
  Layer layer(20, 83, 200, 7);
  for (int64_t t = 0; t != layer.tokens; ++t)
    layer.inputs[t * 83 + 11] = 0; // a dead column
  layer.h = secondMoment(layer.inputs, 83, 1.0 / 200);
  Layer alive = layer;
  for (int64_t r = 0; r != layer.rows; ++r)
    alive.weights[r * 83 + 11] = 0;
  for (auto order : {GPTQOrder::Natural, GPTQOrder::GroupAware})
    for (bool staticGroups : {false, true})
      for (auto type : {ScaleType::F16, ScaleType::F32}) {
        const GPTQFactor factor = layer.factor(
            {.groupSize = 16, .order = order, .staticGroups = staticGroups});
        MixedPrecisionOptions options;
        options.grid.scaleType = type;
        const Codes widths = {1, 2, 3, 4, 8, 2};
        const MixedMatrix m = quantize(layer, factor, widths, options);
        const double error = outputError(alive.weights, m.weights, layer.h, 83);
        // A dead column is on the grid of its group, and costs nothing.
        EXPECT_NEAR(m.loss.outputError, error, 1e-4 * error);
        for (size_t i = 0; i != m.codes.size(); ++i)
          EXPECT_LT(m.codes[i], 1 << widths[i % 83 / 16]);
        if (type == ScaleType::F16) {
          for (const Floats &values : {m.scales, m.offsets})
            for (float value : values)
              EXPECT_EQ(decodeF16(encodeF16(value)), value);
        }
      }
}

TEST(MixedPrecision, EqualWidthsWithoutSearchAreGPTQ) {
  const Layer layer(11, 70, 150, 8);
  for (unsigned bits : {2, 3, 4, 8}) {
    LayerOptions gptqOptions;
    gptqOptions.grid.bits = bits;
    gptqOptions.grid.groupSize = 16;
    gptqOptions.grid.scaleType = ScaleType::F32;
    const GPTQLayer expected =
        gptq(layer.weights, layer.rows, layer.h, gptqOptions);
    MixedPrecisionOptions options;
    options.grid = exact(0);
    const MixedMatrix m =
        quantize(layer, *expected.factor, Codes(5, uint8_t(bits)), options);
    EXPECT_EQ(m.codes, expected.matrix.codes);
    expectNear(m.weights, expected.dequantize(), 1e-6);
    EXPECT_NEAR(m.loss.squaredErrors, expected.loss.squaredErrors,
                1e-4 * expected.loss.squaredErrors);
  }
}

TEST(MixedPrecision, SalienceMattersOnceItHasAWeight) {
  const Layer layer(60, 64, 150, 9);
  const GPTQFactor factor = layer.factor({.groupSize = 32});
  const Codes widths = {2, 3};
  MixedPrecisionOptions options;
  const MixedMatrix plain = quantize(layer, factor, widths, options);
  options.salientDeviations = 3;
  EXPECT_EQ(quantize(layer, factor, widths, options).codes, plain.codes);
  options.salientWeight = 20;
  const MixedMatrix few = quantize(layer, factor, widths, options);
  EXPECT_NE(few.scales, plain.scales);
  options.salientDeviations = 2;
  EXPECT_NE(quantize(layer, factor, widths, options).scales, few.scales);
  // None at all.
  options.salientDeviations = 1e6;
  EXPECT_EQ(quantize(layer, factor, widths, options).scales, plain.scales);
}

TEST(MixedPrecision, EqualBitsForAnyThreads) {
  const Layer layer(600, 96, 120, 10);
  const GPTQFactor factor = layer.factor({.groupSize = 8});
  ThreadPool one(1), three(3);
  const auto salience =
      groupSalience(layer.weights.data(), layer.rows, factor, one);
  EXPECT_EQ(salience,
            groupSalience(layer.weights.data(), layer.rows, factor, three));
  GroupWidthOptions options;
  options.groupSize = 8;
  const GroupWidths a = widthsOf(layer, salience, options, 1);
  const GroupWidths b = widthsOf(layer, salience, options, 3);
  EXPECT_EQ(a.costs, b.costs);
  EXPECT_EQ(a.widths, b.widths);
  MixedPrecisionOptions mixed;
  mixed.salientWeight = 5;
  const MixedMatrix first = quantize(layer, factor, a.widths, mixed, 1);
  const MixedMatrix second = quantize(layer, factor, a.widths, mixed, 3);
  EXPECT_EQ(first.codes, second.codes);
  EXPECT_EQ(first.scales, second.scales);
  EXPECT_EQ(first.offsets, second.offsets);
  EXPECT_EQ(first.loss.squaredErrors, second.loss.squaredErrors);
}

TEST(MixedPrecision, SurvivesCompensationThatOverflows) {
  Layer layer(1, 64, 1, 1);
  layer.h.assign(64 * 64, 0.999f);
  for (int64_t j = 0; j != 64; ++j) {
    layer.weights[j] = j % 3 ? 3e38f : -3e38f;
    layer.h[j * 65] = 1;
  }
  const GPTQFactor factor = layer.factor({.groupSize = 16, .damp = 0});
  for (auto type : {ScaleType::F16, ScaleType::F32}) {
    MixedPrecisionOptions options;
    options.grid.scaleType = type;
    const MixedMatrix m = quantize(layer, factor, {1, 2, 3, 8}, options);
    for (size_t i = 0; i != 4; ++i)
      EXPECT_TRUE(m.scales[i] > 0 && std::isfinite(m.scales[i]) &&
                  std::isfinite(m.offsets[i]));
    EXPECT_LE(*std::max_element(m.codes.begin(), m.codes.begin() + 16), 1);
  }
}

TEST(MixedPrecision, NonFiniteWeightsAreFound) {
  Layer layer(3, 8, 20, 11);
  layer.weights[13] = std::numeric_limits<float>::quiet_NaN();
  const GPTQFactor factor = layer.factor({.groupSize = 4});
  Codes codes(24);
  Floats scales(6), offsets(6);
  CompensatedLoss loss;
  ThreadPool pool(1);
  auto bad =
      quantizeMixed(layer.weights.data(), 3, factor, Codes{2, 2}, {},
                    {codes.data(), scales.data(), offsets.data()}, loss, pool);
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->row, 1);
  EXPECT_EQ(bad->column, 5);
}
} // namespace
