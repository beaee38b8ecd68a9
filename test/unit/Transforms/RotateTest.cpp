//===- RotateTest.cpp - Rotations keep the function -----------------------===//
//
// The bundled model before and after, on held-out text.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "RewriteTest.h"
#include "llq/Support/WeightBlob.h"

using namespace mlir;
using namespace llq;

namespace {
class RotateTest : public test::RewriteTest {
protected:
  int64_t countRotations() {
    return llvm::range_size(forward.getOps<RotateOp>());
  }

  int64_t countRotated() {
    return llvm::count_if(forward.getOps<WeightOp>(), [](WeightOp weight) {
      return isa<RotatedAttr>(weight.getValue());
    });
  }

  /// Makes the table and the head f32: they keep their type, and f16 would
  /// round what is rotated.
  static void widen(test::TinyModel &model) {
    WeightReader reader;
    model.module->walk([&](Operation *op) {
      OpOperand *weight = nullptr;
      if (auto embedding = dyn_cast<EmbeddingOp>(op))
        weight = &embedding.getTableMutable();
      auto layer = dyn_cast<LinearOp>(op);
      if (layer && layer.getName() == kHeadName)
        weight = &layer.getWeightMutable();
      if (!weight)
        return;
      auto source = weight->get().getDefiningOp<WeightOp>();
      OpBuilder b(op);
      weight->set(WeightOp::create(
          b, op->getLoc(),
          makeResource(
              &model.context, cast<ShapedType>(source.getType()).getShape(),
              llvm::cantFail(reader.readAll(source.getValue())), "f32")));
    });
  }

  /// The embedding's table for the head.
  void tie() {
    EmbeddingOp embedding = *forward.getOps<EmbeddingOp>().begin();
    LinearOp head = getSites(forward).back().layers.front();
    head.getWeightMutable().assign(embedding.getTable());
  }

  /// The largest magnitude of the inputs of each site over their root mean
  /// square, on average.
  double getCrest() {
    ThreadPool pool(2);
    Calibrator calibrator(forward, samples, pool);
    double sum = 0;
    SmallVector<Site> sites = getSites(forward);
    for (const Site &site : sites) {
      double square = 0, largest = 0;
      int64_t count = 0;
      EXPECT_TRUE(succeeded(calibrator.moveTo(site)));
      EXPECT_TRUE(
          succeeded(calibrator.visitInputs([&](const ActivationRows &rows) {
            for (int64_t t = 0; t < rows.tokens; ++t)
              for (float value : rows.getRow(t)) {
                square += double(value) * value;
                largest = std::max(largest, std::fabs(double(value)));
                ++count;
              }
            return llvm::Error::success();
          })));
      sum += largest / std::sqrt(square / double(count));
    }
    return sum / double(sites.size());
  }
};
} // namespace

TEST_F(RotateTest, KeepsTheFunction) {
  widen(tiny);
  std::vector<float> expected = getLogits();
  run("builtin.module(llq-rotate,llq-verify-quantized)");
  // The table, seven layers of six blocks and the head.
  EXPECT_EQ(countRotated(), 44);
  EXPECT_EQ(countRotations(), 6);
  expectLogits(expected);
}

TEST_F(RotateTest, EachKindAloneKeepsTheFunction) {
  std::vector<float> expected = getLogits();
  for (auto [options, rotated, rotations] :
       {std::tuple("values=false down=false", 44, 0),
        std::tuple("residual=false down=false", 12, 0),
        std::tuple("residual=false values=false seed=9", 6, 6)}) {
    test::TinyModel model;
    widen(model);
    run(("builtin.module(llq-rotate{" + Twine(options) + "})").str(), model);
    // In place of the one that is measured.
    std::swap(tiny.module, model.module);
    forward = tiny.module->lookupSymbol<func::FuncOp>(kForwardName);
    EXPECT_EQ(countRotated(), rotated) << options;
    EXPECT_EQ(countRotations(), rotations) << options;
    expectLogits(expected);
    std::swap(tiny.module, model.module);
  }
}

// Half a unit in the eleventh bit of the table and the head.
TEST_F(RotateTest, RoundsTheTableAndTheHeadToTheirType) {
  std::vector<float> expected = getLogits();
  run("builtin.module(llq-rotate{values=false down=false})");
  float distance = getDistance(getLogits(), expected);
  EXPECT_GT(distance, 2e-4f);
  EXPECT_LT(distance, 1e-2f);
}

TEST_F(RotateTest, TiedTableStays) {
  tie();
  std::vector<float> expected = getLogits();
  run("builtin.module(llq-rotate)");
  EXPECT_EQ(countRotated(), 42);
  EXPECT_EQ(countRotations(), 8);
  expectLogits(expected);
}

TEST_F(RotateTest, ScalesComeBehind) {
  widen(tiny);
  std::vector<float> expected = getLogits();
  attachSamples();
  run("builtin.module(llq-rotate,llq-smooth,llq-quantize-awq{bits=3 "
      "group-size=0 clip-search=false rounding=none gqa=true})");
  expectLogits(expected);
}

// A wrong weight is not the same function: the tests above can fail.
TEST_F(RotateTest, OneSideAloneChangesTheFunction) {
  std::vector<float> expected = getLogits();
  run("builtin.module(llq-rotate{residual=false values=false})");
  RotateOp rotate = *forward.getOps<RotateOp>().begin();
  rotate.replaceAllUsesWith(rotate.getInput());
  EXPECT_GT(getDistance(getLogits(), expected), 1e-2f);
}

// What it is for.
TEST_F(RotateTest, ActivationsHaveFewerOutliers) {
  double before = getCrest();
  run("builtin.module(llq-rotate)");
  double after = getCrest();
  EXPECT_LT(after, 0.6 * before) << before << " before, " << after << " after";
}
