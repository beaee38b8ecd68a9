//===- WeightDataTest.cpp - Rows of weights in files ----------------------===//
//
// Every way in which a matrix can lie in a file, against plain loops.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/WeightData.h"
#include "llq/Numerics/Float16.h"
#include "llq/Support/ParallelFor.h"
#include "llq/Support/WeightBlob.h"

#include "mlir/IR/Builders.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/raw_ostream.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace llq;

namespace {

class WeightData : public testing::Test {
protected:
  WeightData() {
    context.loadDialect<LLQDialect>();
    EXPECT_FALSE(llvm::sys::fs::createTemporaryFile("llq", "data", path));
    remover.emplace(path);
    for (int64_t i = 0; i < kBytes; ++i)
      bytes.push_back(char(i * 89 + (i >> 7) * 31));
    // No infinities and NaNs: their high bytes are what is above 0x7b.
    for (char &byte : bytes)
      byte &= 0x77;
    std::error_code error;
    llvm::raw_fd_ostream os(path, error);
    os.write(bytes.data(), bytes.size());
  }

  ExternalAttr makeWeight(Type element, ArrayRef<int64_t> shape, int64_t offset,
                          ArrayRef<int64_t> strides) {
    return ExternalAttr::get(&context, RankedTensorType::get(shape, element),
                             path, offset, strides, kBytes,
                             /*modified=*/0);
  }

  float valueAt(Type element, int64_t offset) const {
    if (element.isF32()) {
      float value;
      std::memcpy(&value, &bytes[offset], 4);
      return value;
    }
    uint16_t half;
    std::memcpy(&half, &bytes[offset], 2);
    return element.isF16() ? numerics::decodeF16(half)
                           : numerics::decodeBF16(half);
  }

  /// Rows [begin, end) of the matrix, by all accessors.
  void check(Type element, ArrayRef<int64_t> shape, int64_t offset,
             ArrayRef<int64_t> strides, int64_t begin, int64_t end) {
    ExternalAttr weight = makeWeight(element, shape, offset, strides);
    int64_t width = element.getIntOrFloatBitWidth() / 8;
    std::vector<float> rows((end - begin) * shape[1]);
    ASSERT_FALSE(bool(reader.readRows(weight, begin, end, rows)));
    llvm::Expected<std::vector<char>> raw = reader.copyRows(weight, begin, end);
    ASSERT_TRUE(bool(raw));
    int64_t pitch = end - begin + 3;
    std::vector<char> byColumn(shape[1] * pitch * width, 'x');
    ASSERT_FALSE(
        bool(reader.copyColumns(weight, begin, end, pitch, byColumn.data())));
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < shape[1]; ++j) {
        int64_t at = offset + (i * strides[0] + j * strides[1]) * width;
        int64_t index = (i - begin) * shape[1] + j;
        ASSERT_EQ(rows[index], valueAt(element, at))
            << shape[0] << " x " << shape[1] << ", element " << i << ", " << j;
        ASSERT_EQ(std::memcmp(&(*raw)[index * width], &bytes[at], width), 0);
        int64_t turned = (j * pitch + i - begin) * width;
        ASSERT_EQ(std::memcmp(&byColumn[turned], &bytes[at], width), 0);
      }
    // What lies between the columns is left alone.
    for (int64_t j = 0; j < shape[1]; ++j)
      for (int64_t k = (end - begin) * width; k < pitch * width; ++k)
        ASSERT_EQ(byColumn[j * pitch * width + k], 'x');
  }

  /// The columns of a rotation's matrix, from what it makes of unit vectors.
  static std::vector<float> getColumns(RotationAttr rotation) {
    int64_t n = rotation.getSize();
    std::vector<float> columns(n * n);
    for (int64_t i = 0; i < n; ++i)
      columns[i * n + i] = 1;
    ThreadPool pool(1);
    rotation.getMatrix()->apply(columns.data(), n, pool);
    return columns;
  }

  static constexpr int64_t kBytes = 200000;
  MLIRContext context;
  llvm::SmallString<128> path;
  std::optional<llvm::FileRemover> remover;
  std::vector<char> bytes;
  WeightReader reader;
};

TEST_F(WeightData, AnyMatrixInAFile) {
  Builder b(&context);
  for (Type element :
       {Type(b.getF32Type()), Type(b.getF16Type()), Type(b.getBF16Type())})
    for (int64_t rows : {1, 2, 63, 64, 65, 130})
      for (int64_t columns : {1, 15, 16, 17, 33}) {
        // An odd offset, a row-major matrix, one by columns, and parts of
        // larger ones.
        for (int64_t offset : {0, 7}) {
          check(element, {rows, columns}, offset, {columns, 1}, 0, rows);
          check(element, {rows, columns}, offset, {1, rows}, 0, rows);
          check(element, {rows, columns}, offset, {columns + 5, 1}, 0, rows);
          check(element, {rows, columns}, offset, {1, rows + 3}, 0, rows);
          check(element, {rows, columns}, offset, {2 * columns, 2}, 0, rows);
        }
        // Some rows of it.
        check(element, {rows, columns}, 2, {1, rows}, rows / 3, rows);
        check(element, {rows, columns}, 2, {columns, 1}, rows / 2, rows / 2);
      }
}

// Scales and bounds, by all accessors, also of a weight that is scaled already.
TEST_F(WeightData, ScaledMatrix) {
  Builder b(&context);
  constexpr int64_t n = 37, k = 21, group = 8, groups = 3, begin = 5, end = 31;
  auto f32 = b.getF32Type();
  Type f16 = b.getF16Type();
  ExternalAttr source = makeWeight(f16, {n, k}, 2, {1, n});
  TypedAttr rows = makeWeight(f32, {n}, 4000, {1});
  TypedAttr columns = makeWeight(f32, {k}, 8000, {1});
  std::vector<float> bounds;
  for (int64_t i = 0; i < n * groups; ++i)
    bounds.push_back(i % 4 ? float(i) : 0.0f);
  TypedAttr clip = makeResource(&context, {n, groups}, bounds, "clip");
  TypedAttr scaled = ScaledAttr::get(source, rows, columns, clip, group);
  TypedAttr twice = ScaledAttr::get(scaled, rows, {});

  std::vector<float> once, again;
  for (int64_t i = begin; i < end; ++i)
    for (int64_t j = 0; j < k; ++j) {
      float row = valueAt(f32, 4000 + 4 * i);
      float value =
          valueAt(f16, 2 + 2 * (i + j * n)) * row * valueAt(f32, 8000 + 4 * j);
      float bound = bounds[i * groups + j / group];
      once.push_back(std::clamp(value, -bound, bound));
      again.push_back(once.back() * row);
    }
  for (auto &[weight, expected] :
       {std::pair(scaled, once), std::pair(twice, again)}) {
    std::vector<float> values(expected.size());
    ASSERT_FALSE(bool(reader.readRows(weight, begin, end, values)));
    EXPECT_EQ(values, expected);
    auto raw = reader.copyRows(weight, begin, end);
    ASSERT_TRUE(bool(raw));
    EXPECT_EQ(std::memcmp(raw->data(), expected.data(), raw->size()), 0);
    EXPECT_EQ(raw->size(), expected.size() * 4);
    constexpr int64_t pitch = end - begin + 2;
    std::vector<float> turned(k * pitch, -1.0f);
    ASSERT_FALSE(bool(reader.copyColumns(
        weight, begin, end, pitch, reinterpret_cast<char *>(turned.data()))));
    for (int64_t i = 0; i < end - begin; ++i)
      for (int64_t j = 0; j < k; ++j)
        ASSERT_EQ(turned[j * pitch + i], expected[i * k + j]);
    EXPECT_EQ(turned[pitch - 1], -1.0f);
    auto all = reader.readAll(weight);
    ASSERT_TRUE(bool(all));
    EXPECT_EQ(
        std::memcmp(&(*all)[begin * k], expected.data(), expected.size() * 4),
        0);
  }
  // Nothing in memory to point at.
  EXPECT_EQ(llvm::toString(reader.getBytes(scaled).takeError()),
            "the values of a scaled or rotated weight are nowhere in memory");
}

// R w V^T block by block, by all accessors, some rows and all of them, with
// either side or both, rounded to any type.
TEST_F(WeightData, RotatedMatrix) {
  Builder b(&context);
  constexpr int64_t n = 24, k = 32, begin = 5, end = 20;
  Type f16 = b.getF16Type();
  std::vector<float> source;
  for (int64_t i = 0; i < n * k; ++i)
    source.push_back(float((i * 37 + i / k * 11) % 101) / 50 - 1);
  TypedAttr stored = makeResource(&context, {n, k}, source, "w");
  auto hadamard = RotationAttr::get(&context, RotationKind::Hadamard, 16, 3);
  auto kronecker = RotationAttr::get(&context, RotationKind::Kronecker, 12, 5);
  for (RotationAttr input : {hadamard, RotationAttr()})
    for (RotationAttr output : {kronecker, RotationAttr()}) {
      if (!input && !output)
        continue;
      // The definition in f64.
      std::vector<double> expected(source.begin(), source.end());
      auto rotate = [&](RotationAttr rotation, int64_t count, int64_t step,
                        int64_t lines, int64_t lineStep) {
        std::vector<float> columns = getColumns(rotation);
        int64_t size = rotation.getSize();
        std::vector<double> before = expected;
        for (int64_t line = 0; line < lines; ++line)
          for (int64_t i = 0; i < count; ++i) {
            double sum = 0;
            int64_t first = i / size * size;
            for (int64_t j = 0; j < size; ++j)
              sum += double(columns[j * size + i % size]) *
                     before[line * lineStep + (first + j) * step];
            expected[line * lineStep + i * step] = sum;
          }
      };
      if (input)
        rotate(input, k, 1, n, k);
      if (output)
        rotate(output, n, k, k, 1);
      for (Type element : {Type(b.getF32Type()), f16}) {
        auto rotated =
            RotatedAttr::get(&context, RankedTensorType::get({n, k}, element),
                             stored, input, output);
        std::vector<float> values((end - begin) * k);
        ASSERT_FALSE(bool(reader.readRows(rotated, begin, end, values)));
        for (int64_t i = 0; i < int64_t(values.size()); ++i)
          ASSERT_NEAR(values[i], expected[begin * k + i],
                      element == f16 ? 2e-3 : 2e-6);
        auto all = reader.readAll(rotated);
        ASSERT_TRUE(bool(all));
        EXPECT_TRUE(
            std::equal(values.begin(), values.end(), all->begin() + begin * k));
        // The same bits in the element type, as they are and by columns.
        int64_t width = element.getIntOrFloatBitWidth() / 8;
        auto raw = reader.copyRows(rotated, begin, end);
        ASSERT_TRUE(bool(raw));
        ASSERT_EQ(int64_t(raw->size()), (end - begin) * k * width);
        constexpr int64_t pitch = end - begin + 1;
        std::vector<char> turned(k * pitch * width);
        ASSERT_FALSE(bool(
            reader.copyColumns(rotated, begin, end, pitch, turned.data())));
        for (int64_t i = 0; i < end - begin; ++i)
          for (int64_t j = 0; j < k; ++j) {
            const char *at = &(*raw)[(i * k + j) * width];
            float value;
            std::memcpy(&value, at, width);
            if (element == f16) {
              uint16_t half;
              std::memcpy(&half, at, 2);
              value = numerics::decodeF16(half);
            }
            ASSERT_EQ(value, values[i * k + j]);
            ASSERT_EQ(std::memcmp(&turned[(j * pitch + i) * width], at, width),
                      0);
          }
      }
      reader.release();
    }
}

} // namespace
