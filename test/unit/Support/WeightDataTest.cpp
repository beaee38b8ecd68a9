//===- WeightDataTest.cpp - Rows of weights in files ----------------------===//
//
// Every way in which a matrix can lie in a file, against plain loops.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/WeightData.h"
#include "llq/Numerics/Float16.h"

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

} // namespace
