//===- FoldScalesTest.cpp - Rewrites that keep the function ---------------===//
//
// The bundled model before and after, on held-out text.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Transforms/FoldScales.h"
#include "RewriteTest.h"
#include "llq/Calibration/TrialWeight.h"
#include "llq/Numerics/AWQ.h"

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

  static std::vector<float> read(LinearOp layer) {
    WeightReader reader;
    return llvm::cantFail(
        reader.readAll(layer.getWeight().getDefiningOp<WeightOp>().getValue()));
  }

  static std::vector<float> evaluate(Calibrator &calibrator, Value value) {
    auto part = calibrator.compile(value);
    EXPECT_TRUE(succeeded(part));
    return runPart(*part);
  }

  static std::vector<float> runPart(Calibrator::Part &part) {
    std::vector<float> result;
    EXPECT_TRUE(succeeded(part.run([&](const ActivationRows &rows) {
      rows.appendTo(result);
      return llvm::Error::success();
    })));
    return result;
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

TEST_F(FoldScalesTest, SmoothDownToo) {
  std::vector<float> expected = getLogits();
  attachSamples();
  run("builtin.module(llq-smooth{down=true})");
  // Besides q, k, v, gate and up, of which up has scaled rows too, down.
  EXPECT_EQ(countScaled(), 36);
  for (LinearOp layer : getLayers())
    if (layer.getName().ends_with("up_proj"))
      EXPECT_TRUE(getScaled(layer).getRows());
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

// In plain loops: the scales are those of 20 for which the output of the
// feed-forward part, behind down, changes least.
TEST_F(FoldScalesTest, AWQComparesOutputsOfParts) {
  ThreadPool pool(2);
  WeightReader reader;
  Site site = getSites(forward)[2], down = getSites(forward)[3];
  Calibrator calibrator(forward, samples, pool);
  ASSERT_TRUE(succeeded(calibrator.moveTo(site)));
  std::vector<float> x = evaluate(calibrator, site.input);
  std::vector<float> gate = read(site.layers[0]), up = read(site.layers[1]),
                     last = read(down.layers[0]);
  ASSERT_TRUE(site.layers[0].getName().ends_with("gate_proj"));
  const size_t tokens = ids.size(), columns = x.size() / tokens;
  auto multiply = [&](ArrayRef<float> in, ArrayRef<float> weights) {
    const size_t k = in.size() / tokens, n = weights.size() / k;
    std::vector<float> out(tokens * n);
    for (size_t t = 0; t < tokens; ++t)
      for (size_t r = 0; r < n; ++r) {
        double sum = 0;
        for (size_t j = 0; j < k; ++j)
          sum += double(in[t * k + j]) * weights[r * k + j];
        out[t * n + r] = float(sum);
      }
    return out;
  };
  auto runPlain = [&](ArrayRef<float> gate, ArrayRef<float> up) {
    std::vector<float> a = multiply(x, gate), b = multiply(x, up);
    for (auto [value, factor] : llvm::zip_equal(a, b))
      value = value / (1 + std::exp(-value)) * factor;
    return multiply(a, last);
  };
  std::vector<float> mean(columns);
  for (size_t k = 0; k < columns; ++k) {
    double sum = 0;
    for (size_t t = 0; t < tokens; ++t)
      sum += std::fabs(x[t * columns + k]);
    mean[k] = float(sum / double(tokens));
  }
  numerics::UniformGridOptions grid;
  grid.bits = 2;
  grid.groupSize = 64;
  std::vector<float> before = runPlain(gate, up);
  auto getCost = [&](std::span<const float> scales) {
    auto round = [&](const std::vector<float> &weights) {
      std::vector<float> rounded(weights.size());
      EXPECT_TRUE(numerics::awqRound(
          {weights.data(), int64_t(weights.size() / columns)}, scales, grid,
          rounded.data(), pool));
      return rounded;
    };
    double sum = 0;
    for (auto [a, b] :
         llvm::zip_equal(runPlain(round(gate), round(up)), before))
      sum += (double(a) - b) * (double(a) - b);
    return sum;
  };
  numerics::AWQScales expected = numerics::searchAWQScales(mean, getCost);
  ASSERT_GT(expected.alpha, 0);

  attachSamples();
  run("builtin.module(llq-quantize-awq{bits=2 group-size=64 rounding=none "
      "clip-search=false only=layers.0.mlp.gate_proj,layers.0.mlp.up_proj})");
  ScaledAttr scaled = getScaled(site.layers[0]);
  ASSERT_TRUE(scaled && scaled.getColumns());
  auto found = llvm::cantFail(reader.readAll(scaled.getColumns()));
  for (auto [a, b] : llvm::zip_equal(found, expected.scales))
    EXPECT_NEAR(a, b, 1e-4f * b);
}

// Other weights are there as long as they are tried.
TEST_F(FoldScalesTest, TrialWeightsLeaveNothing) {
  ThreadPool pool(2);
  Calibrator calibrator(forward, samples, pool);
  ASSERT_TRUE(succeeded(calibrator.moveTo(getSites(forward)[0])));
  Value output = getSites(forward)[1].input;
  LinearOp layer = getSites(forward)[0].layers[2];
  std::vector<float> before = evaluate(calibrator, output);
  size_t ops = llvm::range_size(forward.getOps());
  {
    std::vector<float> weights = read(layer);
    std::vector<float> zeros(weights.size());
    auto trial = TrialWeight::put(layer, zeros);
    ASSERT_TRUE(succeeded(trial));
    auto part = calibrator.compile(output);
    ASSERT_TRUE(succeeded(part));
    for (float value : runPart(*part))
      ASSERT_EQ(value, 0);
    trial->set(weights);
    EXPECT_TRUE(succeeded(part->reloadWeights()));
    EXPECT_EQ(runPart(*part), before);
    trial->set(zeros);
  }
  EXPECT_EQ(llvm::range_size(forward.getOps()), ops);
  EXPECT_EQ(evaluate(calibrator, output), before);
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
