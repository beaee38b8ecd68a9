//===- IncoherenceTest.cpp - Tests of the basis that QuIP rounds in ------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Incoherence.h"
#include "Calibration.h"
#include "llq/Numerics/Float16.h"
#include "llq/Numerics/Rotation.h"
#include "llq/Support/ParallelFor.h"

#include <gtest/gtest.h>

using namespace llq;
using namespace llq::numerics;

namespace {
/// A layer with one hot column and correlated inputs, and its basis.
struct Layer {
  int64_t rows = 64, columns = 192;
  ThreadPool pool{2};
  std::vector<float> w = normalMatrix(rows * columns, 1, 1.0f);
  std::vector<float> x = correlatedInputs(300, columns, 2);
  std::vector<float> h = secondMoment(x, columns, 1.0 / 300);
  std::unique_ptr<Rotation> v, r;
  std::vector<float> scales;

  explicit Layer(RotationKind kind)
      : v(makeRotation(kind, columns, 5)), r(makeRotation(kind, rows, 5)) {
    for (int64_t i = 0; i != rows; ++i)
      w[i * columns + 17] *= 30;
    std::vector<double> squares(columns);
    addColumnSquares(w.data(), rows, squares, pool);
    scales = chooseInputScales(h, squares);
  }
  IncoherentBasis basis() const { return {scales, v.get(), r.get()}; }
};

const RotationKind kKinds[] = {RotationKind::Hadamard, RotationKind::Kronecker};

TEST(Incoherence, ExampleDRescales) {
  ThreadPool pool(1);
  const std::vector<float> w = {2, 1, 0, 1}, h = {4, 0, 0, 0.25f};
  std::vector<double> squares(2);
  addColumnSquares(w.data(), 2, squares, pool);
  EXPECT_EQ(squares, (std::vector<double>{4, 2}));
  const auto scales = chooseInputScales(h, squares); // 1 / d
  EXPECT_EQ(scales[0], 1);
  EXPECT_NEAR(scales[1], 1 / 0.594604, 4e-4);
  auto scaled = w, moment = h;
  IncoherentBasis basis{scales};
  basis.enterWeights(scaled.data(), 2, 2, pool);
  basis.enterSecondMoment(moment.data(), 2, pool);
  double norm = 0;
  for (float value : scaled)
    norm += double(value) * value;
  EXPECT_NEAR((moment[0] + moment[3]) * norm, 22.156854, 1e-4); // from 25.5
}

TEST(Incoherence, ScalesFitF16WhateverTheLayer) {
  // A dead channel, a column of zeros, and sizes far apart.
  const std::vector<float> h = {1e30f, 0, 0, 0, 0, 0, 0, 0, 1e-30f};
  for (double size : {1e-20, 1.0, 1e20}) {
    const auto scales =
        chooseInputScales(h, std::vector<double>{0, size, size * 1e-4});
    for (float scale : scales) {
      EXPECT_GE(scale, 0.00999f);
      EXPECT_LE(scale, 100);
      EXPECT_EQ(scale, decodeF16(encodeF16(scale)));
    }
  }
  const auto same = chooseInputScales(std::vector<float>(9), {{0, 0, 0}});
  EXPECT_EQ(same, (std::vector<float>{1, 1, 1}));
}

TEST(Incoherence, LossesAreThoseOfTheLayer) {
  for (RotationKind kind : kKinds) {
    Layer layer(kind);
    const auto delta = normalMatrix(layer.rows * layer.columns, 3, 1.0f);
    const std::vector<float> none(delta.size());
    const double before = outputError(delta, none, layer.h, layer.columns);
    auto turned = delta, h = layer.h;
    layer.basis().enterWeights(turned.data(), layer.rows, layer.columns,
                               layer.pool);
    layer.basis().enterSecondMoment(h.data(), layer.columns, layer.pool);
    for (int64_t i = 0; i != layer.columns; ++i)
      for (int64_t j = 0; j != i; ++j)
        ASSERT_EQ(h[i * layer.columns + j], h[j * layer.columns + i]);
    const double after = outputError(turned, none, h, layer.columns);
    EXPECT_NEAR(after / before, 1, 1e-5);

    const double mean =
        normalizeSecondMoment(h.data(), layer.columns, 0, layer.pool);
    EXPECT_NEAR(mean * outputError(turned, none, h, layer.columns) / before, 1,
                1e-5);
    double trace = 0;
    for (int64_t j = 0; j != layer.columns; ++j)
      trace += h[j * (layer.columns + 1)];
    EXPECT_NEAR(trace / double(layer.columns), 1, 1e-6);
    const auto plain = h;
    normalizeSecondMoment(h.data(), layer.columns, 0.25, layer.pool);
    EXPECT_NEAR(h[0] - plain[0], 0.25, 1e-6);
    EXPECT_NEAR(h[1], plain[1], 1e-6);
  }
}

TEST(Incoherence, OutputsAreThoseOfTheLayer) {
  for (RotationKind kind : kKinds) {
    Layer layer(kind);
    const int64_t rows = layer.rows, columns = layer.columns, tokens = 5;
    auto w = layer.w, x = layer.x;
    x.resize(tokens * columns);
    auto multiply = [&](const std::vector<float> &w,
                        const std::vector<float> &x) {
      std::vector<float> y(tokens * rows);
      for (int64_t t = 0; t != tokens; ++t)
        for (int64_t i = 0; i != rows; ++i) {
          double sum = 0;
          for (int64_t j = 0; j != columns; ++j)
            sum += double(w[i * columns + j]) * x[t * columns + j];
          y[t * rows + i] = static_cast<float>(sum);
        }
      return y;
    };
    const auto expected = multiply(w, x);
    const IncoherentBasis basis = layer.basis();
    basis.enterWeights(w.data(), rows, columns, layer.pool);
    basis.enterInputs(x.data(), tokens, columns, layer.pool);
    auto y = multiply(w, x);
    basis.leaveOutputs(y.data(), tokens, layer.pool);
    for (size_t i = 0; i != y.size(); ++i)
      ASSERT_NEAR(y[i], expected[i], 2e-3); // of some hundreds
    basis.leaveWeights(w.data(), rows, columns, layer.pool);
    for (size_t i = 0; i != w.size(); ++i)
      ASSERT_NEAR(w[i], layer.w[i], 1e-4); // columns of up to 100
  }
}

TEST(Incoherence, HotColumnsAreSpread) {
  for (RotationKind kind : kKinds) {
    Layer layer(kind);
    EXPECT_GT(incoherence(layer.w), 25);
    auto w = layer.w;
    IncoherentBasis{{}, layer.v.get(), layer.r.get()}.enterWeights(
        w.data(), layer.rows, layer.columns, layer.pool);
    EXPECT_LT(incoherence(w), 10);
    w = layer.w;
    layer.basis().enterWeights(w.data(), layer.rows, layer.columns, layer.pool);
    EXPECT_LT(incoherence(w), 6);
  }
  EXPECT_EQ(incoherence(std::vector<float>{-2, 2, 2}), 1);
  EXPECT_EQ(incoherence(std::vector<float>(3)), 0);
}

TEST(Incoherence, EqualBitsForAnyThreads) {
  for (RotationKind kind : kKinds) {
    Layer layer(kind);
    ThreadPool one(1), three(3);
    auto enter = [&](ThreadPool &pool) {
      auto w = layer.w, h = layer.h;
      layer.basis().enterWeights(w.data(), layer.rows, layer.columns, pool);
      layer.basis().enterSecondMoment(h.data(), layer.columns, pool);
      normalizeSecondMoment(h.data(), layer.columns, 0.01, pool);
      w.insert(w.end(), h.begin(), h.end());
      return w;
    };
    EXPECT_EQ(enter(one), enter(three));
  }
}
} // namespace
