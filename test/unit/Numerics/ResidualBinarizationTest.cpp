//===- ResidualBinarizationTest.cpp - BiLLM -------------------------------===//
//
// The examples and properties of docs/methods/billm.md.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/ResidualBinarization.h"
#include "Calibration.h"
#include "llq/Numerics/Float16.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>
#include <set>

using namespace llq;
using namespace llq::numerics;

namespace {
struct Options : ResidualBinaryOptions {
  int64_t groupSize = 128;
  unsigned threads = 2;
};

/// Options that leave nothing to a search.
Options fixed(int64_t salientColumns, float breakPoint) {
  Options options;
  options.salientSearch = SalientSearch::Fixed;
  options.salientColumns = salientColumns;
  options.splitSearch = SplitSearch::Fixed;
  options.breakPoint = breakPoint;
  options.scaleType = ScaleType::F32;
  return options;
}

/// A layer after BiLLM.
struct Layer {
  Options options;
  int64_t rows, columns, groups;
  std::vector<uint8_t> codes, salient;
  std::vector<float> levels;
  CompensatedLoss loss;
  std::optional<NonFiniteWeight> bad;

  ResidualBinaryRows storage() {
    return {codes.data(), levels.data(), salient.data()};
  }
  std::vector<float> dequantize() {
    std::vector<float> weights(codes.size());
    dequantizeResidualBinary(storage(), rows, columns, options.groupSize,
                             options.listedLevels(), weights.data());
    return weights;
  }
};

Layer quantize(const std::vector<float> &weights, int64_t rows,
               const std::vector<float> &h, const Options &options) {
  ThreadPool pool(options.threads);
  const int64_t columns = static_cast<int64_t>(weights.size()) / rows;
  const int64_t groups =
      UniformGridOptions{.groupSize = options.groupSize}.groupsPerRow(columns);
  auto factor = GPTQFactor::create(
      h, columns, blockOptions(options.groupSize, columns), pool);
  EXPECT_TRUE(factor);
  Layer layer{options,
              rows,
              columns,
              groups,
              std::vector<uint8_t>(weights.size()),
              std::vector<uint8_t>(columns),
              std::vector<float>(rows * groups * 2 * options.listedLevels()),
              {},
              {}};
  layer.bad = quantizeResidualBinary(weights.data(), rows, *factor, options,
                                     layer.storage(), layer.loss, pool);
  return layer;
}

std::vector<float> diagonal(std::vector<float> values) {
  const size_t columns = values.size();
  std::vector<float> h(columns * columns);
  for (size_t j = 0; j != columns; ++j)
    h[j * columns + j] = values[j];
  return h;
}

/// A layer with correlated inputs, one of which is dead and some large.
struct Problem {
  int64_t rows, columns;
  std::vector<float> weights, h;

  Problem(int64_t rows, int64_t columns, uint64_t seed)
      : rows(rows), columns(columns),
        weights(normalMatrix(rows * columns, seed)) {
    auto x = correlatedInputs(3 * columns, columns, seed);
    for (size_t t = 0; t != x.size(); t += columns) {
      x[t + 5] = 0;
      for (int64_t j = 11; j < columns; j += 37)
        x[t + j] *= 10;
    }
    h = secondMoment(x, columns, 1.0);
  }
  Layer quantize(const Options &options) const {
    return ::quantize(weights, rows, h, options);
  }
  double error(Layer &layer) const {
    return outputError(weights, layer.dequantize(), h, columns);
  }
};

TEST(ResidualBinarization, ExampleTwoTerms) {
  auto layer = quantize({1, -0.5f, 0.25f, -0.75f}, 1, identity(4), fixed(4, 0));
  EXPECT_EQ(layer.salient, (std::vector<uint8_t>(4, 1)));
  EXPECT_EQ(layer.dequantize(),
            (std::vector<float>{0.875f, -0.375f, 0.375f, -0.875f}));
  EXPECT_EQ(layer.codes, (std::vector<uint8_t>{3, 1, 2, 0}));
  EXPECT_EQ(layer.levels, (std::vector<float>{0, 0, 0.375f, 0.875f}));
}

TEST(ResidualBinarization, ExampleSplit) {
  const std::vector<float> w = {0.1f, -0.2f, 0.15f, -0.05f, 1, -0.8f};
  Options options = fixed(0, 0.5f);
  auto layer = quantize(w, 1, identity(6), options);
  expectNear(layer.levels, {0.125f, 0.9f, 0, 0}, 1e-6);
  EXPECT_NEAR(squaredDistance(w, layer.dequantize()), 0.0325, 1e-6);
  options.breakPoint = 9; // no large weight
  layer = quantize(w, 1, identity(6), options);
  EXPECT_NEAR(squaredDistance(w, layer.dequantize()), 0.833333, 1e-6);
  EXPECT_NEAR(layer.levels[0], 0.383333, 1e-6);
  options = fixed(0, 0.5f);
  options.terms = BinaryTerms::MeanAndScale;
  layer = quantize(w, 1, identity(6), options);
  expectNear(layer.levels, {-0.8f, -0.125f, 0.125f, 1, 0, 0, 0, 0}, 1e-6);
  EXPECT_NEAR(squaredDistance(w, layer.dequantize()), 0.0125, 1e-6);
}

TEST(ResidualBinarization, ExampleRow) {
  const std::vector<float> w = {0.1f, -0.2f, 2, 0.15f, -0.05f, 1, -1.2f, -0.8f};
  auto layer = quantize(w, 1, diagonal({1, 1, 9, 1, 1, 1, 9, 1}), [] {
    Options options = fixed(2, 0.5f);
    options.compensation = BlockCompensation::None;
    return options;
  }());
  EXPECT_EQ(layer.salient, (std::vector<uint8_t>{0, 0, 1, 0, 0, 0, 1, 0}));
  EXPECT_EQ(layer.codes, (std::vector<uint8_t>{2, 1, 3, 2, 1, 3, 1, 0}));
  expectNear(layer.levels, {0.125f, 0.9f, 1.2f, 2.0f}, 1e-6);
  auto rounded = layer.dequantize();
  expectNear(rounded, {0.125f, -0.125f, 2, 0.125f, -0.125f, 0.9f, -1.2f, -0.9f},
             1e-6);
  const float x[] = {1, 2, -1, 0.5f, -2, 1, 3, -0.5f};
  EXPECT_NEAR(std::inner_product(rounded.begin(), rounded.end(), x, 0.0),
              -4.0625, 1e-6);
}

TEST(ResidualBinarization, ExampleWholeLayer) {
  const auto w = congruentialMatrix(16, 1);
  const auto given = congruentialMatrix(128, 2);
  std::vector<float> x(128);
  for (int t = 0; t != 16; ++t)
    for (int j = 0; j != 8; ++j)
      x[t * 8 + j] = given[j * 16 + t];
  const auto h = secondMoment(x, 8, 2.0 / 16);
  Options options = fixed(1, 0.5f);
  options.groupSize = 4;
  auto layer = quantize(w, 2, h, options);
  EXPECT_EQ(layer.salient, (std::vector<uint8_t>{0, 1, 0, 0, 0, 0, 1, 0}));
  EXPECT_NEAR(layer.loss.squaredErrors, 0.096580, 1e-5);
  expectNear(layer.dequantize(),
             {0.159835f, -0.648517f, -0.159835f, 0.159835f, 0.743482f,
              -0.743482f, 0.424797f, -0.414791f, //
              -0.115579f, -0.750559f, -0.832202f, -0.115579f, -0.256130f,
              -0.256130f, 0.932676f, 0.256130f},
             2e-6);
  options.compensation = BlockCompensation::Diagonal;
  EXPECT_NEAR(quantize(w, 2, h, options).loss.squaredErrors, 0.098785, 1e-5);
  options.compensation = BlockCompensation::None;
  EXPECT_NEAR(quantize(w, 2, h, options).loss.squaredErrors, 0.143921, 1e-5);
}

/// Calls body(options) for all searches and terms.
template <typename Body> void forAllOptions(Body body) {
  for (auto salient : {SalientSearch::Fixed, SalientSearch::Paper,
                       SalientSearch::Reference, SalientSearch::Weighted})
    for (auto split :
         {SplitSearch::Fixed, SplitSearch::Paper, SplitSearch::Reference,
          SplitSearch::Quantiles, SplitSearch::Rows})
      for (auto terms : {BinaryTerms::Scale, BinaryTerms::MeanAndScale}) {
        Options options;
        options.salientSearch = salient;
        options.salientColumns = 8;
        options.splitSearch = split;
        options.breakPoint = 0.05f;
        options.terms = terms;
        options.weightedLevels = split == SplitSearch::Rows;
        body(options);
      }
}

TEST(ResidualBinarization, LossIsTheErrorAtTheOutput) {
  const Problem problem(6, 75, 1); // a shorter last block
  forAllOptions([&](Options options) {
    options.groupSize = 32;
    auto layer = problem.quantize(options);
    const double error = problem.error(layer);
    EXPECT_NEAR(layer.loss.outputError, error, 1e-4 * error);
    // At most four values in either part of a block, exact in f16.
    for (float level : layer.levels)
      EXPECT_EQ(decodeF16(encodeF16(level)), level);
    EXPECT_LE(*std::max_element(layer.codes.begin(), layer.codes.end()), 3);
    const auto count =
        std::accumulate(layer.salient.begin(), layer.salient.end(), int64_t(0));
    EXPECT_LE(count, 3 * 8);
    EXPECT_EQ(layer.salient[5], 0); // a dead column
  });
}

TEST(ResidualBinarization, TwoTermsAreBetterThanOne) {
  // Weights of one row; the second table, or the first one left whole.
  for (uint64_t seed = 0; seed != 20; ++seed) {
    const auto w = normalMatrix(24, seed, 1.0f);
    for (auto terms : {BinaryTerms::Scale, BinaryTerms::MeanAndScale}) {
      Options two = fixed(24, 0), one = fixed(0, 99);
      two.terms = one.terms = terms;
      auto with = quantize(w, 1, identity(24), two);
      auto without = quantize(w, 1, identity(24), one);
      const double whole = squaredDistance(w, without.dequantize());
      EXPECT_LE(squaredDistance(w, with.dequantize()), whole);
      if (terms == BinaryTerms::Scale)
        for (float point : {0.1f, 0.5f, 1.0f, 2.0f}) {
          auto split = quantize(w, 1, identity(24), fixed(0, point));
          EXPECT_LE(squaredDistance(w, split.dequantize()), whole + 1e-6);
        }
    }
  }
}

TEST(ResidualBinarization, FourValuesAreExact) {
  // +-0.25 and +-1 in all columns but two, those 1.5 and 2.5.
  const int64_t rows = 8, columns = 24;
  std::vector<float> w(rows * columns), sizes(columns, 1);
  sizes[3] = sizes[17] = 400;
  for (int64_t r = 0; r != rows; ++r)
    for (int64_t j = 0; j != columns; ++j)
      w[r * columns + j] = (j % 3 ? 0.25f : 1.0f) * ((j + r) % 2 ? 1 : -1);
  for (int64_t r = 0; r != rows; ++r) {
    w[r * columns + 3] = r % 2 ? 1.5f : -2.5f;
    w[r * columns + 17] = r % 2 ? -2.5f : 1.5f;
  }
  for (auto search : {SalientSearch::Fixed, SalientSearch::Weighted})
    for (auto split : {SplitSearch::Quantiles, SplitSearch::Rows}) {
      Options options;
      options.salientSearch = search;
      options.salientColumns = search == SalientSearch::Fixed ? 2 : 10;
      options.splitSearch = split;
      auto layer = quantize(w, rows, diagonal(sizes), options);
      EXPECT_EQ(layer.dequantize(), w);
      EXPECT_EQ(layer.salient[3] + layer.salient[17], 2);
    }
}

TEST(ResidualBinarization, IndependentInputsTakeNothingOver) {
  const int64_t rows = 20, columns = 70;
  const auto w = normalMatrix(rows * columns, 4);
  std::vector<float> sizes(columns);
  for (int64_t j = 0; j != columns; ++j)
    sizes[j] = float(1 + (j * 37) % 11);
  Options options;
  options.groupSize = 16;
  auto exact = quantize(w, rows, diagonal(sizes), options);
  for (auto kind : {BlockCompensation::Diagonal, BlockCompensation::None}) {
    options.compensation = kind;
    auto layer = quantize(w, rows, diagonal(sizes), options);
    EXPECT_EQ(layer.codes, exact.codes);
    EXPECT_EQ(layer.levels, exact.levels);
    EXPECT_NEAR(layer.loss.outputError, exact.loss.outputError,
                1e-4 * exact.loss.outputError);
  }
}

TEST(ResidualBinarization, DegenerateBlocks) {
  const int64_t rows = 3, columns = 37;
  forAllOptions([&](Options options) {
    options.groupSize = 16;
    for (float value : {0.0f, 0.375f, -1e-7f, 3e8f}) {
      const std::vector<float> w(rows * columns, value);
      auto layer = quantize(w, rows, identity(columns), options);
      for (float rounded : layer.dequantize()) {
        EXPECT_TRUE(std::isfinite(rounded));
        if (value == 0.375f)
          EXPECT_EQ(rounded, value);
      }
    }
    // No calibration: every column is dead.
    const auto w = normalMatrix(rows * columns, 5);
    auto layer =
        quantize(w, rows, diagonal(std::vector<float>(columns)), options);
    EXPECT_EQ(layer.loss.outputError, 0);
    for (float rounded : layer.dequantize())
      EXPECT_EQ(rounded, 0);
    // One column, and one block for each.
    options.groupSize = 1;
    layer = quantize({0.5f, -0.25f, 0}, 1, identity(3), options);
    EXPECT_EQ(layer.dequantize(), (std::vector<float>{0.5f, -0.25f, 0}));
  });
}

TEST(ResidualBinarization, SurvivesCompensationThatOverflows) {
  const int64_t columns = 64;
  std::vector<float> w(columns), h(columns * columns, 0.999f);
  for (int64_t j = 0; j != columns; ++j) {
    w[j] = j % 3 ? 3e38f : -3e38f;
    h[j * columns + j] = 1;
  }
  forAllOptions([&](Options options) {
    options.groupSize = 16;
    for (float rounded : quantize(w, 1, h, options).dequantize())
      EXPECT_TRUE(std::isfinite(rounded));
  });
}

TEST(ResidualBinarization, OneBlockPerRow) {
  const Problem problem(5, 200, 6);
  Options options;
  options.groupSize = 0;
  auto layer = problem.quantize(options);
  EXPECT_EQ(layer.groups, 1);
  EXPECT_NEAR(layer.loss.outputError, problem.error(layer),
              1e-4 * layer.loss.outputError);
}

TEST(ResidualBinarization, EqualBitsForAnyThreads) {
  const Problem problem(300, 70, 7);
  Options options;
  options.groupSize = 32;
  for (auto split :
       {SplitSearch::Reference, SplitSearch::Quantiles, SplitSearch::Rows}) {
    options.splitSearch = split;
    options.threads = 1;
    auto one = problem.quantize(options);
    options.threads = 3;
    auto three = problem.quantize(options);
    EXPECT_EQ(one.codes, three.codes);
    EXPECT_EQ(one.levels, three.levels);
    EXPECT_EQ(one.salient, three.salient);
    EXPECT_EQ(one.loss.squaredErrors, three.loss.squaredErrors);
  }
}

TEST(ResidualBinarization, DefaultsAreBetterThanThePublishedSearches) {
  // Statistical, not an invariant.
  for (uint64_t seed : {1, 2, 3}) {
    const Problem problem(32, 128, 100 + seed);
    const double best = problem.quantize({}).loss.outputError;
    Options reference;
    reference.salientSearch = SalientSearch::Reference;
    reference.splitSearch = SplitSearch::Reference;
    reference.terms = BinaryTerms::MeanAndScale;
    reference.compensation = BlockCompensation::Diagonal;
    EXPECT_LT(best, 0.8 * problem.quantize(reference).loss.outputError);
    Options ten;
    ten.salientSearch = SalientSearch::Fixed;
    ten.salientColumns = 10;
    EXPECT_LT(best, problem.quantize(ten).loss.outputError);
  }
}

TEST(ResidualBinarization, NonFiniteWeightsAreFound) {
  auto weights = normalMatrix(12, 1);
  weights[7] = std::numeric_limits<float>::quiet_NaN();
  auto layer = quantize(weights, 3, identity(4), {});
  ASSERT_TRUE(layer.bad);
  EXPECT_EQ(layer.bad->row, 1);
  EXPECT_EQ(layer.bad->column, 3);
}
} // namespace
