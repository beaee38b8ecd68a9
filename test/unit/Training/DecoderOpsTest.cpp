//===- DecoderOpsTest.cpp - Operations of a decoder and gradients ---------===//
//
// Numbers that were worked out in f64 by hand, and every gradient against
// central differences: of f32 values summed in f64, with a step of 1e-2 and
// inputs around 1, differences are good to about 1e-3.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Training/DecoderOps.h"

#include "llq/Numerics/Rotation.h"
#include "llq/Support/ParallelFor.h"

#include "gtest/gtest.h"

#include <cmath>
#include <functional>
#include <random>

using namespace llq;
using namespace llq::training;

namespace {
using Values = std::vector<float>;

void expectNear(const Values &found, const Values &expected,
                float tolerance = 2e-6f) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], tolerance) << "at " << i;
}

class DecoderOpsTest : public testing::Test {
protected:
  Values draw(int64_t count) {
    std::normal_distribution<float> normal;
    Values values(count);
    for (float &value : values)
      value = normal(generator);
    return values;
  }

  /// Compares `gradient`, that of sum dy f(x), with differences. `evaluate`
  /// computes y from the present x.
  void check(Values &x, const Values &gradient, const Values &dy,
             const std::function<Values()> &evaluate) {
    auto loss = [&] {
      Values y = evaluate();
      double sum = 0;
      for (size_t i = 0; i < y.size(); ++i)
        sum += double(y[i]) * dy[i];
      return sum;
    };
    double largest = 0;
    for (float g : gradient)
      largest = std::max(largest, std::abs(double(g)));
    for (size_t i = 0; i < x.size(); ++i) {
      constexpr float step = 1e-2f;
      float before = x[i];
      x[i] = before + step;
      double up = loss();
      x[i] = before - step;
      double down = loss();
      x[i] = before;
      EXPECT_NEAR((up - down) / (2 * step), gradient[i], 2e-3 * largest)
          << "at " << i;
    }
  }

  std::mt19937 generator{7};
  ThreadPool pool{2};
};
} // namespace

TEST_F(DecoderOpsTest, NormOfFourNumbers) {
  Values x = {1, 2, -2, 0.5f}, weight = {1, 0.5f, 2, 1}, dy = {1, -1, 0.5f, 2};
  NormShape shape{1, 4, 1e-5f};
  Values y(4), dx(4), dweight(4);
  rmsNorm(shape, x.data(), weight.data(), y.data(), pool);
  expectNear(y, {0.657595f, 0.657595f, -2.630378f, 0.328797f});
  rmsNormGradient(shape, x.data(), weight.data(), dy.data(), dx.data(),
                  dweight.data(), pool);
  expectNear(dx, {0.728686f, -0.186615f, 0.515413f, 1.350735f});
  expectNear(dweight, {0.657595f, -1.315189f, -0.657595f, 0.657595f});
  // Gradients are added.
  rmsNormGradient(shape, x.data(), weight.data(), dy.data(), dx.data(), nullptr,
                  pool);
  expectNear(dx, {1.457372f, -0.373230f, 1.030826f, 2.701470f}, 4e-6f);
}

TEST_F(DecoderOpsTest, RotaryPairs) {
  // Position 2, frequencies 1 and 5e5^-0.5.
  Values cos, sin;
  for (double frequency : {1.0, 1 / std::sqrt(5e5)}) {
    cos.push_back(float(std::cos(2 * frequency)));
    sin.push_back(float(std::sin(2 * frequency)));
  }
  RopeShape shape{1, 4, 4};
  Values x = {1, 2, 3, 4}, y(4), dx(4);
  rope(shape, x.data(), cos.data(), sin.data(), y.data(), pool);
  expectNear(y, {-3.144039f, 1.988678f, -0.339143f, 4.005641f});
  ropeGradient(shape, x.data(), cos.data(), sin.data(), dx.data(), pool);
  expectNear(dx, {2.311745f, 2.011306f, -2.157738f, 3.994327f});
  // Neighbours as pairs: the same numbers in another order.
  shape.interleaved = true;
  Values pairs = {1, 3, 2, 4};
  rope(shape, pairs.data(), cos.data(), sin.data(), y.data(), pool);
  expectNear(y, {-3.144039f, -0.339143f, 1.988678f, 4.005641f});
}

TEST_F(DecoderOpsTest, AttentionOfTwoTokens) {
  AttentionShape shape{2, 2, 1, 2, float(1 / std::sqrt(2.0))};
  // [token, head, channel].
  Values q = {1, 0, 1, 1, 0, 2, -1, 1}, k = {1, 2, 0.5f, -1}, v = {1, 0, 3, 2};
  Values dy = {1, 0, 0, 1, 0, 1, 1, -0.5f};
  Values y(8), sums(4), dq(8), dk(4), dv(4);
  attention(shape, q.data(), k.data(), v.data(), y.data(), sums.data(), pool);
  expectNear(y, {1, 0, 1, 0, 1.028332f, 0.028332f, 1.291640f, 0.291640f});
  expectNear(sums, {0.707107f, 2.842694f, 2.121320f, 0.864720f});
  attentionGradient(shape, q.data(), k.data(), v.data(), y.data(), sums.data(),
                    dy.data(), dq.data(), dk.data(), dv.data(), pool);
  expectNear(dq, {0, 0, 0, 0, -0.009875f, -0.059250f, -0.044037f, -0.264225f});
  expectNear(dk, {0.088075f, -0.127575f, -0.088075f, 0.127575f});
  expectNear(dv, {1.854180f, 1.558744f, 0.145820f, -0.058744f});
}

TEST_F(DecoderOpsTest, GatedActivation) {
  float gate = 1.5f, up = -2, dy = 1, y, dgate = 0, dup = 0;
  swiglu(&gate, &up, 1, &y, pool);
  EXPECT_NEAR(y, -2.452723f, 1e-6);
  swigluGradient(&gate, &up, &dy, 1, &dgate, &dup, pool);
  EXPECT_NEAR(dgate, -2.082588f, 1e-6);
  EXPECT_NEAR(dup, 1.226362f, 1e-6);
}

TEST_F(DecoderOpsTest, GradientsOfLinear) {
  LinearShape shape{3, 5, 4};
  Values x = draw(15), w = draw(20), bias = draw(4), dy = draw(12);
  auto evaluate = [&] {
    Values y(12);
    linear(shape, x.data(), w.data(), bias.data(), y.data(), pool);
    return y;
  };
  double expected = bias[1];
  for (int k = 0; k < 5; ++k)
    expected += double(x[5 + k]) * w[5 + k];
  EXPECT_NEAR(evaluate()[5], expected, 1e-5);
  Values dx(15), dw(20);
  linearInputGradient(shape, dy.data(), w.data(), dx.data(), pool);
  linearWeightGradient(shape, dy.data(), x.data(), dw.data(), pool);
  check(x, dx, dy, evaluate);
  check(w, dw, dy, evaluate);
}

TEST_F(DecoderOpsTest, GradientsOfNorm) {
  NormShape shape{3, 6, 1e-5f};
  Values x = draw(18), weight = draw(6), dy = draw(18), dx(18), dweight(6);
  auto evaluate = [&] {
    Values y(18);
    rmsNorm(shape, x.data(), weight.data(), y.data(), pool);
    return y;
  };
  rmsNormGradient(shape, x.data(), weight.data(), dy.data(), dx.data(),
                  dweight.data(), pool);
  check(x, dx, dy, evaluate);
  check(weight, dweight, dy, evaluate);
}

TEST_F(DecoderOpsTest, GradientsOfAttention) {
  // More tokens than a tile; two query heads of a key/value head.
  AttentionShape shape{131, 4, 2, 2, 0.7f};
  Values q = draw(131 * 8), k = draw(131 * 4), v = draw(131 * 4),
         dy = draw(131 * 8);
  Values y(q.size()), sums(131 * 4), dq(q.size()), dk(k.size()), dv(v.size());
  auto evaluate = [&] {
    attention(shape, q.data(), k.data(), v.data(), y.data(), sums.data(), pool);
    return y;
  };
  evaluate();
  attentionGradient(shape, q.data(), k.data(), v.data(), y.data(), sums.data(),
                    dy.data(), dq.data(), dk.data(), dv.data(), pool);
  check(q, dq, dy, evaluate);
  check(k, dk, dy, evaluate);
  check(v, dv, dy, evaluate);
  // No gradient comes from nothing, and none goes to tokens behind the loss.
  std::fill(dy.begin() + 8, dy.end(), 0.0f);
  for (Values *d : {&dq, &dk, &dv})
    std::fill(d->begin(), d->end(), 0.0f);
  attentionGradient(shape, q.data(), k.data(), v.data(), y.data(), sums.data(),
                    dy.data(), dq.data(), dk.data(), dv.data(), pool);
  for (size_t i = 4; i < dk.size(); ++i)
    EXPECT_EQ(dv[i], 0.0f);
}

TEST_F(DecoderOpsTest, GradientsOfGatedActivation) {
  Values gate = draw(9), up = draw(9), dy = draw(9), dgate(9), dup(9);
  auto evaluate = [&] {
    Values y(9);
    swiglu(gate.data(), up.data(), 9, y.data(), pool);
    return y;
  };
  swigluGradient(gate.data(), up.data(), dy.data(), 9, dgate.data(), dup.data(),
                 pool);
  check(gate, dgate, dy, evaluate);
  check(up, dup, dy, evaluate);
}

TEST_F(DecoderOpsTest, GradientsOfOtherOrdersAndBases) {
  Values x = draw(16), dy = draw(16), scale = draw(8), scratch(16);
  std::vector<int32_t> order = {3, 1, 0, 7, 2, 6, 5, 4};
  Values dx(16);
  permuteChannelsGradient(2, order, dy.data(), dx.data());
  check(x, dx, dy, [&] {
    Values y(16);
    permuteChannels(2, order, x.data(), y.data());
    return y;
  });
  // Blocks of four columns.
  auto rotation =
      numerics::makeRotation(numerics::RotationKind::Hadamard, 4, 1);
  for (bool transposed : {false, true}) {
    RotateShape shape{2, 8, transposed};
    std::fill(dx.begin(), dx.end(), 0.0f);
    rotateGradient(shape, *rotation, dy.data(), scale.data(), dx.data(),
                   scratch.data(), pool);
    check(x, dx, dy, [&] {
      Values y(16);
      rotate(shape, *rotation, x.data(), scale.data(), y.data(), pool);
      return y;
    });
  }
}

TEST_F(DecoderOpsTest, ThreadsDoNotChangeBits) {
  AttentionShape shape{150, 6, 3, 4, 0.5f};
  LinearShape wide{150, 24, 700};
  Values q = draw(150 * 24), k = draw(150 * 12), v = draw(150 * 12),
         dy = draw(150 * 24), w = draw(700 * 24), dz = draw(150 * 700);
  std::vector<Values> first;
  for (unsigned threads : {1, 3}) {
    ThreadPool some(threads);
    Values y(q.size()), sums(900), dq(q.size()), dk(k.size()), dv(v.size()),
        dw(w.size());
    attention(shape, q.data(), k.data(), v.data(), y.data(), sums.data(), some);
    attentionGradient(shape, q.data(), k.data(), v.data(), y.data(),
                      sums.data(), dy.data(), dq.data(), dk.data(), dv.data(),
                      some);
    linearWeightGradient(wide, dz.data(), q.data(), dw.data(), some);
    std::vector<Values> all = {y, dq, dk, dv, dw};
    if (first.empty())
      first = all;
    EXPECT_EQ(all, first);
  }
}
