//===- LinearTest.cpp - Product kernels against plain loops ---------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LinearHarness.h"

#include "llq/Numerics/ActivationGrid.h"
#include "llq/Numerics/BitPacking.h"

using namespace mlir;
using namespace llq;
using namespace llq::test;
using Epilogue = LinearKernel::Epilogue;
using Kind = ActivationType::Kind;

namespace {

constexpr int64_t groups[] = {0, 4, 12, 20, 32, 36, 48, 64, 128, 1000};
constexpr int64_t columns[] = {1, 4, 20, 32, 33, 36, 64, 100, 130, 257};
constexpr int64_t rows[] = {1, 7, 16, 33, 48};
constexpr int64_t tokens[] = {1, 2, 5, 8, 9, 16};
constexpr ZeroPoint zeros[] = {ZeroPoint::None, ZeroPoint::Int,
                               ZeroPoint::Float};
constexpr ActivationType exact = {};
constexpr ActivationType int8 = {Kind::Group, 8};
constexpr ActivationType inputs[] = {exact,
                                     int8,
                                     {Kind::Group, 6},
                                     {Kind::Group, 4},
                                     {Kind::Token, 8},
                                     {Kind::Token, 7},
                                     {Kind::Token, 6},
                                     {Kind::Token, 4},
                                     {Kind::Static, 8}};
constexpr ActivationType thorough[] = {
    exact, int8, {Kind::Token, 8}, {Kind::Token, 6}, {Kind::Token, 4}};
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
    test.input = quantized ? pick<ActivationType>(inputs) : exact;
    test.bias = test.epilogue != Epilogue::SwiGLU && random() % 3 == 0;
    test.tokens = pick<int64_t>(tokens);
    return test;
  }

  LinearCase makeGroupedCase(
      std::function<WeightFormatInterface(int64_t, int64_t)> makeFormat,
      ActivationType input) {
    constexpr int64_t groups[] = {0, 32, 64, 96, 128, 1024};
    int64_t group = pick<int64_t>(groups);
    LinearCase test = makeCase(
        [&](int64_t n, int64_t k) {
          return getQuantized(n, k, makeFormat(group, k));
        },
        true);
    test.input = input;
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
    for (ActivationType input : {exact, int8, ActivationType{Kind::Token, 8},
                                 pick<ActivationType>(inputs)}) {
      UniformAttr format =
          makeFormat(bits, pick<int64_t>(groups), pick<ZeroPoint>(zeros),
                     random() % 3 ? ScaleType::F16 : ScaleType::F32);
      cases.push_back(makeCase(
          [&](int64_t n, int64_t k) { return getQuantized(n, k, format); },
          true));
      cases.back().input = input;
    }
  runLinearCases(level(), cases);
}

/// A format for groups of `group` and rows of `k` weights.
using MakeFormatFn = std::function<WeightFormatInterface(int64_t, int64_t)>;

MakeFormatFn makePlanes(int64_t count, bool offset) {
  return [=](int64_t group, int64_t) {
    return PlanesAttr::get(&getContext(), count, group, offset);
  };
}
MakeFormatFn makeCodebook(int64_t bits, int64_t tables, bool symmetric) {
  return [=](int64_t group, int64_t) {
    return CodebookAttr::get(&getContext(), bits, group, tables, symmetric);
  };
}
MakeFormatFn makeMixed(std::vector<int64_t> widths) {
  return [=](int64_t group, int64_t k) {
    return test::makeMixed(widths, group, k);
  };
}

/// Formats of tuples of columns need whole blocks of them.
LinearCase makeE8PCase(int64_t bits, LinearCase test) {
  for (Type &weight : test.weights) {
    auto type = cast<QuantizedType>(weight);
    weight = getQuantized(type.getRows(), getPaddedColumns(type.getColumns()),
                          E8PAttr::get(&getContext(), bits));
  }
  return test;
}

/// The same weights with outliers, each as many as its size allows.
LinearCase makeOutliersCase(int64_t percent, LinearCase test) {
  for (Type &weight : test.weights) {
    auto type = cast<QuantizedType>(weight);
    weight =
        getQuantized(type.getRows(), type.getColumns(),
                     makeOutliers(cast<WeightFormatInterface>(type.getFormat()),
                                  type.getRows(), type.getColumns(), percent));
  }
  return test;
}

TEST_P(Linear, E8P) {
  std::vector<LinearCase> cases;
  for (int64_t bits : {2, 3, 4})
    for (ActivationType input : {exact, int8, ActivationType{Kind::Token, 8}})
      cases.push_back(
          makeE8PCase(bits, makeGroupedCase(makePlanes(1, true), input)));
  runLinearCases(level(), cases);
}

TEST_P(Linear, Outliers) {
  MakeFormatFn uniform = [](int64_t group, int64_t) {
    return makeFormat(4, group, ZeroPoint::Int, ScaleType::F16);
  };
  std::vector<LinearCase> cases;
  for (ActivationType input : {exact, int8, ActivationType{Kind::Token, 8}}) {
    auto add = [&](const MakeFormatFn &make, int64_t percent) {
      cases.push_back(makeOutliersCase(percent, makeGroupedCase(make, input)));
    };
    for (const MakeFormatFn &make :
         {makePlanes(1, true), makeCodebook(2, 1, false), uniform})
      add(make, 1 + random() % 99);
    add(makePlanes(1, true), 0);
    add(makePlanes(1, true), 100);
  }
  runLinearCases(level(), cases);
}

TEST_P(Linear, ThoroughSparseFormats) {
  std::vector<MakeFormatFn> bases;
  for (bool flag : {false, true})
    for (int64_t count : {1, 2, 3}) {
      bases.push_back(makePlanes(count, flag));
      if (count < 3)
        bases.push_back(makeCodebook(count, 1, flag));
    }
  for (int64_t bits = 2; bits <= 8; ++bits)
    for (ZeroPoint zero : zeros)
      bases.push_back([=](int64_t group, int64_t) {
        return makeFormat(bits, group, zero, ScaleType::F16);
      });
  std::vector<LinearCase> cases;
  for (const MakeFormatFn &make : bases)
    for (ActivationType input : thorough)
      cases.push_back(
          makeOutliersCase(random() % 101, makeGroupedCase(make, input)));
  for (ActivationType input : inputs)
    for (int64_t bits : {2, 3, 4})
      cases.push_back(
          makeE8PCase(bits, makeGroupedCase(makePlanes(1, true), input)));
  runLinearCases(level(), cases);
}

/// Formats whose groups are whole blocks, each with f32 and integer inputs.
TEST_P(Linear, GroupedFormats) {
  std::vector<LinearCase> cases;
  for (const MakeFormatFn &make :
       {makePlanes(1, true), makePlanes(2, false), makeCodebook(2, 2, true),
        makeCodebook(2, 2, false), makeMixed({1, 2, 3})})
    for (ActivationType input :
         {exact, pick<ActivationType>({int8, {Kind::Token, 8}})})
      cases.push_back(makeGroupedCase(make, input));
  runLinearCases(level(), cases);
}

TEST_P(Linear, ThoroughGroupedFormats) {
  std::vector<MakeFormatFn> formats = {makeMixed({1, 2, 3}), makeMixed({4, 8}),
                                       makeMixed({1}), makeMixed({3, 5, 6, 7})};
  for (bool flag : {false, true}) {
    for (int64_t count = 1; count <= 4; ++count)
      formats.push_back(makePlanes(count, flag));
    for (int64_t bits : {1, 2})
      for (int64_t tables : {1, 2})
        formats.push_back(makeCodebook(bits, tables, flag));
  }
  std::vector<LinearCase> cases;
  for (const MakeFormatFn &make : formats)
    for (ActivationType input : thorough)
      cases.push_back(makeGroupedCase(make, input));
  double worst = runLinearCases(level(), cases);
  std::printf("%s: largest error %.2g of the terms\n", level().name.data(),
              worst);
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
          for (size_t i = 0; i < std::size(thorough); ++i) {
            UniformAttr format = makeFormat(bits, group, zero, scale);
            cases.push_back(
                makeCase([&](int64_t n,
                             int64_t k) { return getQuantized(n, k, format); },
                         true));
            cases.back().input = thorough[i];
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
      kernels.push_back({types.back(), n, int8, false, Epilogue::Store});
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

/// Signed weights in one group per row times tokens with one scale: every bit
/// of y is that of the integer reference, for every pair of widths, for one
/// token and many, and however items and tokens are cut. The first token and
/// row have the largest codes of one sign, which is what 16 bits would not
/// hold.
TEST_P(Linear, OneGroupIsTheIntegerReference) {
  constexpr int64_t n = 40, count = 11;
  KernelModule module(level());
  auto makeKernel = [&](int64_t bits, int64_t activationBits, int64_t k) {
    Type type = getQuantized(
        n, k, makeFormat(bits, 0, ZeroPoint::None, ScaleType::F32));
    return LinearKernel{type,
                        getPaddedRows(n),
                        {Kind::Token, activationBits},
                        false,
                        Epilogue::Store};
  };
  constexpr int64_t widths[][2] = {{8, 8}, {7, 8}, {6, 8}, {5, 8},
                                   {4, 8}, {3, 8}, {2, 8}, {8, 6},
                                   {6, 6}, {8, 4}, {4, 4}, {8, 2}};
  constexpr int64_t sizes[] = {33, 1024};
  for (auto [bits, activationBits] : widths)
    for (int64_t k : sizes)
      module.add(makeKernel(bits, activationBits, k));
  module.compile();
  ASSERT_FALSE(HasFatalFailure());

  for (auto [bits, activationBits] : widths)
    for (int64_t k : sizes) {
      LinearKernel kernel = makeKernel(bits, activationBits, k);
      SCOPED_TRACE(kernel.getName());
      // Codes of -Q to Q, stored with the middle code added.
      auto draw = [&](int64_t rows, int64_t width) {
        int32_t largest = numerics::largestActivationCode(width);
        std::vector<int8_t> codes(rows * k);
        for (int64_t i = 0; i < rows * k; ++i)
          codes[i] = i < k ? largest
                     : i < 2 * k
                         ? -largest
                         : int32_t(random() % (2 * largest + 1)) - largest;
        return codes;
      };
      std::vector<int8_t> weightCodes = draw(n, bits);
      std::vector<int8_t> codes = draw(count, activationBits);
      std::uniform_real_distribution<float> unit(0.001f, 0.1f);
      std::vector<float> weightScales(n), scales(count);
      for (float &scale : weightScales)
        scale = unit(random);
      for (float &scale : scales)
        scale = unit(random);

      TestWeight weight;
      weight.type = kernel.weight;
      weight.rows = n;
      weight.columns = k;
      std::vector<uint8_t> shifted;
      for (int8_t code : weightCodes)
        shifted.push_back(code + (1 << (bits - 1)));
      std::vector<uint8_t> packed(n * numerics::packedRowBytes(k, bits));
      numerics::packRows(shifted, n, k, bits, packed);
      weight.components.emplace_back(packed.begin(), packed.end());
      auto *bytes = reinterpret_cast<const char *>(weightScales.data());
      weight.components.emplace_back(bytes, bytes + 4 * n);

      std::vector<char> rows;
      for (int64_t token = 0; token < count; ++token)
        llvm::append_range(
            rows,
            makeTokenRow({codes.data() + token * k, size_t(k)}, scales[token]));
      Guarded input(rows), tiles(packBuffer(weight, false));
      Guarded y(4 * count * kernel.columns);
      runAndCheckSplits({module.find(kernel.getName()),
                         {&input, &tiles, &y},
                         {kernel.getItems(), 0},
                         count});

      std::vector<int32_t> sums(count * n);
      std::vector<float> expected(count * n);
      numerics::multiplyCodes(codes.data(), weightCodes.data(), count, n, k,
                              sums.data());
      numerics::scaleSums(sums.data(), scales.data(), weightScales.data(),
                          count, n, expected.data());
      for (int64_t token = 0; token < count; ++token)
        for (int64_t r = 0; r < n; ++r)
          ASSERT_EQ(y.as<float>()[token * kernel.columns + r],
                    expected[token * n + r])
              << "token " << token << ", row " << r;
    }
}

} // namespace

LLQ_TEST_ALL_LEVELS(Linear);
