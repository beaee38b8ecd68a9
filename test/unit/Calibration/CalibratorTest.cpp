//===- CalibratorTest.cpp - Running a model layer by layer ----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/Calibrator.h"
#include "llq/Calibration/CollectStatistics.h"

#include "TinyModel.h"

#include "gtest/gtest.h"

#include <map>

using namespace mlir;
using namespace llq;

namespace {
class CalibratorTest : public testing::Test {
protected:
  CalibratorTest() : ids(tiny.tokenizeHeldout()) {
    // Lengths that are no multiples of anything.
    for (int64_t length : {70, 33, 1, 5}) {
      samples.sequences.push_back(
          llvm::ArrayRef(ids).slice(samples.tokens, length));
      samples.tokens += length;
      samples.longest = std::max(samples.longest, length);
    }
    forward = tiny.module->lookupSymbol<func::FuncOp>(kForwardName);
    sites = getSites(forward);
  }

  using Rows = std::vector<float>;

  /// The inputs of sites `wanted`, reached one after the other.
  std::map<size_t, Rows> collect(ArrayRef<size_t> wanted, unsigned threads = 2,
                                 const CalibratorOptions &options = {}) {
    ThreadPool pool(threads);
    Calibrator calibrator(forward, samples, pool, options);
    std::map<size_t, Rows> all;
    for (size_t site : wanted) {
      Rows &rows = all[site];
      int64_t token = 0;
      EXPECT_TRUE(succeeded(calibrator.moveTo(sites[site])));
      EXPECT_TRUE(
          succeeded(calibrator.visitInputs([&](const ActivationRows &part) {
            part.appendTo(rows);
            token += part.tokens;
            return llvm::Error::success();
          })));
      EXPECT_EQ(token, samples.tokens);
    }
    return all;
  }

  test::TinyModel tiny;
  std::vector<int32_t> ids;
  Samples samples;
  func::FuncOp forward;
  SmallVector<Site> sites;
};
} // namespace

TEST_F(CalibratorTest, FourSitesInABlock) {
  ASSERT_EQ(sites.size(), 6u * 4 + 1);
  EXPECT_EQ(sites[0].layers.size(), 3u);
  EXPECT_EQ(sites[1].layers.size(), 1u);
  EXPECT_EQ(sites[2].layers.size(), 2u);
  EXPECT_EQ(sites[3].layers.size(), 1u);
  EXPECT_EQ(sites[24].layers.front().getName(), "lm_head");
}

// Stepping over every site gives what one run to the last site gives.
TEST_F(CalibratorTest, StepsGiveWhatOneRunGives) {
  std::vector<size_t> every(sites.size());
  std::iota(every.begin(), every.end(), 0);
  std::map<size_t, Rows> steps = collect(every);
  for (size_t site : {3, 14, 24})
    EXPECT_EQ(collect({site})[site], steps[site]) << "site " << site;
}

// Nor do the inputs depend on how the work is done.
TEST_F(CalibratorTest, SameForAnyThreadsChunksAndStorage) {
  std::vector<size_t> some = {1, 3, 8};
  std::map<size_t, Rows> expected = collect(some);
  EXPECT_EQ(collect(some, 1), expected);
  EXPECT_EQ(collect(some, 3, {/*maxTokens=*/16}), expected);
  EXPECT_EQ(collect(some, 2, {/*maxTokens=*/7}), expected);
  EXPECT_EQ(collect(some, 2, {/*maxTokens=*/512, /*memoryBudget=*/0}),
            expected);
}

TEST_F(CalibratorTest, ComesBackToAPlace) {
  ThreadPool pool(2);
  Calibrator calibrator(forward, samples, pool);
  auto run = [&](size_t site) {
    auto statistics =
        collectStatistics(calibrator, sites[site], {/*secondMoment=*/true});
    EXPECT_TRUE(succeeded(statistics));
    return statistics->secondMoment;
  };
  run(4);
  Calibrator::State state = calibrator.getState();
  std::vector<float> first = run(6);
  run(9);
  calibrator.setState(state);
  EXPECT_EQ(run(6), first);
}

// Some samples give what they give among all.
TEST_F(CalibratorTest, EvaluatesSamplesFarApart) {
  ThreadPool pool(2);
  Calibrator calibrator(forward, samples, pool);
  ASSERT_TRUE(succeeded(calibrator.moveTo(sites[4])));
  auto part = calibrator.compile(sites[7].input);
  ASSERT_TRUE(succeeded(part));
  auto evaluate = [&](int64_t tokens) {
    std::map<int64_t, Rows> bySample;
    EXPECT_TRUE(succeeded(part->run(
        [&](const ActivationRows &part) {
          part.appendTo(bySample[part.sample]);
          return llvm::Error::success();
        },
        tokens)));
    return bySample;
  };
  std::map<int64_t, Rows> all = evaluate(samples.tokens);
  EXPECT_EQ(all.size(), 4u);
  std::map<int64_t, Rows> some = evaluate(samples.tokens / 2);
  EXPECT_EQ(some.size(), 2u);
  for (int64_t sample : {0, 2})
    EXPECT_EQ(some[sample], all[sample]);
  EXPECT_EQ(evaluate(1).size(), 1u);
}

// Statistics are those of the inputs, in plain loops.
TEST_F(CalibratorTest, StatisticsOfInputs) {
  Rows rows = collect({3})[3];
  ThreadPool pool(2);
  Calibrator calibrator(forward, samples, pool);
  auto statistics =
      collectStatistics(calibrator, sites[3], {/*secondMoment=*/true});
  ASSERT_TRUE(succeeded(statistics));
  EXPECT_EQ(statistics->tokens, samples.tokens);
  int64_t columns = statistics->absMax.size();
  ASSERT_EQ(int64_t(rows.size()), samples.tokens * columns);
  for (int64_t k = 0; k < columns; k += 37) {
    double moment = 0, magnitude = 0;
    float largest = 0;
    for (int64_t t = 0; t < samples.tokens; ++t) {
      float x = rows[t * columns + k], y = rows[t * columns + 5];
      moment += double(x) * y;
      magnitude += std::fabs(x);
      largest = std::max(largest, std::fabs(x));
    }
    double count = double(samples.tokens);
    EXPECT_EQ(statistics->absMax[k], largest);
    EXPECT_NEAR(statistics->meanAbs[k], magnitude / count, 1e-5);
    EXPECT_NEAR(statistics->secondMoment[k * columns + 5], moment / count,
                1e-5);
  }
}

// An error of the visitor stops the run and names the layer.
TEST_F(CalibratorTest, ErrorsNameTheLayer) {
  std::string message;
  ScopedDiagnosticHandler handler(&tiny.context, [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  ThreadPool pool(1);
  Calibrator calibrator(forward, samples, pool);
  EXPECT_TRUE(succeeded(calibrator.moveTo(sites[1])));
  EXPECT_TRUE(failed(calibrator.visitInputs([](const ActivationRows &) {
    return llvm::createStringError("is refused");
  })));
  EXPECT_NE(message.find("\"layers.0.self_attn.o_proj\" is refused"),
            std::string::npos)
      << message;
}
