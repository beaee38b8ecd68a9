//===- FoldScalesTest.cpp - Rewrites that keep the function ---------------===//
//
// The bundled model before and after, on held-out text.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Transforms/FoldScales.h"
#include "llq/Calibration/CollectStatistics.h"

#include "test/unit/Calibration/TinyModel.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"

#include "gtest/gtest.h"

#include <cmath>

using namespace mlir;
using namespace llq;

namespace {
class FoldScalesTest : public testing::Test {
protected:
  FoldScalesTest() : ids(tiny.tokenizeHeldout()) {
    ids.resize(96);
    samples.sequences.push_back(ids);
    samples.tokens = samples.longest = ids.size();
    forward = tiny.module->lookupSymbol<func::FuncOp>(kForwardName);
  }

  /// The logits of all tokens: the head's inputs times its weight.
  std::vector<float> getLogits() {
    ThreadPool pool(2);
    Calibrator calibrator(forward, samples, pool);
    Site head = getSites(forward).back();
    std::vector<float> inputs;
    EXPECT_TRUE(succeeded(calibrator.moveTo(head)));
    EXPECT_TRUE(
        succeeded(calibrator.visitInputs([&](const ActivationRows &part) {
          for (int64_t t = 0; t < part.tokens; ++t)
            inputs.insert(inputs.end(), part.data + t * part.stride,
                          part.data + t * part.stride + part.columns);
          return llvm::Error::success();
        })));
    WeightReader reader;
    auto weight = llvm::cantFail(reader.readAll(
        head.layers[0].getWeight().getDefiningOp<WeightOp>().getValue()));
    size_t columns = inputs.size() / ids.size();
    std::vector<float> logits;
    for (size_t t = 0; t < ids.size(); t += 7)
      for (size_t v = 0; v < weight.size() / columns; v += 5) {
        double sum = 0;
        for (size_t k = 0; k < columns; ++k)
          sum += double(inputs[t * columns + k]) * weight[v * columns + k];
        logits.push_back(float(sum));
      }
    return logits;
  }

  /// Expects the logits that there were: rounding to f32 in six blocks leaves
  /// a few units in the last place of values around ten.
  void expectLogits(const std::vector<float> &expected) {
    std::vector<float> found = getLogits();
    ASSERT_EQ(found.size(), expected.size());
    float largest = 0;
    for (size_t i = 0; i < found.size(); ++i)
      largest = std::max(largest, std::fabs(found[i] - expected[i]));
    EXPECT_LT(largest, 2e-4f);
  }

  void run(StringRef pipeline) {
    auto parsed = parsePassPipeline(pipeline);
    ASSERT_TRUE(succeeded(parsed));
    PassManager passes(&tiny.context);
    static_cast<OpPassManager &>(passes) = std::move(*parsed);
    ASSERT_TRUE(succeeded(passes.run(*tiny.module)));
  }

  /// `llq.calibration` as llq-load-calibration leaves it.
  void attachSamples() {
    Builder b(&tiny.context);
    ArrayRef<char> bytes(reinterpret_cast<const char *>(ids.data()),
                         ids.size() * sizeof(int32_t));
    NamedAttrList entries;
    entries.set(
        "ids", DenseResourceElementsAttr::get(
                   RankedTensorType::get({int64_t(ids.size())}, b.getI32Type()),
                   "calibration",
                   HeapAsmResourceBlob::allocateAndCopyWithAlign(
                       bytes, 4, /*dataIsMutable=*/false)));
    entries.set("lengths", b.getDenseI64ArrayAttr({int64_t(ids.size())}));
    entries.set("protocol", b.getStringAttr("{}"));
    (*tiny.module)
        ->setAttr(kCalibrationAttr, entries.getDictionary(&tiny.context));
  }

  int64_t countScaled() {
    int64_t count = 0;
    tiny.module->walk(
        [&](WeightOp op) { count += isa<ScaledAttr>(op.getValue()); });
    return count;
  }

  test::TinyModel tiny;
  std::vector<int32_t> ids;
  Samples samples;
  func::FuncOp forward;
};
} // namespace

TEST_F(FoldScalesTest, SmoothKeepsTheFunction) {
  std::vector<float> expected = getLogits();
  attachSamples();
  run("builtin.module(llq-smooth)");
  // q, k, v, gate and up of six blocks.
  EXPECT_EQ(countScaled(), 30);
  expectLogits(expected);
}

TEST_F(FoldScalesTest, SmoothTwiceAndSearched) {
  std::vector<float> expected = getLogits();
  attachSamples();
  run("builtin.module(llq-smooth{alpha=0.3},llq-smooth{alpha=search bits=4})");
  EXPECT_EQ(countScaled(), 30);
  expectLogits(expected);
}

// Also behind gated activations and grouped-query attention, whose scales go to
// rows.
TEST_F(FoldScalesTest, AWQScalesKeepTheFunction) {
  std::vector<float> expected = getLogits();
  attachSamples();
  run("builtin.module(llq-quantize-awq{bits=3 group-size=0 clip-search=false "
      "rounding=none gqa=true})");
  EXPECT_GE(countScaled(), 7);
  expectLogits(expected);
}

// All four kinds of sites, with factors that nothing smooths.
TEST_F(FoldScalesTest, EverySite) {
  std::vector<float> expected = getLogits();
  SmallVector<Site> sites = getSites(forward);
  ScaleFolder folder(*tiny.module);
  for (const Site &site : ArrayRef(sites).take_front(8)) {
    ASSERT_TRUE(isFoldable(site));
    int64_t columns = cast<ShapedType>(site.input.getType()).getDimSize(1);
    int64_t period = columns;
    if (auto attention = site.input.getDefiningOp<AttentionOp>())
      period = attention.getHeadDim();
    SmallVector<float> factors;
    for (int64_t k = 0; k < columns; ++k)
      factors.push_back(0.25f + float((k % period) * 7 % 23));
    ASSERT_TRUE(succeeded(folder.fold(site, factors)));
  }
  expectLogits(expected);
}

// A wrong factor is not the same function: the tests above can fail.
TEST_F(FoldScalesTest, OneSideAloneChangesTheFunction) {
  std::vector<float> expected = getLogits();
  Site site = getSites(forward).front();
  LinearOp layer = site.layers.front();
  auto weight = layer.getWeight().getDefiningOp<WeightOp>();
  std::vector<float> factors(cast<ShapedType>(weight.getType()).getDimSize(1),
                             1.5f);
  OpBuilder b(layer);
  auto columns = DenseResourceElementsAttr::get(
      RankedTensorType::get({int64_t(factors.size())}, b.getF32Type()), "s",
      HeapAsmResourceBlob::allocateAndCopyWithAlign(
          ArrayRef(reinterpret_cast<const char *>(factors.data()),
                   factors.size() * 4),
          4, /*dataIsMutable=*/false));
  layer.getWeightMutable().set(WeightOp::create(
      b, layer.getLoc(), ScaledAttr::get(weight.getValue(), {}, columns)));
  std::vector<float> found = getLogits();
  float largest = 0;
  for (size_t i = 0; i < found.size(); ++i)
    largest = std::max(largest, std::fabs(found[i] - expected[i]));
  EXPECT_GT(largest, 1e-2f);
}
