//===- FoldPermutationsTest.cpp - Channels in other orders ----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "RewriteTest.h"
#include "llq/Reference/Forward.h"
#include "llq/Support/WeightBlob.h"

#include <algorithm>
#include <numeric>
#include <random>

using namespace mlir;
using namespace llq;

namespace {
class FoldPermutationsTest : public test::RewriteTest {
protected:
  /// Stores the weights of a site with their columns in a random order, and
  /// puts its input in that order.
  SmallVector<int32_t> permute(const Site &site) {
    SmallVector<int32_t> order(
        cast<ShapedType>(site.input.getType()).getDimSize(1));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    LinearOp first = site.layers.front();
    OpBuilder b(first);
    Value input = PermuteChannelsOp::create(b, first.getLoc(), site.input,
                                            b.getI32TensorAttr(order));
    WeightReader reader;
    for (LinearOp layer : site.layers) {
      auto weight = layer.getWeight().getDefiningOp<WeightOp>();
      auto source = llvm::cantFail(reader.readAll(weight.getValue()));
      std::vector<float> values(source.size());
      for (size_t i = 0; i < values.size(); ++i)
        values[i] =
            source[i / order.size() * order.size() + order[i % order.size()]];
      layer.getInputMutable().assign(input);
      layer.getWeightMutable().assign(WeightOp::create(
          b, layer.getLoc(),
          makeResource(&tiny.context,
                       cast<ShapedType>(weight.getType()).getShape(), values,
                       layer.getName())));
    }
    return order;
  }

  void permuteAllButTheHead() {
    SmallVector<Site> sites = getSites(forward);
    for (const Site &site : ArrayRef(sites).drop_back())
      permute(site);
  }

  int64_t countPermutations() {
    int64_t count = 0;
    forward.walk([&](PermuteChannelsOp) { ++count; });
    return count;
  }

  /// Expects what the reference makes of the model. It rounds after each op,
  /// kernels within.
  void expectReference(const std::vector<float> &logits) {
    auto all = llvm::cantFail(evaluateForward(*tiny.module, ids));
    size_t columns = all.size() / ids.size();
    std::vector<float> expected;
    for (size_t t = 0; t < ids.size(); t += kTokenStep)
      for (size_t v = 0; v < columns; v += kRowStep)
        expected.push_back(all[t * columns + v]);
    EXPECT_LT(getDistance(logits, expected), 2e-4f);
  }

  std::mt19937 random{17};
};
} // namespace

// Every site of every block, and what of it goes into weights: the result stays
// what it was, bit for bit.
TEST_F(FoldPermutationsTest, KeepsTheFunction) {
  std::vector<float> expected = getLogits();
  permuteAllButTheHead();
  EXPECT_EQ(countPermutations(), 24);
  std::vector<float> permuted = getLogits();
  EXPECT_LT(getDistance(permuted, expected), 2e-4f);
  EXPECT_NE(permuted, expected); // sums have another order
  expectReference(permuted);

  run("builtin.module(llq-fold-permutations)");
  // Those of the down projections are gone.
  EXPECT_EQ(countPermutations(), 18);
  EXPECT_EQ(getLogits(), permuted);
}

// Integers for activations have no order either.
TEST_F(FoldPermutationsTest, KeepsTheFunctionOfIntegers) {
  permuteAllButTheHead();
  run("builtin.module(llq-quantize-rtn{bits=8 group-size=0 scheme=signed},"
      "llq-quantize-activations)");
  std::vector<float> expected = getLogits();
  run("builtin.module(llq-fold-permutations)");
  EXPECT_EQ(countPermutations(), 18);
  EXPECT_EQ(getLogits(), expected);
}

// Layers that read permuted channels are a site of their own, whose statistics
// have that order.
TEST_F(FoldPermutationsTest, StatisticsFollowTheOrder) {
  auto collect = [&] {
    ThreadPool pool(2);
    Calibrator calibrator(forward, samples, pool);
    Site site = getSites(forward)[6];
    auto statistics = collectStatistics(calibrator, site, {});
    EXPECT_TRUE(succeeded(statistics));
    return statistics->absMax;
  };
  std::vector<float> before = collect();
  SmallVector<int32_t> order = permute(getSites(forward)[6]);
  std::vector<float> after = collect();
  for (auto [j, channel] : llvm::enumerate(order))
    EXPECT_EQ(after[j], before[channel]);
}

// GPTQ in the order of activations with dynamic groups: one permutation for
// each site, and weights that fit it.
TEST_F(FoldPermutationsTest, GPTQInTheOrderOfActivations) {
  std::vector<float> source = getLogits();
  attachSamples();
  run("builtin.module(llq-quantize-gptq{bits=8 group-size=32 act-order=true})");
  EXPECT_EQ(countPermutations(), 24);
  std::vector<float> expected = getLogits();
  // 8 bits move logits around ten by hundredths.
  EXPECT_LT(getDistance(expected, source), 0.1f);
  expectReference(expected);
  run("builtin.module(llq-fold-permutations)");
  EXPECT_EQ(countPermutations(), 18);
  EXPECT_EQ(getLogits(), expected);
}

// Of several layers of a site, only some are chosen.
TEST_F(FoldPermutationsTest, GPTQOfSomeLayersOfASite) {
  std::vector<float> source = getLogits();
  attachSamples();
  run("builtin.module(llq-quantize-gptq{bits=8 group-size=32 act-order=true "
      "only=*.q_proj,*.up_proj},llq-quantize-gptq{bits=8 group-size=32 "
      "act-order=true inputs=original except=*.q_proj,*.up_proj})");
  EXPECT_LT(getDistance(getLogits(), source), 0.1f);
}
