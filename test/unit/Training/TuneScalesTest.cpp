//===- TuneScalesTest.cpp - Scales of a whole model -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "../Calibration/TinyModel.h"
#include "llq/Calibration/Samples.h"
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

Tuned run(StringRef chain, bool threads, StringRef checkpoints = {}) {
  test::TinyModel tiny;
  if (!threads)
    tiny.context.disableMultithreading();
  SampleOptions samples;
  samples.file = LLQ_TINY_MODEL "/heldout.txt";
  samples.samples = 3;
  samples.length = 48;
  samples.checkpoints = checkpoints.str();
  EXPECT_FALSE(bool(loadSamples(*tiny.module, samples)));
  auto pipeline = parseChain(chain);
  EXPECT_TRUE(bool(pipeline));
  auto parsed = parsePassPipeline("builtin.module(" + *pipeline + ")");
  PassManager pm(&tiny.context);
  static_cast<OpPassManager &>(pm) = std::move(*parsed);
  EXPECT_TRUE(succeeded(pm.run(*tiny.module)));

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
      for (ArrayRef<char> bytes : *reader.getComponents(weight))
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
