//===- TuneScalesTest.cpp - Scales of a whole model -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "../Calibration/TinyModel.h"
#include "lib/Training/LayerBasis.h"
#include "llq/Calibration/Samples.h"
#include "llq/Numerics/Statistics.h"
#include "llq/Pipelines/Chain.h"
#include "llq/Support/WeightData.h"
#include "llq/Training/DecoderBlocks.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace llq;

namespace {
/// What is left of a model's blocks after a chain.
struct Tuned {
  /// -1: not tuned, 0: left as it was.
  std::vector<double> gains;      ///< of each layer
  std::vector<std::string> bytes; ///< of each component
};

void runPasses(test::TinyModel &tiny, StringRef passes,
               StringRef checkpoints = {}) {
  SampleOptions samples;
  samples.file = LLQ_TINY_MODEL "/heldout.txt";
  samples.samples = 3;
  samples.length = 48;
  samples.checkpoints = checkpoints.str();
  EXPECT_FALSE(bool(loadSamples(*tiny.module, samples)));
  auto parsed = parsePassPipeline(("builtin.module(" + passes + ")").str());
  PassManager pm(&tiny.context);
  static_cast<OpPassManager &>(pm) = std::move(*parsed);
  EXPECT_TRUE(succeeded(pm.run(*tiny.module)));
}

Tuned run(StringRef chain, bool threads, StringRef checkpoints = {}) {
  test::TinyModel tiny;
  if (!threads)
    tiny.context.disableMultithreading();
  runPasses(tiny, llvm::cantFail(parseChain(chain)).getPipeline(), checkpoints);

  Tuned result;
  WeightReader reader;
  auto forward = tiny.module->lookupSymbol<func::FuncOp>(kForwardName);
  for (const training::DecoderBlock &block :
       training::getDecoderBlocks(forward))
    for (LinearOp layer : block.layers) {
      EXPECT_FALSE(layer->hasAttr(kOriginalAttr));
      auto weight = layer.getWeight().getDefiningOp<QuantizedWeightOp>();
      auto gain = weight ? layer.getMethod()->getAs<FloatAttr>("tune_gain")
                         : FloatAttr();
      result.gains.push_back(gain ? gain.getValueAsDouble() : -1);
      if (!weight)
        continue;
      auto components = llvm::cantFail(reader.getComponents(weight));
      for (ArrayRef<char> bytes : components)
        result.bytes.emplace_back(bytes.data(), bytes.size());
    }
  return result;
}
} // namespace

TEST(TuneScalesTest, LossFallsAndThreadsDoNotMatter) {
  StringRef chain =
      "rtn(bits=2,group-size=64) tune(batch=1,learning-rate=0.02)";
  Tuned one = run(chain, /*threads=*/false), two = run(chain, /*threads=*/true);
  ASSERT_FALSE(one.gains.empty());
  for (double gain : one.gains) {
    EXPECT_GT(gain, 0.02);
    EXPECT_LT(gain, 1);
  }
  EXPECT_EQ(one.gains, two.gains);
  EXPECT_EQ(one.bytes, two.bytes);
  // Codes stay: components are codes, scales and zero points.
  Tuned plain = run("rtn(bits=2,group-size=64)", /*threads=*/true);
  ASSERT_EQ(plain.bytes.size(), one.bytes.size());
  for (size_t i = 0; i < plain.bytes.size(); ++i)
    EXPECT_EQ(plain.bytes[i] == one.bytes[i], i % 3 != 1) << i;
}

TEST(TuneScalesTest, RotatedAndPermutedLayers) {
  for (double gain :
       run("quip(bits=2,only=layers.0.*) tune(batch=1,learning-rate=0.005)",
           true)
           .gains)
    EXPECT_NE(gain, 0);
  for (double gain : run("billm(only=layers.0.*) tune(batch=1)", true).gains)
    EXPECT_NE(gain, 0);
}

TEST(TuneScalesTest, CodesFollowTheWeights) {
  StringRef chain =
      "rtn(bits=2,group-size=64) tune(batch=1,epochs=1,codes=nearest)";
  Tuned one = run(chain, /*threads=*/false), two = run(chain, true);
  for (double gain : one.gains)
    EXPECT_GT(gain, 0);
  EXPECT_EQ(one.gains, two.gains);
  EXPECT_EQ(one.bytes, two.bytes);
  Tuned fixed = run("rtn(bits=2,group-size=64) tune(batch=1,epochs=1)", true);
  for (size_t i = 0; i < fixed.bytes.size(); i += 3)
    EXPECT_NE(fixed.bytes[i], one.bytes[i]) << i;
}

// Where compensation is worth more than ranges, blocks stay.
TEST(TuneScalesTest, CodesThatDoNotPayStay) {
  Tuned tuned = run(
      "slimllm(bits=2,only=layers.0.*) tune(batch=1,epochs=1,codes=nearest)",
      true);
  Tuned plain = run("slimllm(bits=2,only=layers.0.*)", true);
  ASSERT_EQ(tuned.bytes.size(), plain.bytes.size());
  // Of four components each, and the layers of block 0 come first.
  for (auto [i, bytes] : llvm::enumerate(plain.bytes))
    if (tuned.gains[i / 4] == 0)
      EXPECT_EQ(bytes, tuned.bytes[i]);
}

// Orders, rotations and scales of inputs.
TEST(TuneScalesTest, OriginalsInTheBasisOfTheLayer) {
  for (StringRef method :
       {"llq-quantize-gptq{bits=8 act-order=true only=layers.0.*}",
        "llq-quantize-quip{bits=8 rescale=true only=layers.0.*}",
        "llq-quantize-quip{bits=8 rotation=kronecker only=layers.0.*}"}) {
    test::TinyModel tiny;
    runPasses(tiny, ("llq-keep-originals," + method).str());
    WeightReader reader;
    ThreadPool pool(1);
    tiny.module->walk([&](LinearOp layer) {
      auto original = layer->getAttrOfType<TypedAttr>(kOriginalAttr);
      auto type = dyn_cast<QuantizedType>(layer.getWeight().getType());
      ASSERT_EQ(bool(original), bool(type));
      if (!type)
        return;
      std::vector<float> source(type.getRows() * type.getColumns());
      std::vector<float> stored(source.size());
      llvm::cantFail(reader.readRows(original, 0, type.getRows(), source));
      llvm::cantFail(
          reader.readRows(layer.getWeight(), 0, type.getRows(), stored));
      auto basis = training::LayerBasis::get(layer, reader);
      ASSERT_TRUE(succeeded(basis));
      std::vector<float> entered = source;
      basis->enter(entered, pool);
      numerics::ErrorStatistics error, back;
      error.add(entered, stored);
      EXPECT_LT(error.relativeError(), 0.05) << method.str();
      basis->leave(entered, pool);
      back.add(source, entered);
      EXPECT_LT(back.relativeError(), 1e-5) << method.str();
    });
  }
}

// Rotations that stand in front of kept weights are those of the model.
TEST(TuneScalesTest, RotatedModel) {
  for (double gain :
       run("rotate rtn(bits=2,group-size=64) tune(batch=1)", true).gains)
    EXPECT_GT(gain, 0.02);
}

TEST(TuneScalesTest, OnlySomeLayers) {
  Tuned tuned =
      run("dbllm(compensate=false) tune(batch=1,only=layers.1.mlp.*)", true);
  for (auto [index, gain] : llvm::enumerate(tuned.gains))
    if (index >= 11 && index < 14)
      EXPECT_GT(gain, 0);
    else
      EXPECT_EQ(gain, -1);
}

TEST(TuneScalesTest, GoesOnAfterAKill) {
  llvm::SmallString<128> folder;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("llq-tune", folder));
  StringRef chain = "rtn(bits=2) tune(epochs=1)";
  Tuned first = run(chain, true, folder), second = run(chain, true, folder);
  EXPECT_EQ(first.gains, second.gains);
  EXPECT_EQ(first.bytes, second.bytes);
  llvm::sys::fs::remove_directories(folder);
}
