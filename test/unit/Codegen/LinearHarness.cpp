//===- LinearHarness.cpp - One product kernel against plain loops ---------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "LinearHarness.h"

#include "llq/Numerics/ActivationGrid.h"

#include <cmath>

using namespace mlir;
using namespace llq;
using namespace llq::test;
using Epilogue = LinearKernel::Epilogue;

/// f32 sums of a few hundred terms in some order, relative to the sum of their
/// magnitudes.
static constexpr double tolerance = 1e-6;

float llq::test::quantizeGroup(const float *values, int64_t count,
                               int8_t *codes, int64_t bits) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i)
    largest = std::max(largest, std::fabs(values[i]));
  float scale = largest / float(numerics::largestActivationCode(bits));
  for (int64_t i = 0; i < count; ++i)
    codes[i] = scale == 0 ? 0 : int8_t(std::nearbyint(values[i] / scale));
  return scale;
}

std::vector<char> llq::test::makeTokenRow(ArrayRef<int8_t> codes, float scale) {
  TokenRow row(codes.size());
  std::vector<char> bytes(row.bytes);
  std::memcpy(bytes.data(), codes.data(), codes.size());
  int32_t sum = 0;
  for (int64_t block = 0; block <= row.blocks; ++block) {
    std::memcpy(bytes.data() + row.sums + 4 * block, &sum, 4);
    if (block < row.blocks)
      for (int64_t c = 0; c < kBlockColumns; ++c)
        sum += int8_t(bytes[block * kBlockColumns + c]);
  }
  std::memcpy(bytes.data() + row.scale, &scale, 4);
  return bytes;
}

TestActivations llq::test::makeActivations(int64_t tokens, int64_t columns,
                                           ActivationType type,
                                           std::mt19937 &random) {
  TestActivations result = {tokens, columns, {}, {}};
  std::normal_distribution<float> normal;
  for (int64_t token = 0; token < tokens; ++token) {
    // Tokens of different sizes, now and then one of zeros.
    float size = token % 7 == 5 ? 0 : std::exp(normal(random));
    for (int64_t column = 0; column < columns; ++column)
      result.values.push_back(normal(random) * size *
                              (random() % 64 == 0 ? 20 : 1));
  }
  int64_t padded = getPaddedColumns(columns);
  QuantizedRow row(columns);
  if (type.hasOneScale()) {
    std::vector<int8_t> codes(tokens * columns);
    std::vector<float> scales(tokens);
    numerics::quantizeTokens(result.values.data(), tokens, columns, type.bits,
                             codes.data(), scales.data());
    for (int64_t token = 0; token < tokens; ++token) {
      ArrayRef<int8_t> mine(codes.data() + token * columns, columns);
      llvm::append_range(result.bytes, makeTokenRow(mine, scales[token]));
      for (int64_t c = 0; c < columns; ++c)
        result.values[token * columns + c] = scales[token] * mine[c];
    }
    return result;
  }
  result.bytes.assign(tokens * type.getRowBytes(columns), 0);
  for (int64_t token = 0; token < tokens; ++token) {
    float *values = result.values.data() + token * columns;
    if (!type.isQuantized()) {
      std::memcpy(result.bytes.data() + token * 4 * padded, values,
                  4 * columns);
      continue;
    }
    char *out = result.bytes.data() + token * row.bytes;
    for (int64_t group = 0; group < row.groups; ++group) {
      int64_t first = group * kBlockColumns;
      int64_t count = std::min(kBlockColumns, columns - first);
      int8_t codes[kBlockColumns] = {};
      float scale = quantizeGroup(values + first, count, codes, type.bits),
            sum = 0;
      for (int64_t i = 0; i < count; ++i) {
        values[first + i] = scale * codes[i];
        sum += codes[i];
      }
      std::memcpy(out + row.codes + first, codes, kBlockColumns);
      std::memcpy(out + row.scales + 4 * group, &scale, 4);
      std::memcpy(out + row.sums + 4 * group, &sum, 4);
    }
  }
  return result;
}

static int64_t getRows(Type type) {
  if (auto quantized = dyn_cast<QuantizedType>(type))
    return quantized.getRows();
  return cast<ShapedType>(type).getDimSize(0);
}

LinearKernel LinearCase::getKernel() const {
  int64_t columns = 0;
  for (Type type : weights)
    columns += getPaddedRows(getRows(type));
  return {weights.front(), columns, input, bias, epilogue};
}

std::string LinearCase::getText() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleaveComma(weights, os);
  os << ' ' << input.getName() << (bias ? " bias" : "") << " epilogue "
     << int(epilogue) << ", " << tokens << " tokens";
  return text;
}

namespace {

/// A value in f64 and the sum of the magnitudes of its terms.
struct Reference {
  double value = 0;
  double magnitude = 0;
};

/// Runs one case.
class CaseRunner {
public:
  CaseRunner(const KernelModule &module, const LinearCase &test, unsigned seed)
      : module(module), test(test), random(seed) {}

  double run();

private:
  Reference product(const TestWeight &weight, int64_t token, int64_t row);
  /// The value of column `column` of y, and whether it is padding.
  Reference expected(int64_t token, int64_t column, bool &padding);

  const KernelModule &module;
  const LinearCase &test;
  std::mt19937 random;
  TestActivations x;
  std::vector<TestWeight> weights;
  std::vector<float> bias, residual;
  int64_t columns;
};

} // namespace

Reference CaseRunner::product(const TestWeight &weight, int64_t token,
                              int64_t row) {
  Reference result;
  for (int64_t k = 0; k < x.columns; ++k) {
    double value = x.values[token * x.columns + k];
    result.value += value * weight.values[row * x.columns + k];
    result.magnitude +=
        std::fabs(value) * weight.magnitudes[row * x.columns + k];
  }
  return result;
}

Reference CaseRunner::expected(int64_t token, int64_t column, bool &padding) {
  // Which weight the column belongs to, and its row there.
  size_t part = 0;
  int64_t row = column;
  while (row >= getPaddedRows(weights[part].rows))
    row -= getPaddedRows(weights[part++].rows);
  padding = row >= weights[part].rows;
  if (padding)
    return {};
  Reference result = product(weights[part], token, row);
  if (test.bias) {
    result.value += bias[column];
    result.magnitude += std::fabs(bias[column]);
  }
  if (test.epilogue == Epilogue::Residual) {
    double other = residual[token * columns + column];
    result.value += other;
    result.magnitude += std::fabs(other);
  }
  if (test.epilogue != Epilogue::SwiGLU)
    return result;
  Reference up = product(weights[1], token, row);
  double gate = result.value, silu = gate / (1 + std::exp(-gate));
  // The slope of silu is below 1.1; its own error is a few ulp.
  return {silu * up.value, 1.1 * result.magnitude * std::fabs(up.value) +
                               std::fabs(silu) * up.magnitude};
}

double CaseRunner::run() {
  for (Type type : test.weights)
    weights.push_back(makeWeight(type, random));
  x = makeActivations(test.tokens, weights.front().columns, test.input, random);
  LinearKernel kernel = test.getKernel();
  bool gated = test.epilogue == Epilogue::SwiGLU;
  columns = kernel.columns / (gated ? 2 : 1);

  std::normal_distribution<float> normal;
  // Padded as the buffers of a program are: zeros behind the rows of each part.
  auto isRow = [&](int64_t column) {
    size_t part = 0;
    while (column >= getPaddedRows(weights[part].rows))
      column -= getPaddedRows(weights[part++].rows);
    return column < weights[part].rows;
  };
  for (int64_t c = 0; c < kernel.columns; ++c)
    bias.push_back(isRow(c) ? normal(random) : 0);
  for (int64_t i = 0; i < test.tokens * columns; ++i)
    residual.push_back(isRow(i % columns) ? normal(random) : 0);

  Guarded xBuffer(x.bytes), weightBuffer(packBuffer(weights, gated));
  Guarded biasBuffer(bias), residualBuffer(residual);
  Guarded y(4 * test.tokens * columns);
  Call call = {module.find(kernel.getName()),
               {&xBuffer, &weightBuffer},
               {},
               test.tokens};
  if (test.bias)
    call.buffers.push_back(&biasBuffer);
  if (test.epilogue == Epilogue::Residual)
    call.buffers.push_back(&residualBuffer);
  call.buffers.push_back(&y);
  call.grid.items = kernel.getItems();
  call.scratchBytes += kernel.getScratchBytes();
  runAndCheckSplits(call);

  double worst = 0;
  for (int64_t token = 0; token < test.tokens; ++token)
    for (int64_t column = 0; column < columns; ++column) {
      bool padding;
      Reference reference = expected(token, column, padding);
      float value = y.as<float>()[token * columns + column];
      if (padding) {
        EXPECT_EQ(value, 0)
            << "padding, token " << token << ", column " << column;
        continue;
      }
      double error = std::fabs(value - reference.value);
      // Also where a reference of zero is exact.
      if (error > 1e-30)
        worst = std::max(worst, error / reference.magnitude);
      if (!(error <= tolerance * reference.magnitude + 1e-30)) {
        ADD_FAILURE() << "token " << token << ", column " << column
                      << ": expected " << reference.value << " (terms "
                      << reference.magnitude << "), found " << value;
        return worst;
      }
    }
  return worst;
}

double llq::test::runLinearCases(const CPULevel &level,
                                 ArrayRef<LinearCase> cases) {
  KernelModule module(level);
  for (const LinearCase &test : cases)
    module.add(test.getKernel());
  module.compile();
  if (testing::Test::HasFatalFailure())
    return 0;
  double worst = 0;
  unsigned seed = 1;
  for (const LinearCase &test : cases) {
    SCOPED_TRACE(test.getText());
    worst = std::max(worst, CaseRunner(module, test, seed++).run());
  }
  return worst;
}
