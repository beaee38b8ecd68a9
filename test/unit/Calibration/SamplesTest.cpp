//===- SamplesTest.cpp - Samples drawn from text --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/Samples.h"

#include "PythonRandom.h"
#include "TinyModel.h"

#include "gtest/gtest.h"

using namespace mlir;
using namespace llq;

TEST(SamplesTest, AreDrawnFromTheTokensOfAText) {
  test::TinyModel tiny;
  SampleOptions options{LLQ_TINY_MODEL "/heldout.txt", 3, 40, 11};
  ASSERT_EQ(llvm::toString(loadSamples(*tiny.module, options)), "");
  FailureOr<Samples> samples = getSamples(*tiny.module);
  ASSERT_TRUE(succeeded(samples));
  ASSERT_EQ(samples->sequences.size(), 3u);
  EXPECT_EQ(samples->tokens, 120);
  EXPECT_EQ(samples->longest, 40);

  std::vector<int32_t> all = tiny.tokenizeHeldout();
  PythonRandom random(11);
  for (llvm::ArrayRef<int32_t> sample : samples->sequences) {
    size_t begin = random.drawUpTo(uint32_t(all.size() - 40 - 1));
    EXPECT_EQ(sample, llvm::ArrayRef(all).slice(begin, 40));
  }
  EXPECT_TRUE(getCalibrationProtocol(*tiny.module).contains("\"seed\":11"));
  dropSamples(*tiny.module);
  EXPECT_EQ(getCalibrationProtocol(*tiny.module), "");
}

TEST(SamplesTest, TooLittleTextIsAnError) {
  test::TinyModel tiny;
  SampleOptions options{LLQ_TINY_MODEL "/config.json", 3, 512, 0};
  std::string error = llvm::toString(loadSamples(*tiny.module, options));
  EXPECT_NE(error.find("samples of 512 need at least 513: give more text or a "
                       "smaller length"),
            std::string::npos)
      << error;
  options.length = int64_t(1) << 19;
  error = llvm::toString(loadSamples(*tiny.module, options));
  EXPECT_NE(error.find("longer than the model's context"), std::string::npos)
      << error;
}
