//===- LinearTest.cpp - Product kernels against plain loops ---------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LinearHarness.h"

using namespace mlir;
using namespace llq;
using namespace llq::test;
using Epilogue = LinearKernel::Epilogue;

namespace {

constexpr int64_t groups[] = {0, 4, 12, 20, 32, 36, 48, 64, 128, 1000};
constexpr int64_t columns[] = {1, 4, 20, 32, 33, 36, 64, 100, 130, 257};
constexpr int64_t rows[] = {1, 7, 16, 33, 48};
constexpr int64_t tokens[] = {1, 2, 5, 8, 9, 16};
constexpr ZeroPoint zeros[] = {ZeroPoint::None, ZeroPoint::Int,
                               ZeroPoint::Float};
constexpr Epilogue epilogues[] = {Epilogue::Store, Epilogue::Residual,
                                  Epilogue::SwiGLU};

class Linear : public LevelTest {
protected:
  template <typename T> T pick(ArrayRef<T> from) {
    return from[random() % from.size()];
  }

  /// A case of weights made by `makeType(rows, columns)` with everything else
  /// drawn at random.
  LinearCase makeCase(function_ref<Type(int64_t, int64_t)> makeType,
                      bool quantized) {
    LinearCase test;
    int64_t n = pick<int64_t>(rows), k = pick<int64_t>(columns);
    test.epilogue = pick<Epilogue>(epilogues);
    test.weights.push_back(makeType(n, k));
    if (test.epilogue == Epilogue::SwiGLU)
      test.weights.push_back(makeType(n, k));
    if (test.epilogue == Epilogue::Store && random() % 2)
      test.weights.push_back(makeType(pick<int64_t>(rows), k));
    test.int8 = quantized && random() % 2;
    test.bias = test.epilogue != Epilogue::SwiGLU && random() % 3 == 0;
    test.tokens = pick<int64_t>(tokens);
    return test;
  }

  std::mt19937 random{7};
};

UniformAttr makeFormat(int64_t bits, int64_t group, ZeroPoint zero,
                       ScaleType scale) {
  return UniformAttr::get(&getContext(), bits, group, zero, scale);
}

/// Every number of bits with both kinds of activations, all else at random.
TEST_P(Linear, UniformFormats) {
  std::vector<LinearCase> cases;
  for (int64_t bits = 2; bits <= 8; ++bits)
    for (bool int8 : {false, true}) {
      UniformAttr format =
          makeFormat(bits, pick<int64_t>(groups), pick<ZeroPoint>(zeros),
                     random() % 3 ? ScaleType::F16 : ScaleType::F32);
      cases.push_back(makeCase(
          [&](int64_t n, int64_t k) { return getQuantized(n, k, format); },
          true));
      cases.back().int8 = int8;
    }
  runLinearCases(level(), cases);
}

TEST_P(Linear, SourceTypes) {
  Builder b(&getContext());
  std::vector<LinearCase> cases;
  for (Type element :
       {Type(b.getF32Type()), Type(b.getF16Type()), Type(b.getBF16Type())})
    for (int i = 0; i < 2; ++i)
      cases.push_back(makeCase(
          [&](int64_t n, int64_t k) { return getTensor(n, k, element); },
          false));
  runLinearCases(level(), cases);
}

/// The whole cross of formats, two random cases each, in modules of one
/// number of bits.
TEST_P(Linear, ThoroughFormats) {
  double worst = 0;
  for (int64_t bits = 2; bits <= 8; ++bits) {
    std::vector<LinearCase> cases;
    for (ZeroPoint zero : zeros)
      for (ScaleType scale : {ScaleType::F16, ScaleType::F32})
        for (int64_t group : groups)
          for (int i = 0; i < 2; ++i) {
            UniformAttr format = makeFormat(bits, group, zero, scale);
            cases.push_back(
                makeCase([&](int64_t n,
                             int64_t k) { return getQuantized(n, k, format); },
                         true));
            cases.back().int8 = i % 2;
          }
    worst = std::max(worst, runLinearCases(level(), cases));
  }
  std::printf("%s: largest error %.2g of the terms\n", level().name.data(),
              worst);
}

/// All codes at their largest against activations of +-127: with scales of 1
/// every sum is an integer below 2^24, so the result is exact, unless 16 bits
/// overflow on the way.
TEST_P(Linear, LargestProductsAreExact) {
  constexpr int64_t k = 256, n = 32, count = 3;
  KernelModule module(level());
  std::vector<LinearKernel> kernels;
  std::vector<Type> types;
  for (int64_t bits = 2; bits <= 8; ++bits)
    for (int64_t group : {0, 4}) {
      ZeroPoint zero =
          (bits + group / 4) % 2 ? ZeroPoint::Int : ZeroPoint::None;
      types.push_back(
          getQuantized(n, k, makeFormat(bits, group, zero, ScaleType::F32)));
      kernels.push_back(
          {types.back(), n, /*int8=*/true, false, Epilogue::Store});
      module.add(kernels.back());
    }
  module.compile();
  ASSERT_FALSE(HasFatalFailure());

  // Tokens: all 127, all -127, alternating in pairs of columns.
  QuantizedRow row(k);
  std::vector<char> bytes(count * row.bytes);
  std::vector<float> x;
  for (int64_t token = 0; token < count; ++token)
    for (int64_t c = 0; c < k; ++c) {
      int8_t code = token == 0 ? 127 : token == 1 ? -127 : c & 2 ? 127 : -127;
      bytes[token * row.bytes + c] = char(code);
      x.push_back(code);
      float *floats =
          reinterpret_cast<float *>(bytes.data() + token * row.bytes);
      floats[(row.scales + c / kBlockColumns * 4) / 4] = 1;
      floats[(row.sums + c / kBlockColumns * 4) / 4] += code;
    }
  Guarded input(bytes);
  for (auto [kernel, type] : llvm::zip(kernels, types)) {
    SCOPED_TRACE(kernel.getName());
    TestWeight weight = makeWeight(type, random, Codes::AllMax);
    Guarded tiles(packBuffer(weight, false)), y(4 * count * n);
    runAndCheckSplits({module.find(kernel.getName()),
                       {&input, &tiles, &y},
                       {kernel.getItems(), 0},
                       count});
    for (int64_t token = 0; token < count; ++token)
      for (int64_t r = 0; r < n; ++r) {
        double expected = 0;
        for (int64_t c = 0; c < k; ++c)
          expected += double(x[token * k + c]) * weight.values[r * k + c];
        ASSERT_EQ(y.as<float>()[token * n + r], expected)
            << "token " << token << ", row " << r;
      }
  }
}

} // namespace

LLQ_TEST_ALL_LEVELS(Linear);
