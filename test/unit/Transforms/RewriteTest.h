//===- RewriteTest.h - The bundled model before and after -------*- C++ -*-===//
//
// Rewrites that keep the function are judged by logits of held-out text.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TEST_UNIT_TRANSFORMS_REWRITETEST_H
#define LLQ_TEST_UNIT_TRANSFORMS_REWRITETEST_H

#include "llq/Calibration/CollectStatistics.h"
#include "llq/Support/WeightData.h"

#include "test/unit/Calibration/TinyModel.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"

#include "gtest/gtest.h"

#include <cmath>

namespace llq::test {

class RewriteTest : public testing::Test {
protected:
  RewriteTest() : ids(TinyModel::tokenizeHeldout()) {
    ids.resize(96);
    samples.sequences.push_back(ids);
    samples.tokens = samples.longest = ids.size();
    forward = tiny.module->lookupSymbol<mlir::func::FuncOp>(kForwardName);
  }

  /// Logits of some tokens: the head's inputs times rows of its weight.
  std::vector<float> getLogits() {
    ThreadPool pool(2);
    Calibrator calibrator(forward, samples, pool);
    Site head = getSites(forward).back();
    std::vector<float> inputs;
    EXPECT_TRUE(succeeded(calibrator.moveTo(head)));
    EXPECT_TRUE(
        succeeded(calibrator.visitInputs([&](const ActivationRows &part) {
          part.appendTo(inputs);
          return llvm::Error::success();
        })));
    WeightReader reader;
    auto weight = llvm::cantFail(reader.readAll(
        head.layers[0].getWeight().getDefiningOp<WeightOp>().getValue()));
    size_t columns = inputs.size() / ids.size();
    std::vector<float> logits;
    for (size_t t = 0; t < ids.size(); t += kTokenStep)
      for (size_t v = 0; v < weight.size() / columns; v += kRowStep) {
        double sum = 0;
        for (size_t k = 0; k < columns; ++k)
          sum += double(inputs[t * columns + k]) * weight[v * columns + k];
        logits.push_back(float(sum));
      }
    return logits;
  }

  static float getDistance(llvm::ArrayRef<float> a, llvm::ArrayRef<float> b) {
    float largest = 0;
    for (auto [x, y] : llvm::zip_equal(a, b))
      largest = std::max(largest, std::fabs(x - y));
    return largest;
  }

  /// Expects the logits that there were: rounding to f32 in six blocks leaves
  /// a few units in the last place of values around ten.
  void expectLogits(const std::vector<float> &expected) {
    EXPECT_LT(getDistance(getLogits(), expected), 2e-4f);
  }

  void run(llvm::StringRef pipeline) { run(pipeline, tiny); }
  static void run(llvm::StringRef pipeline, TinyModel &model) {
    auto parsed = mlir::parsePassPipeline(pipeline);
    ASSERT_TRUE(succeeded(parsed));
    mlir::PassManager passes(&model.context);
    static_cast<mlir::OpPassManager &>(passes) = std::move(*parsed);
    ASSERT_TRUE(succeeded(passes.run(*model.module)));
  }

  /// `llq.calibration` as llq-load-calibration leaves it.
  void attachSamples() { attachSamples(tiny); }
  void attachSamples(TinyModel &model) {
    mlir::Builder b(&model.context);
    llvm::ArrayRef<char> bytes(reinterpret_cast<const char *>(ids.data()),
                               ids.size() * sizeof(int32_t));
    mlir::NamedAttrList entries;
    entries.set("ids", mlir::DenseResourceElementsAttr::get(
                           mlir::RankedTensorType::get({int64_t(ids.size())},
                                                       b.getI32Type()),
                           "calibration",
                           mlir::HeapAsmResourceBlob::allocateAndCopyWithAlign(
                               bytes, 4, /*dataIsMutable=*/false)));
    entries.set("lengths", b.getDenseI64ArrayAttr({int64_t(ids.size())}));
    entries.set("protocol", b.getStringAttr("{}"));
    (*model.module)
        ->setAttr(kCalibrationAttr, entries.getDictionary(&model.context));
  }

  static constexpr size_t kTokenStep = 7, kRowStep = 5;
  TinyModel tiny;
  std::vector<int32_t> ids;
  Samples samples;
  mlir::func::FuncOp forward;
};

} // namespace llq::test

#endif // LLQ_TEST_UNIT_TRANSFORMS_REWRITETEST_H
