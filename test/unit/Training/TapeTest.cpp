//===- TapeTest.cpp - Reverse mode over ops of the dialect ----------------===//
//
// The bundled model on the tape against the kernels that are generated for it,
// and gradients of its weights along random directions.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Training/Tape.h"

#include "../Calibration/TinyModel.h"
#include "llq/Calibration/Calibrator.h"
#include "llq/Training/DecoderBlocks.h"

#include "gtest/gtest.h"

#include <random>

using namespace mlir;
using namespace llq;
using namespace llq::training;

namespace {
class TapeTest : public testing::Test {
protected:
  TapeTest() : ids(tiny.tokenizeHeldout()) {
    ids.resize(40);
    forward = tiny.module->lookupSymbol<func::FuncOp>(kForwardName);
    blocks = getDecoderBlocks(forward);
  }

  std::unique_ptr<Tape> record(Value input, Value output) {
    auto tape = Tape::create(input, output, reader, pool);
    return failed(tape) ? nullptr : std::move(*tape);
  }

  test::TinyModel tiny;
  std::vector<int32_t> ids;
  func::FuncOp forward;
  SmallVector<DecoderBlock> blocks;
  WeightReader reader;
  ThreadPool pool{2};
};
} // namespace

TEST_F(TapeTest, BlocksFollowEachOther) {
  ASSERT_FALSE(blocks.empty());
  EXPECT_TRUE(isa<EmbeddingOp>(blocks.front().input.getDefiningOp()));
  for (auto [before, after] :
       llvm::zip(ArrayRef(blocks).drop_back(), ArrayRef(blocks).drop_front())) {
    EXPECT_EQ(before.output, after.input);
    EXPECT_EQ(before.layers.size(), 7u);
  }
  EXPECT_EQ(blocks.back().name,
            "layers." + std::to_string(blocks.size() - 1) + ".");
}

TEST_F(TapeTest, ComputesWhatKernelsDo) {
  // The head's inputs, behind the last norm.
  Samples samples{{ArrayRef<int32_t>(ids)},
                  int64_t(ids.size()),
                  int64_t(ids.size()),
                  {},
                  false};
  Calibrator calibrator(forward, samples, pool);
  Site head = getSites(forward).back();
  std::vector<float> expected;
  ASSERT_TRUE(succeeded(calibrator.moveTo(head)));
  ASSERT_TRUE(succeeded(calibrator.visitInputs([&](const ActivationRows &rows) {
    rows.appendTo(expected);
    return llvm::Error::success();
  })));
  auto whole = record(Value(), head.input);
  ASSERT_TRUE(whole);
  auto found = whole->forward(ids);
  ASSERT_TRUE(succeeded(found));
  ASSERT_EQ(found->size(), expected.size());
  for (auto [a, b] : llvm::zip_equal(*found, expected))
    ASSERT_NEAR(a, b, 1e-3f * (1 + std::abs(b)));
  // Block by block it is the same, bit for bit.
  auto first = record(Value(), blocks.front().input);
  std::vector<float> hidden = first->forward(ids)->vec();
  for (const DecoderBlock &block : blocks)
    hidden =
        record(block.input, block.output)->forward(hidden, ids.size())->vec();
  auto last = record(blocks.back().output, head.input);
  EXPECT_EQ(last->forward(hidden, ids.size())->vec(), found->vec());
}

TEST_F(TapeTest, GradientsAlongDirections) {
  std::mt19937 generator(5);
  std::normal_distribution<float> normal;
  const DecoderBlock &block = blocks[1];
  auto tape = record(block.input, block.output);
  ASSERT_TRUE(tape);
  std::vector<float> x(ids.size() * 256), dy(x.size());
  for (float &value : x)
    value = normal(generator);
  for (float &value : dy)
    value = normal(generator);
  auto getLoss = [&] {
    double sum = 0;
    for (auto [a, b] : llvm::zip_equal(*tape->forward(x, ids.size()), dy))
      sum += double(a) * b;
    return sum;
  };
  for (LinearOp layer : block.layers)
    tape->getWeight(layer.getWeight()).clearGradient();
  getLoss();
  tape->backward(dy);
  for (LinearOp layer : block.layers) {
    DenseWeight &weight = tape->getWeight(layer.getWeight());
    std::vector<float> before = weight.values, direction(before.size());
    double expected = 0;
    // Along the gradient, roughly, so that the difference is above rounding.
    for (auto [d, g] : llvm::zip_equal(direction, weight.gradient)) {
      d = (g > 0 ? 1.0f : -1.0f) * std::abs(normal(generator));
      expected += double(d) * g;
    }
    constexpr float step = 1e-4f;
    auto shift = [&](float by) {
      for (auto [w, b, d] : llvm::zip_equal(weight.values, before, direction))
        w = b + by * d;
      return getLoss();
    };
    double difference = (shift(step) - shift(-step)) / (2 * step);
    weight.values = before;
    EXPECT_NEAR(difference / expected, 1, 1e-2) << layer.getName().str();
  }
}

TEST_F(TapeTest, GradientsOfSomeLayersAreThoseOfAll) {
  const DecoderBlock &block = blocks[1];
  std::vector<float> x(ids.size() * 256, 0.5f), dy(x.size(), 1.0f);
  for (auto [i, value] : llvm::enumerate(x))
    value = float(int(i * 37 % 101) - 50) / 50;
  auto all = record(block.input, block.output);
  for (LinearOp layer : block.layers)
    all->getWeight(layer.getWeight()).clearGradient();
  ASSERT_TRUE(succeeded(all->forward(x, ids.size())));
  all->backward(dy);
  for (LinearOp layer : block.layers) {
    auto one = record(block.input, block.output);
    one->getWeight(layer.getWeight()).clearGradient();
    ASSERT_TRUE(succeeded(one->forward(x, ids.size())));
    one->backward(dy);
    EXPECT_EQ(one->getWeight(layer.getWeight()).gradient,
              all->getWeight(layer.getWeight()).gradient)
        << layer.getName().str();
  }
}
