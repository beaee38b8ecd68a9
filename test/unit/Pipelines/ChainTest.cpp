//===- ChainTest.cpp - Chains of methods ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Pipelines/Chain.h"
#include "llq/InitAll.h"
#include "llq/Quantize/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/ADT/StringExtras.h"
#include "gtest/gtest.h"

using namespace llq;

namespace {

class ChainTest : public testing::Test {
protected:
  static void SetUpTestSuite() { registerAllPasses(); }

  /// The pipeline, or `error: ` and the message.
  static std::string parse(llvm::StringRef chain) {
    llvm::Expected<Chain> result = parseChain(chain);
    if (!result)
      return "error: " + llvm::toString(result.takeError());
    // Whatever is accepted has to be a pipeline.
    std::string pipeline = result->getPipeline();
    EXPECT_TRUE(llvm::succeeded(
        mlir::parsePassPipeline("builtin.module(" + pipeline + ")")));
    return pipeline;
  }
};

TEST_F(ChainTest, Words) {
  EXPECT_EQ(parse("rtn"), "llq-quantize-rtn");
  EXPECT_EQ(parse("  rtn()\n"), "llq-quantize-rtn");
  EXPECT_EQ(parse("rtn(bits=4,group-size=128)"),
            "llq-quantize-rtn{bits=4 group-size=128}");
  EXPECT_EQ(parse("rtn (bits=4, group-size=0 scheme=signed)"),
            "llq-quantize-rtn{bits=4 group-size=0 scheme=signed}");
}

TEST_F(ChainTest, OtherPassesByTheirVerb) {
  EXPECT_EQ(parse("rtn(bits=2) dequantize(type=f16)"),
            "llq-quantize-rtn{bits=2},llq-dequantize{type=f16}");
  EXPECT_EQ(parse("rtn set-cache"), "llq-quantize-rtn,llq-set-cache");
}

TEST_F(ChainTest, RewritesByTheirMethod) {
  EXPECT_EQ(parse("smoothquant(alpha=0.5) rtn(bits=8)"),
            "llq-smooth{alpha=0.5},llq-quantize-rtn{bits=8}");
  EXPECT_EQ(parse("smoothquant(alpha=2)"),
            "error: smoothquant: alpha: '2' is neither 'search' nor a number "
            "from 0 to 1");
}

// What chooses bits has to see rotated layers.
TEST_F(ChainTest, RotationsAreSplitOff) {
  auto split = [](llvm::StringRef text) {
    auto [rotations, rest] = llvm::cantFail(parseChain(text)).splitRotations();
    return rotations.getPipeline() + " | " + rest.getPipeline();
  };
  EXPECT_EQ(split("rotate"), "llq-rotate | ");
  EXPECT_EQ(split("rotate(seed=3,down=false) rtn(bits=3)"),
            "llq-rotate{seed=3 down=false} | llq-quantize-rtn{bits=3}");
  EXPECT_EQ(split("smoothquant rotate"), " | llq-smooth,llq-rotate");
}

TEST_F(ChainTest, OptionsAreThoseOfTheLastPass) {
  Chain chain = llvm::cantFail(
      parseChain("awq(bits=3,group-size=32) rtn(bits=4,group-size=64) tune"));
  EXPECT_EQ(chain.getOption("group-size"), "64");
  EXPECT_EQ(chain.getOption("size"), std::nullopt);
  EXPECT_TRUE(chain.contains("llq-keep-originals"));
  EXPECT_FALSE(chain.contains("llq-tune"));
}

TEST_F(ChainTest, TuningKeepsOriginalsFromTheBeginning) {
  EXPECT_EQ(parse("smoothquant rtn(bits=2) tune(epochs=3)"),
            "llq-keep-originals,llq-smooth,llq-quantize-rtn{bits=2},"
            "llq-tune-scales{epochs=3}");
}

TEST_F(ChainTest, Lists) {
  EXPECT_EQ(parse("rtn(only=*.q_proj,*.k_proj,bits=3)"),
            "llq-quantize-rtn{only=*.q_proj,*.k_proj bits=3}");
  EXPECT_EQ(parse("rtn(only={*.q_proj,*.k_proj} bits=3)"),
            "llq-quantize-rtn{only={*.q_proj,*.k_proj} bits=3}");
}

TEST_F(ChainTest, UnknownWordListsTheMethods) {
  llvm::SmallVector<std::string> methods = getMethodNames();
  EXPECT_TRUE(llvm::is_contained(methods, "rtn"));
  methods.append({"rotate", "smoothquant", "tune"});
  llvm::sort(methods);
  std::string known = ", known: " + llvm::join(methods, ", ");
  EXPECT_EQ(parse("rtm(bits=4)"), "error: unknown method 'rtm'" + known);
  EXPECT_EQ(parse("rtn canonicalize"),
            "error: unknown method 'canonicalize'" + known);
  EXPECT_EQ(parse(""), "error: expected a chain of methods" + known);
  EXPECT_EQ(parse(" \t"), "error: expected a chain of methods" + known);
}

TEST_F(ChainTest, UnknownOptionListsTheOptions) {
  EXPECT_EQ(parse("rtn(group=32)"),
            "error: rtn: no such option group, it has bits, clip, "
            "embedding-bits, except, group-size, head-bits, importance, only, "
            "scale-type, "
            "scheme, symmetric");
  EXPECT_EQ(parse("verify-normal(bits=4)"),
            "error: verify-normal: no such option bits, it has none");
}

// LLVM prints these itself; they are part of the error all the same.
TEST_F(ChainTest, RefusedValuesAreOneError) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(parse("rtn(bits=9)"),
            "error: rtn: bits: '9' is not a number from 2 to 8");
  EXPECT_EQ(parse("rtn(bits=4,5)"),
            "error: rtn: bits: '4,5' is not a number from 2 to 8");
  EXPECT_EQ(parse("rtn(scheme=lopsided)"),
            "error: rtn: scheme: Cannot find option named 'lopsided'");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(ChainTest, Malformed) {
  EXPECT_EQ(parse("rtn(bits=4"), "error: rtn: expected ')' after its options");
  EXPECT_EQ(parse("rtn(bits)"),
            "error: rtn: option 'bits' needs a value, as in 'bits=...'");
  EXPECT_EQ(parse("rtn((bits=4)"), "error: rtn: unexpected '(' in its options");
  EXPECT_EQ(parse("rtn(only={a)"), "error: rtn: '{' without '}'");
  EXPECT_EQ(parse("rtn(only=a}b)"), "error: rtn: '}' without '{'");
  EXPECT_EQ(parse("rtn)"),
            "error: expected the name of a method in front of ')'");
  EXPECT_EQ(parse("rtn{bits=4}"),
            "error: expected the name of a method in front of '{bits=4}'");
}

} // namespace
