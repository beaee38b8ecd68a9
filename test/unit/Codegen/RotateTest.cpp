//===- RotateTest.cpp - Rotation kernels against plain products -----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LinearHarness.h"

#include "llq/Support/ParallelFor.h"

#include <cmath>
#include <cstring>

using namespace mlir;
using namespace llq;
using namespace llq::test;

namespace {

/// A kernel and the seed of its tables.
struct RotateCase {
  RotateKernel kernel;
  int64_t seed;

  RotationAttr getRotation() const {
    return RotationAttr::get(&getContext(), kernel.kind, kernel.size, seed);
  }
};

std::vector<RotateCase> getCases() {
  constexpr auto hadamard = RotationKind::Hadamard;
  constexpr auto kronecker = RotationKind::Kronecker;
  std::vector<RotateCase> cases;
  for (bool transposed : {false, true})
    for (bool scaled : {false, true}) {
      // Powers of two, with and without signs, in several blocks.
      cases.push_back({{hadamard, 16, 16, transposed, scaled, false}, 0});
      cases.push_back({{hadamard, 64, 192, transposed, scaled, true}, 3});
      // Orders 12, 20, 28 and 36.
      cases.push_back({{hadamard, 192, 192, transposed, scaled, true}, 1});
      cases.push_back({{hadamard, 576, 576, transposed, scaled, false}, 0});
      // Primes, and products that fill no vector.
      cases.push_back({{kronecker, 1, 3, transposed, scaled, false}, 0});
      cases.push_back({{kronecker, 37, 37, transposed, scaled, false}, 5});
      cases.push_back({{kronecker, 48, 96, transposed, scaled, false}, 1});
      cases.push_back({{kronecker, 576, 576, transposed, scaled, false}, 2});
    }
  for (int64_t size : {320, 448, 512})
    cases.push_back({{hadamard, size, size, false, false, true}, 9});
  return cases;
}

std::vector<float> getFloats(Attribute attribute) {
  return cast<DenseF32ArrayAttr>(attribute).asArrayRef().vec();
}

/// The buffer that lowering makes of the tables.
std::vector<char> makeTables(const RotateCase &test) {
  std::vector<char> bytes;
  auto put = [&](const auto &values) {
    constexpr size_t size = sizeof(values[0]);
    size_t begin = bytes.size();
    bytes.resize(begin + llvm::alignTo(values.size(), kBlockColumns) * size);
    std::memcpy(bytes.data() + begin, values.data(), values.size() * size);
  };
  Builder b(&getContext());
  for (Attribute table : test.kernel.getTables(b, test.seed)) {
    if (isa<DenseF32ArrayAttr>(table))
      put(getFloats(table));
    else
      put(llvm::to_vector(
          cast<DenseIntElementsAttr>(table).getValues<int16_t>()));
  }
  return bytes;
}

class Rotate : public LevelTest {};

TEST_P(Rotate, IsTheProductWithTheMatrix) {
  constexpr int64_t tokens = 5;
  std::vector<RotateCase> cases = getCases();
  KernelModule module(level());
  for (const RotateCase &test : cases)
    module.add(test.kernel);
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  std::mt19937 random(17);
  std::normal_distribution<float> normal;
  for (const RotateCase &test : cases) {
    SCOPED_TRACE(test.kernel.getName());
    int64_t k = test.kernel.columns, padded = getPaddedColumns(k);
    std::vector<float> scale(k), rows(tokens * padded), expected;
    for (float &value : scale)
      value = test.kernel.scaled ? normal(random) : 1;
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t c = 0; c < k; ++c) {
        rows[t * padded + c] = normal(random);
        expected.push_back(rows[t * padded + c] * scale[c]);
      }
    auto matrix = test.getRotation().getMatrix();
    ThreadPool pool(1);
    int64_t count = tokens * k / test.kernel.size;
    if (test.kernel.transposed)
      matrix->applyTransposed(expected.data(), count, pool);
    else
      matrix->apply(expected.data(), count, pool);

    scale.resize(padded);
    Guarded x(rows), factors(scale), tables(makeTables(test)),
        y(4 * tokens * padded);
    Call call = {module.find(test.kernel.getName()), {&x}, {0, 1}, tokens};
    if (test.kernel.scaled)
      call.buffers.push_back(&factors);
    if (test.kernel.hasTables())
      call.buffers.push_back(&tables);
    call.buffers.push_back(&y);
    call.scratchBytes += test.kernel.getScratchBytes();
    runAndCheckSplits(call);
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t c = 0; c < padded; ++c)
        EXPECT_NEAR(y.as<float>()[t * padded + c],
                    c < k ? expected[t * k + c] : 0, 5e-6)
            << t << ' ' << c;
  }
}

LLQ_TEST_ALL_LEVELS(Rotate);

} // namespace
