//===- FoldScalesTest.cpp - Rewrites that keep the function ---------------===//
//
// The bundled model before and after, on held-out text.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Transforms/FoldScales.h"
#include "RewriteTest.h"

using namespace mlir;
using namespace llq;

namespace {
class FoldScalesTest : public test::RewriteTest {
protected:
  /// Divides and multiplies all four sites of two blocks by the factors of
  /// their channels.
  void foldEverySite(function_ref<float(int64_t)> getFactor) {
    SmallVector<Site> sites = getSites(forward);
    ScaleFolder folder(*tiny.module);
    for (const Site &site : ArrayRef(sites).take_front(8)) {
      ASSERT_TRUE(isFoldable(site));
      int64_t columns = cast<ShapedType>(site.input.getType()).getDimSize(1);
      // Heads of queries that share one of values have the same factors.
      int64_t period = columns;
      if (auto attention = site.input.getDefiningOp<AttentionOp>())
        period = attention.getHeadDim();
      SmallVector<float> factors;
      for (int64_t k = 0; k < columns; ++k)
        factors.push_back(getFactor(k % period));
      ASSERT_TRUE(succeeded(folder.fold(site, factors)));
    }
  }

  SmallVector<LinearOp> getLayers() {
    return llvm::to_vector(forward.getOps<LinearOp>());
  }

  /// The weight of `layer`, if it is scaled.
  static ScaledAttr getScaled(LinearOp layer) {
    auto weight = layer.getWeight().getDefiningOp<WeightOp>();
    return weight ? dyn_cast<ScaledAttr>(weight.getValue()) : ScaledAttr();
  }

  int64_t countScaled() {
    int64_t count = 0;
    tiny.module->walk(
        [&](WeightOp op) { count += isa<ScaledAttr>(op.getValue()); });
    return count;
  }
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
  foldEverySite([](int64_t k) { return 0.25f + float(k * 7 % 23); });
  expectLogits(expected);
}

// Powers of two move through every product and sum without a trace.
TEST_F(FoldScalesTest, PowersOfTwoChangeNoBit) {
  std::vector<float> expected = getLogits();
  foldEverySite([](int64_t k) { return std::ldexp(1.0f, k * 5 % 7 - 3); });
  EXPECT_EQ(getLogits(), expected);
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
  EXPECT_GT(getDistance(getLogits(), expected), 1e-2f);
}

// Each of seven layers of a block is as it should be, and the rest of the model
// as it was.
TEST_F(FoldScalesTest, AWQTouchesWhatItShould) {
  size_t ops = llvm::range_size(forward.getOps());
  attachSamples();
  run("builtin.module(llq-quantize-awq{bits=3 group-size=64 rounding=none})");
  EXPECT_EQ(llvm::range_size(forward.getOps()), ops);
  llvm::SetVector<Attribute> vectors;
  for (LinearOp layer : getLayers()) {
    ScaledAttr scaled = getScaled(layer);
    StringRef name = layer.getName();
    if (name == kHeadName) {
      EXPECT_FALSE(scaled);
      continue;
    }
    bool queryOrKey = name.ends_with("q_proj") || name.ends_with("k_proj");
    EXPECT_EQ(scaled && scaled.getClip(), !queryOrKey) << name.str();
    // Scales are below the clip bounds, if there are some.
    if (scaled && scaled.getClip())
      if (auto inner = dyn_cast<ScaledAttr>(scaled.getSource()))
        scaled = inner;
    // Heads of queries share one of values: o has no scales.
    if (name.ends_with("o_proj"))
      EXPECT_FALSE(scaled.getColumns()) << name.str();
    else if (scaled && scaled.getColumns())
      vectors.insert(scaled.getColumns());
  }
  // Behind both norms and before down, where the search found more than 1.
  EXPECT_GE(vectors.size(), 12u);
  EXPECT_LE(vectors.size(), 18u);
  tiny.module->walk([](EmbeddingOp op) {
    EXPECT_FALSE(
        isa<ScaledAttr>(op.getTable().getDefiningOp<WeightOp>().getValue()));
  });
}

// Samples run through the blocks in front as they were.
TEST_F(FoldScalesTest, AWQScalesOfABlockDependOnNoOther) {
  auto getScales = [&](test::TinyModel &model, std::string only) {
    attachSamples(model);
    run("builtin.module(llq-quantize-awq{bits=3 group-size=64 rounding=none "
        "clip-search=false only=" +
            only + "})",
        model);
    std::vector<std::vector<float>> scales;
    WeightReader reader;
    model.module->walk([&](LinearOp layer) {
      ScaledAttr scaled = getScaled(layer);
      if (layer.getName().starts_with("layers.1.") && scaled &&
          scaled.getColumns())
        scales.push_back(llvm::cantFail(reader.readAll(scaled.getColumns())));
    });
    return scales;
  };
  test::TinyModel other;
  auto alone = getScales(tiny, "layers.1.*");
  EXPECT_GE(alone.size(), 5u);
  EXPECT_EQ(alone, getScales(other, "layers.0.*,layers.1.*"));
}

// Inputs are quantized once for each site, behind weights that are.
TEST_F(FoldScalesTest, ActivationsAreSharedBySites) {
  attachSamples();
  run("builtin.module(llq-smooth,llq-quantize-rtn{bits=8 group-size=0 "
      "scheme=signed},llq-quantize-activations)");
  EXPECT_EQ(llvm::range_size(forward.getOps<QuantizeActivationOp>()), 24);
  int64_t quantized = 0;
  for (LinearOp layer : getLayers())
    if (isa<QuantizedType>(layer.getInput().getType())) {
      EXPECT_TRUE(isa<QuantizedType>(layer.getWeight().getType()));
      ++quantized;
    }
  EXPECT_EQ(quantized, 42);
}
