//===- ElementwiseTest.cpp - Sums, gated activation, embedding ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace llq;
using namespace llq::test;
using Kind = ElementwiseKernel::Kind;

namespace {

class Elementwise : public LevelTest {
protected:
  std::mt19937 random{13};
};

/// Parts of wider rows, as a fused product leaves them, and rows of their own.
TEST_P(Elementwise, SumsAndGates) {
  constexpr int64_t tokens = 5;
  std::vector<ElementwiseKernel> kernels;
  for (Kind kind : {Kind::Add, Kind::SwiGLU})
    for (int64_t k : {1, 16, 33, 64, 100}) {
      int64_t padded = getPaddedColumns(k);
      kernels.push_back({kind, k, 0, padded, 0, padded});
      kernels.push_back({kind, k, 32, padded + 64, 64, padded + 96});
    }
  KernelModule module(level());
  for (const ElementwiseKernel &kernel : kernels)
    module.add(kernel);
  module.compile();
  ASSERT_FALSE(HasFatalFailure());

  std::normal_distribution<float> normal(0, 10);
  for (const ElementwiseKernel &kernel : kernels) {
    SCOPED_TRACE(kernel.getName());
    int64_t k = kernel.columns, padded = getPaddedColumns(k);
    auto fill = [&](int64_t offset, int64_t stride) {
      std::vector<float> rows(tokens * stride);
      for (int64_t i = 0; i < tokens * stride; ++i) {
        int64_t column = i % stride - offset;
        // Zero in the padding; what lies beside the part is someone else's.
        rows[i] = column >= k && column < padded ? 0 : normal(random);
      }
      return rows;
    };
    std::vector<float> a = fill(kernel.aOffset, kernel.aStride);
    std::vector<float> b = fill(kernel.bOffset, kernel.bStride);
    Guarded left(a), right(b), y(4 * tokens * padded);
    runAndCheckSplits(
        {module.find(kernel.getName()), {&left, &right, &y}, {0, 1}, tokens});
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t c = 0; c < padded; ++c) {
        float value = y.as<float>()[t * padded + c];
        if (c >= k) {
          EXPECT_EQ(value, 0) << t << ' ' << c;
          continue;
        }
        float x = a[t * kernel.aStride + kernel.aOffset + c];
        float z = b[t * kernel.bStride + kernel.bOffset + c];
        if (kernel.kind == Kind::Add) {
          EXPECT_EQ(value, x + z) << t << ' ' << c;
        } else {
          double expected = x / (1 + std::exp(-double(x))) * z;
          EXPECT_NEAR(value, expected, 1e-6 * std::fabs(expected) + 1e-36)
              << t << ' ' << c << " of " << x << ", " << z;
        }
      }
  }
}

/// The gate saturates: no NaN where the exponential overflows.
TEST_P(Elementwise, GatesOfExtremeValues) {
  ElementwiseKernel kernel{Kind::SwiGLU, 32, 0, 32, 0, 32};
  KernelModule module(level());
  module.add(kernel);
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  std::vector<float> gate(32), up(32, 1);
  for (int i = 0; i < 16; ++i) {
    gate[i] = -80 - i;
    gate[16 + i] = 80 + i;
  }
  gate[0] = std::numeric_limits<float>::max();
  gate[1] = -std::numeric_limits<float>::max();
  gate[2] = 1e-38f;
  gate[3] = -0.0f;
  Guarded left(gate), right(up), y(128);
  Call({module.find(kernel.getName()), {&left, &right, &y}, {0, 1}, 1}).run();
  for (int i = 0; i < 32; ++i) {
    double x = gate[i], expected = x / (1 + std::exp(-x));
    EXPECT_NEAR(y.as<float>()[i], expected, 1e-6 * std::fabs(expected) + 1e-35)
        << x;
  }
}

TEST_P(Elementwise, Embedding) {
  constexpr int64_t n = 50;
  Builder b(&getContext());
  std::vector<Type> tables;
  for (Type element :
       {Type(b.getF32Type()), Type(b.getF16Type()), Type(b.getBF16Type())})
    tables.push_back(getTensor(n, 40, element));
  // Columns that fill a block and that do not; groups, parts of one, several.
  const int64_t columns[] = {7, 32, 100}, groups[] = {0, 4, 20, 32, 64};
  const ZeroPoint zeros[] = {ZeroPoint::Float, ZeroPoint::None, ZeroPoint::Int};
  for (int64_t i = 0; i < 14; ++i)
    tables.push_back(getQuantized(
        n, columns[i % 3],
        UniformAttr::get(&getContext(), 2 + i % 7, groups[i % 5],
                         zeros[i / 7 + i % 2],
                         i % 4 ? ScaleType::F16 : ScaleType::F32)));
  for (int64_t percent : {30, 100})
    for (Attribute base :
         {Attribute(PlanesAttr::get(&getContext(), 1, 32, true)),
          Attribute(UniformAttr::get(&getContext(), 3, 0, ZeroPoint::Int,
                                     ScaleType::F16))})
      tables.push_back(getQuantized(
          n, 100,
          makeOutliers(cast<WeightFormatInterface>(base), n, 100, percent)));
  KernelModule module(level());
  for (Type table : tables)
    module.add(EmbeddingKernel{table});
  module.compile();
  ASSERT_FALSE(HasFatalFailure());

  const std::vector<int32_t> ids = {0, 49, 15, 16, 31, 32, 48, 7, 7};
  int64_t tokens = ids.size();
  for (Type table : tables) {
    EmbeddingKernel kernel{table};
    SCOPED_TRACE(kernel.getName());
    TestWeight weight = makeWeight(table, random);
    auto type = dyn_cast<QuantizedType>(table);
    bool isSparse = type && isa<OutliersAttr>(type.getFormat());
    int64_t k = weight.columns, padded = getPaddedColumns(k);
    Guarded input(ids), tiles(packBuffer(weight, false));
    Guarded y(4 * tokens * padded);
    runAndCheckSplits(
        {module.find(kernel.getName()), {&input, &tiles, &y}, {0, 1}, tokens});
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t c = 0; c < padded; ++c)
        // The same f32 operations as the reference decode, but for outliers,
        // which are added to what the base has in their place.
        ASSERT_NEAR(y.as<float>()[t * padded + c],
                    c < k ? weight.values[ids[t] * k + c] : 0,
                    isSparse ? 1e-4 : 0)
            << t << ' ' << c;
  }
}

} // namespace

LLQ_TEST_ALL_LEVELS(Elementwise);
