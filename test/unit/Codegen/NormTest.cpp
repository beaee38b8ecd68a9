//===- NormTest.cpp - Normalization and quantization of rows --------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LinearHarness.h"

#include "llq/Numerics/ActivationGrid.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

using namespace mlir;
using namespace llq;
using namespace llq::test;

namespace {

constexpr int64_t columns[] = {1, 16, 31, 32, 33, 100, 576};
constexpr ActivationType int8 = {ActivationType::Kind::Group, 8};
constexpr float epsilons[] = {1e-5f, 1e-6f};

/// Rows of every kind: ordinary, zero, tiny, huge, one large element.
std::vector<float> makeRows(int64_t tokens, int64_t columns,
                            std::mt19937 &random) {
  std::normal_distribution<float> normal;
  std::vector<float> rows(tokens * getPaddedColumns(columns));
  for (int64_t token = 0; token < tokens; ++token)
    for (int64_t c = 0; c < columns; ++c) {
      const float sizes[] = {1, 0, 1e-15f, 1e15f, 1, 3e-3f};
      float value = normal(random) * sizes[token % 6];
      if (token % 6 == 4 && c == columns / 2)
        value = 3e4f;
      rows[token * getPaddedColumns(columns) + c] = value;
    }
  return rows;
}

/// Numbers around one, padded with zeros.
std::vector<float> makeWeight(int64_t columns, std::mt19937 &random) {
  std::vector<float> weight(getPaddedColumns(columns));
  for (int64_t c = 0; c < columns; ++c)
    weight[c] = std::normal_distribution<float>(1)(random);
  return weight;
}

class Norm : public LevelTest {
protected:
  std::mt19937 random{11};
};

TEST_P(Norm, MatchesTheFormula) {
  constexpr int64_t tokens = 13;
  KernelModule module(level());
  for (int64_t k : columns)
    for (float epsilon : epsilons)
      module.add(NormKernel{k, true, epsilon, {}});
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  for (int64_t k : columns)
    for (float epsilon : epsilons) {
      SCOPED_TRACE(k);
      int64_t padded = getPaddedColumns(k);
      std::vector<float> x = makeRows(tokens, k, random);
      std::vector<float> w = makeWeight(k, random);
      Guarded input(x), weight(w), y(4 * tokens * padded);
      NormKernel kernel{k, true, epsilon, {}};
      runAndCheckSplits({module.find(kernel.getName()),
                         {&input, &weight, &y},
                         {0, 1},
                         tokens});
      for (int64_t token = 0; token < tokens; ++token) {
        double squares = 0;
        for (int64_t c = 0; c < k; ++c)
          squares += double(x[token * padded + c]) * x[token * padded + c];
        double factor = 1 / std::sqrt(squares / k + epsilon);
        for (int64_t c = 0; c < padded; ++c) {
          double expected = c < k ? x[token * padded + c] * factor * w[c] : 0;
          EXPECT_NEAR(y.as<float>()[token * padded + c], expected,
                      1e-6 * std::fabs(expected))
              << token << ' ' << c;
        }
      }
    }
}

/// Codes, scales and sums of rows that hold what is at `values`.
void expectQuantized(const Guarded &y, ArrayRef<float> values, int64_t tokens,
                     int64_t k) {
  QuantizedRow row(k);
  int64_t padded = getPaddedColumns(k);
  for (int64_t token = 0; token < tokens; ++token) {
    const char *out = y.data() + token * row.bytes;
    for (int64_t group = 0; group < row.groups; ++group) {
      int8_t codes[kBlockColumns];
      float scale =
          quantizeGroup(values.data() + token * padded + group * kBlockColumns,
                        kBlockColumns, codes);
      float found, sum, expectedSum = 0;
      std::memcpy(&found, out + row.scales + 4 * group, 4);
      std::memcpy(&sum, out + row.sums + 4 * group, 4);
      EXPECT_EQ(found, scale) << token << ' ' << group;
      for (int64_t i = 0; i < kBlockColumns; ++i) {
        EXPECT_EQ(int(int8_t(out[row.codes + group * kBlockColumns + i])),
                  int(codes[i]))
            << token << ' ' << group << ' ' << i;
        expectedSum += codes[i];
      }
      EXPECT_EQ(sum, expectedSum) << token << ' ' << group;
    }
  }
}

/// The order of operations is fixed, so quantization is exact.
TEST_P(Norm, QuantizesAsTheFormatSays) {
  constexpr int64_t tokens = 13;
  KernelModule module(level());
  for (int64_t k : columns)
    module.add(NormKernel{k, false, 0, int8});
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  for (int64_t k : columns) {
    SCOPED_TRACE(k);
    std::vector<float> x = makeRows(tokens, k, random);
    // Ties round to even.
    if (k > 8) {
      x[0] = 127;
      for (int64_t c = 1; c < 8; ++c)
        x[c] = c + 0.5f;
      for (int64_t c = 8; c < std::min<int64_t>(k, 32); ++c)
        x[c] = -c - 0.5f;
    }
    Guarded input(x), y(tokens * QuantizedRow(k).bytes);
    NormKernel kernel{k, false, 0, int8};
    runAndCheckSplits(
        {module.find(kernel.getName()), {&input, &y}, {0, 1}, tokens});
    expectQuantized(y, x, tokens, k);
  }
}

/// Normalizing and quantizing at once is bit for bit one after the other.
TEST_P(Norm, FusedIsTheSameAsApart) {
  constexpr int64_t tokens = 7;
  KernelModule module(level());
  for (int64_t k : columns)
    for (ActivationType type : {ActivationType(), int8})
      module.add(NormKernel{k, true, 1e-5f, type});
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  for (int64_t k : columns) {
    SCOPED_TRACE(k);
    int64_t padded = getPaddedColumns(k);
    std::vector<float> w = makeWeight(k, random);
    Guarded input(makeRows(tokens, k, random)), weight(w);
    Guarded apart(4 * tokens * padded), fused(tokens * QuantizedRow(k).bytes);
    Call call = {module.find(NormKernel{k, true, 1e-5f, {}}.getName()),
                 {&input, &weight, &apart},
                 {0, 1},
                 tokens};
    call.run();
    call.kernel = module.find(NormKernel{k, true, 1e-5f, int8}.getName());
    call.buffers.back() = &fused;
    runAndCheckSplits(call);
    expectQuantized(fused, {apart.as<float>(), size_t(tokens * padded)}, tokens,
                    k);
  }
}

/// The scale of a group of subnormal numbers is too coarse to divide by; such
/// a group is zero.
TEST_P(Norm, SubnormalGroupsAreZero) {
  constexpr int64_t k = 32;
  KernelModule module(level());
  NormKernel kernel{k, false, 0, int8};
  module.add(kernel);
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  QuantizedRow row(k);
  for (float largest : {190 * std::numeric_limits<float>::denorm_min(), 1e-38f,
                        std::numeric_limits<float>::max()}) {
    std::vector<float> x(k);
    x[3] = -largest;
    x[4] = largest / 2;
    Guarded input(x), y(row.bytes);
    Call({module.find(kernel.getName()), {&input, &y}, {0, 1}, 1}).run();
    float scale = y.as<float>()[row.scales / 4];
    int expected = scale == 0 ? 0 : -127;
    EXPECT_EQ(int(int8_t(y.data()[3])), expected) << largest;
    EXPECT_EQ(scale != 0, largest > 1) << largest;
    EXPECT_NEAR(y.as<float>()[row.sums / 4], expected / 2, 1) << largest;
  }
}

/// A row with one scale as numerics::quantizeActivations makes it from what is
/// at `values`, by way of the plain loops of `makeTokenRow`.
void expectTokenRows(const Guarded &y, const float *values, int64_t tokens,
                     int64_t k, ActivationType type, float staticScale) {
  int64_t padded = getPaddedColumns(k), bytes = TokenRow(k).bytes;
  for (int64_t token = 0; token < tokens; ++token) {
    std::vector<int8_t> codes(k);
    float scale = staticScale;
    const float *row = values + token * padded;
    if (type.kind == ActivationType::Kind::Token)
      numerics::quantizeTokens(row, 1, k, type.bits, codes.data(), &scale);
    else
      numerics::quantizeActivations({row, size_t(k)}, scale, type.bits, codes);
    std::vector<char> expected = makeTokenRow(codes, scale);
    ASSERT_EQ(int64_t(expected.size()), bytes);
    for (int64_t i = 0; i < bytes; ++i)
      ASSERT_EQ(int(y.data()[token * bytes + i]), int(expected[i]))
          << "token " << token << ", byte " << i << " of " << type.getName();
  }
}

/// Rows, a weight, and what the kernel that only normalizes makes of them.
struct NormedRows {
  NormedRows(KernelModule &module, int64_t tokens, int64_t k,
             std::mt19937 &random)
      : x(makeRows(tokens, k, random)), w(makeWeight(k, random)), input(x),
        weight(w), normalized(4 * x.size()) {
    Call({module.find(NormKernel{k, true, 1e-5f, {}}.getName()),
          {&input, &weight, &normalized},
          {0, 1},
          tokens})
        .run();
  }

  const float *getValues(bool norm) const {
    return norm ? normalized.as<float>() : x.data();
  }

  std::vector<float> x, w;
  Guarded input, weight, normalized;
};

/// Scales of tokens and static ones, alone and behind a norm, are exactly those
/// of the reference: also for tokens of zeros, tokens far below the floor, and
/// values beyond a static scale.
TEST_P(Norm, QuantizesWithOneScaleAsTheReference) {
  using Kind = ActivationType::Kind;
  constexpr int64_t tokens = 13;
  constexpr ActivationType types[] = {{Kind::Token, 8},  {Kind::Token, 6},
                                      {Kind::Token, 4},  {Kind::Static, 8},
                                      {Kind::Static, 6}, {Kind::Static, 4}};
  KernelModule module(level());
  for (int64_t k : columns) {
    module.add(NormKernel{k, true, 1e-5f, {}});
    for (ActivationType type : types)
      for (bool norm : {false, true})
        module.add(NormKernel{k, norm, norm ? 1e-5f : 0, type});
  }
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  for (int64_t k : columns) {
    SCOPED_TRACE(k);
    NormedRows rows(module, tokens, k, random);
    std::vector<float> scaleRow(kBlockColumns);
    scaleRow[0] = 0.0123f;
    Guarded scale(scaleRow);
    for (ActivationType type : types)
      for (bool norm : {false, true}) {
        Guarded y(tokens * TokenRow(k).bytes);
        NormKernel kernel{k, norm, norm ? 1e-5f : 0, type};
        Call call = {
            module.find(kernel.getName()), {&rows.input}, {0, 1}, tokens};
        if (norm)
          call.buffers.push_back(&rows.weight);
        if (type.kind == Kind::Static)
          call.buffers.push_back(&scale);
        call.buffers.push_back(&y);
        runAndCheckSplits(call);
        expectTokenRows(y, rows.getValues(norm), tokens, k, type, scaleRow[0]);
        if (HasFatalFailure())
          return;
      }
  }
}

/// An order of `columns` channels as it is stored: padding stays there.
std::vector<uint16_t> makeOrder(int64_t columns, std::mt19937 &random) {
  std::vector<uint16_t> order(getPaddedColumns(columns));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.begin() + columns, random);
  return order;
}

/// The weight of a norm, if there is one, and an order behind it.
std::vector<char> joinVectors(ArrayRef<float> weight,
                              ArrayRef<uint16_t> order) {
  std::vector<char> bytes;
  auto append = [&](auto values) {
    auto *from = reinterpret_cast<const char *>(values.data());
    bytes.insert(bytes.end(), from, from + values.size() * sizeof(values[0]));
  };
  append(weight);
  append(order);
  return bytes;
}

/// A permutation is exact, whatever goes on in the same pass: bit for bit what
/// a plain loop makes of the norm's result.
TEST_P(Norm, PermutesAsTheOrderSays) {
  using Kind = ActivationType::Kind;
  constexpr int64_t tokens = 13;
  constexpr ActivationType types[] = {{}, int8, {Kind::Token, 6}};
  KernelModule module(level());
  for (int64_t k : columns) {
    module.add(NormKernel{k, true, 1e-5f, {}});
    for (ActivationType type : types)
      for (bool norm : {false, true})
        module.add(NormKernel{k, norm, norm ? 1e-5f : 0, type, true});
  }
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  for (int64_t k : columns) {
    SCOPED_TRACE(k);
    int64_t padded = getPaddedColumns(k);
    NormedRows rows(module, tokens, k, random);
    std::vector<uint16_t> order = makeOrder(k, random);
    for (ActivationType type : types)
      for (bool norm : {false, true}) {
        const float *source = rows.getValues(norm);
        std::vector<float> expected(tokens * padded);
        for (int64_t token = 0; token < tokens; ++token)
          for (int64_t c = 0; c < k; ++c)
            expected[token * padded + c] = source[token * padded + order[c]];
        NormKernel kernel{k, norm, norm ? 1e-5f : 0, type, true};
        SCOPED_TRACE(kernel.getName());
        Guarded vectors(
            joinVectors(norm ? ArrayRef(rows.w) : ArrayRef<float>(), order));
        Guarded y(tokens * type.getRowBytes(k));
        runAndCheckSplits({module.find(kernel.getName()),
                           {&rows.input, &vectors, &y},
                           {0, 1},
                           tokens});
        if (type.hasOneScale())
          expectTokenRows(y, expected.data(), tokens, k, type, 0);
        else if (type.isQuantized())
          expectQuantized(y, expected, tokens, k);
        else
          EXPECT_EQ(std::memcmp(y.data(), expected.data(), y.size()), 0);
        if (HasFatalFailure())
          return;
      }
  }
}

/// Channels that do not exist, of a damaged file, read nothing beyond the row:
/// the buffer ends at a page without access.
TEST_P(Norm, DamagedOrdersStayInsideTheRow) {
  constexpr int64_t k = 33;
  NormKernel kernel{k, true, 1e-5f, {}, true};
  KernelModule module(level());
  module.add(kernel);
  module.compile();
  ASSERT_FALSE(HasFatalFailure());
  std::vector<float> w(getPaddedColumns(k), 1);
  std::vector<uint16_t> order(getPaddedColumns(k), 65535);
  Guarded input(makeRows(1, k, random)), vectors(joinVectors(w, order));
  Guarded y(4 * getPaddedColumns(k), 1);
  Call({module.find(kernel.getName()), {&input, &vectors, &y}, {0, 1}, 1})
      .run();
  for (int64_t c = 0; c < k; ++c)
    EXPECT_EQ(y.as<float>()[c], 0); // the last channel of the padding
}

} // namespace

LLQ_TEST_ALL_LEVELS(Norm);
