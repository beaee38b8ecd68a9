//===- FormatGradientTest.cpp - Gradients of the formats' numbers ---------===//
//
// What a format says of its derivatives against differences of its reference
// decode. Numbers and steps are exact in f16 and decode is linear in each of
// them, so differences are exact up to the rounding of sums.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"
#include "llq/Numerics/Float16.h"
#include "llq/Numerics/SparseCodes.h"

#include "mlir/IR/MLIRContext.h"
#include "gtest/gtest.h"

#include <random>

using namespace mlir;
using namespace llq;

namespace {
constexpr int64_t kRows = 3;
constexpr float kStep = 0.25f;

class FormatGradientTest : public testing::Test {
protected:
  FormatGradientTest() { context.loadDialect<LLQDialect>(); }

  void fill(WeightFormatInterface format) {
    components = format.getComponents(kRows, columns);
    data.clear();
    for (const WeightComponent &component : components) {
      std::vector<char> &bytes = data.emplace_back();
      Type type = component.type.getElementType();
      for (int64_t i = 0; i < component.type.getNumElements(); ++i)
        append(type, bytes);
    }
  }

  void append(Type type, std::vector<char> &bytes) {
    // Multiples of 1 / 64 up to 2.
    float value = float(int(generator() % 257) - 128) / 64;
    uint16_t half = numerics::encodeF16(value);
    if (type.isF16())
      bytes.insert(bytes.end(), reinterpret_cast<char *>(&half),
                   reinterpret_cast<char *>(&half) + 2);
    else if (type.isF32())
      bytes.insert(bytes.end(), reinterpret_cast<char *>(&value),
                   reinterpret_cast<char *>(&value) + 4);
    else
      for (unsigned i = 0; i < type.getIntOrFloatBitWidth() / 8; ++i)
        bytes.push_back(char(generator()));
  }

  static float get(Type type, const std::vector<char> &bytes, size_t index) {
    float value;
    if (type.isF32()) {
      std::memcpy(&value, bytes.data() + index * 4, 4);
      return value;
    }
    uint16_t half;
    std::memcpy(&half, bytes.data() + index * 2, 2);
    return numerics::decodeF16(half);
  }

  static void set(Type type, std::vector<char> &bytes, size_t index,
                  float value) {
    uint16_t half = numerics::encodeF16(value);
    if (type.isF32())
      std::memcpy(bytes.data() + index * 4, &value, 4);
    else
      std::memcpy(bytes.data() + index * 2, &half, 2);
  }

  SmallVector<ArrayRef<char>> views() {
    return llvm::map_to_vector(
        data, [](const std::vector<char> &bytes) { return ArrayRef(bytes); });
  }

  /// sum gradient w of rows [begin, kRows).
  double getLoss(WeightFormatInterface format, ArrayRef<float> gradient,
                 int64_t begin) {
    std::vector<float> w((kRows - begin) * columns);
    format.dequantizeRows(views(), kRows, columns, begin, kRows, w.data());
    double sum = 0;
    for (auto [a, b] : llvm::zip_equal(w, gradient))
      sum += double(a) * b;
    return sum;
  }

  /// All rows but the first, which has no gradient.
  void check(WeightFormatInterface format) {
    std::vector<float> gradient((kRows - 1) * columns);
    for (float &g : gradient)
      g = float(int(generator() % 65) - 32) / 8;
    SmallVector<std::vector<float>> found(components.size());
    SmallVector<MutableArrayRef<float>> places(components.size());
    for (auto [index, component] : llvm::enumerate(components)) {
      if (!isa<FloatType>(component.type.getElementType()))
        continue;
      found[index].assign(component.type.getNumElements(), 1.0f);
      places[index] = found[index];
    }
    ASSERT_TRUE(format.differentiateRows(views(), kRows, columns, 1, kRows,
                                         gradient.data(), nullptr, places));
    for (auto [index, component] : llvm::enumerate(components)) {
      Type type = component.type.getElementType();
      for (size_t i = 0; i < found[index].size(); ++i) {
        float value = get(type, data[index], i);
        set(type, data[index], i, value + kStep);
        double up = getLoss(format, gradient, 1);
        set(type, data[index], i, value - kStep);
        double down = getLoss(format, gradient, 1);
        set(type, data[index], i, value);
        // It was 1 before.
        EXPECT_NEAR(found[index][i], 1 + (up - down) / (2 * kStep), 1e-3)
            << component.name.str() << " " << i;
      }
    }
  }

  void fillAndCheck(Attribute format) {
    fill(cast<WeightFormatInterface>(format));
    check(cast<WeightFormatInterface>(format));
  }

  std::vector<float> decode(WeightFormatInterface format) {
    std::vector<float> w(kRows * columns);
    format.dequantizeRows(views(), kRows, columns, 0, kRows, w.data());
    return w;
  }

  /// No other codes come nearer to weights than those chosen, all rows but the
  /// first, whose codes stay.
  void checkCodes(WeightFormatInterface format) {
    ASSERT_TRUE(format.encodeRows({}, kRows, columns, 0, 0, nullptr, {}));
    std::vector<float> wanted(kRows * columns);
    for (float &w : wanted)
      w = float(int(generator() % 2049) - 1024) / 256;
    std::vector<float> first = decode(format);
    std::vector<char> codes = data[0];
    ASSERT_TRUE(format.encodeRows(views(), kRows, columns, 1, kRows,
                                  wanted.data() + columns, codes));
    data[0] = codes;
    std::vector<float> found = decode(format);
    EXPECT_TRUE(
        std::equal(first.begin(), first.begin() + columns, found.begin()));
    for (int trial = 0; trial < 64; ++trial) {
      for (char &byte : data[0])
        byte = char(generator());
      std::vector<float> other = decode(format);
      for (size_t i = columns; i < other.size(); ++i)
        EXPECT_LE(std::fabs(found[i] - wanted[i]),
                  std::fabs(other[i] - wanted[i]) + 1e-6)
            << i;
    }
    data[0] = codes;
  }

  void fillAndCheckCodes(Attribute format) {
    fill(cast<WeightFormatInterface>(format));
    checkCodes(cast<WeightFormatInterface>(format));
  }

  int64_t columns = 21;
  MLIRContext context;
  std::mt19937 generator{3};
  SmallVector<WeightComponent> components;
  std::vector<std::vector<char>> data;
};
} // namespace

TEST_F(FormatGradientTest, Planes) {
  fillAndCheck(PlanesAttr::get(&context, 2, 8, false));
  fillAndCheck(PlanesAttr::get(&context, 1, 0, true));
}

TEST_F(FormatGradientTest, Uniform) {
  for (ZeroPoint zero : {ZeroPoint::None, ZeroPoint::Int, ZeroPoint::Float})
    fillAndCheck(UniformAttr::get(&context, 3, 8, zero, ScaleType::F16));
  fillAndCheck(
      UniformAttr::get(&context, 2, 0, ZeroPoint::Int, ScaleType::F32));
}

TEST_F(FormatGradientTest, Codebook) {
  fillAndCheck(CodebookAttr::get(&context, 2, 8, 1, false));
  fill(CodebookAttr::get(&context, 3, 8, 2, true));
  data[2] = {3, 0, 5};
  check(CodebookAttr::get(&context, 3, 8, 2, true));
}

TEST_F(FormatGradientTest, Mixed) {
  auto format = MixedAttr::get(&context, {1, 2, 3}, 8 + 24 + 10, 8);
  fill(format);
  data[3] = {1, 3, 2};
  check(format);
}

TEST_F(FormatGradientTest, E8P) {
  columns = 64;
  for (int64_t bits : {2, 3, 4})
    fillAndCheck(E8PAttr::get(&context, bits));
}

// A row without outliers, and one in the rows that have no gradient.
TEST_F(FormatGradientTest, Outliers) {
  std::vector<uint8_t> present(kRows * columns), codes(present.size());
  for (int64_t place : {4, 5, 20, 42, 43, 50, 62}) {
    present[place] = 1;
    codes[place] = uint8_t(generator());
  }
  numerics::SparseCodes sparse =
      numerics::packSparseCodes(codes.data(), present.data(), kRows, columns);
  auto format = OutliersAttr::get(
      &context, PlanesAttr::get(&context, 1, 8, true), sparse.masks.size(), 7);
  fill(format);
  auto put = [&](StringRef name, auto &from) {
    for (auto [component, bytes] : llvm::zip_equal(components, data))
      if (component.name == name)
        std::memcpy(bytes.data(), from.data(), from.size() * sizeof(from[0]));
  };
  put("presence", sparse.presence);
  put("masks", sparse.masks);
  put("outliers", sparse.codes);
  put("starts", sparse.starts);
  check(format);
}

TEST_F(FormatGradientTest, NearestCodes) {
  for (ZeroPoint zero : {ZeroPoint::None, ZeroPoint::Int, ZeroPoint::Float})
    fillAndCheckCodes(UniformAttr::get(&context, 3, 8, zero, ScaleType::F16));
  auto mixed = MixedAttr::get(&context, {1, 2, 3}, 8 + 24 + 10, 8);
  fill(mixed);
  data[3] = {1, 3, 2};
  checkCodes(mixed);
  // A scale of 0 leaves no choice.
  fill(mixed);
  data[3] = {1, 3, 2};
  std::fill(data[1].begin(), data[1].end(), 0);
  checkCodes(mixed);
  EXPECT_FALSE(
      E8PAttr::get(&context, 2).encodeRows({}, kRows, 64, 0, 0, nullptr, {}));
}

// 2 bits, scale 0.5: the grid is -1, -0.5, 0, 0.5. The weight 0.2 is 0.4 steps
// and becomes 0, -2 is clipped to -1; the gradients 3 and 5 by these weights
// are 3 (0 - 0.4) + 5 (-2) by the scale.
TEST_F(FormatGradientTest, StraightThrough) {
  float w[] = {0.2f, -2}, gradient[] = {3, 5}, byScale = 0, byOffset = 0;
  auto uniform =
      UniformAttr::get(&context, 2, 0, ZeroPoint::None, ScaleType::F16);
  std::vector<char> codes(1), scales(2), offsets(2), bits{2};
  set(Float16Type::get(&context), scales, 0, 0.5f);
  ASSERT_TRUE(uniform.encodeRows({codes, scales}, 1, 2, 0, 1, w, codes));
  EXPECT_EQ(codes[0], 2);
  uniform.differentiateRows({codes, scales}, 1, 2, 0, 1, gradient, w,
                            {{}, byScale});
  EXPECT_FLOAT_EQ(byScale, -11.2f);

  // The same grid from its low end: 3 (2 - 2.4) + 5 * 0, and what is clipped
  // moves with the offset.
  auto mixed = MixedAttr::get(&context, {2}, 4, 0);
  set(Float16Type::get(&context), offsets, 0, -1);
  SmallVector<ArrayRef<char>> views{codes, scales, offsets, bits};
  ASSERT_TRUE(mixed.encodeRows(views, 1, 2, 0, 1, w, codes));
  EXPECT_EQ(codes[0], 2);
  byScale = 0;
  mixed.differentiateRows(views, 1, 2, 0, 1, gradient, w,
                          {{}, byScale, byOffset, {}});
  EXPECT_FLOAT_EQ(byScale, -1.2f);
  EXPECT_FLOAT_EQ(byOffset, 5);
}
