//===- SparseCodesTest.cpp - Codes of few elements of a matrix ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/SparseCodes.h"

#include "gtest/gtest.h"

#include <random>
#include <tuple>

using namespace llq::numerics;

namespace {

struct Matrix {
  int64_t rows, columns;
  std::vector<uint8_t> codes, present;
  SparseCodes sparse;
  std::vector<uint8_t> starts;

  Matrix(int64_t rows, int64_t columns, unsigned percent, unsigned seed)
      : rows(rows), columns(columns), codes(rows * columns),
        present(rows * columns) {
    std::mt19937 random(seed);
    for (int64_t i = 0; i < rows * columns; ++i)
      if (random() % 100 < percent) {
        present[i] = 1;
        codes[i] = uint8_t(random());
      }
    sparse = packSparseCodes(codes.data(), present.data(), rows, columns);
    for (uint32_t start : sparse.starts)
      for (int shift = 0; shift < 32; shift += 8)
        starts.push_back(uint8_t(start >> shift));
  }
  SparseView view() const {
    return {.presence = sparse.presence,
            .masks = sparse.masks,
            .codes = sparse.codes,
            .starts = starts,
            .rows = rows,
            .columns = columns};
  }
};

/// Elements that rows [begin, end) are said to have.
std::vector<std::tuple<int64_t, int64_t, uint8_t>>
listCodes(const SparseView &view, int64_t begin, int64_t end) {
  std::vector<std::tuple<int64_t, int64_t, uint8_t>> result;
  view.forRows(begin, end, [&](int64_t row, int64_t column, uint8_t code) {
    result.push_back({row, column, code});
  });
  return result;
}

TEST(SparseCodes, OrderByHand) {
  // Columns 0, 4 and 33 of one row of 40.
  std::vector<uint8_t> codes(40), present(40);
  for (auto [column, code] : {std::pair{0, 7}, {4, 8}, {33, 9}}) {
    present[column] = 1;
    codes[column] = uint8_t(code);
  }
  SparseCodes sparse = packSparseCodes(codes.data(), present.data(), 1, 40);
  EXPECT_EQ(sparse.presence, (std::vector<uint8_t>{0x21}));
  EXPECT_EQ(sparse.masks, (std::vector<uint8_t>{3, 1}));
  EXPECT_EQ(sparse.codes, (std::vector<uint8_t>{7, 8, 9}));
  EXPECT_EQ(sparse.starts, (std::vector<uint32_t>{0, 0}));
}

TEST(SparseCodes, RoundTrip) {
  unsigned seed = 0;
  for (int64_t rows : {1, 16, 17, 40})
    for (int64_t columns : {1, 31, 32, 33, 100, 256})
      for (unsigned percent : {0, 10, 50, 100}) {
        Matrix matrix(rows, columns, percent, ++seed);
        SparseView view = matrix.view();
        ASSERT_EQ(view.findFault(), std::nullopt);
        for (int64_t begin = 0; begin < rows; begin += kSparseRows) {
          size_t count = 0;
          std::vector<uint8_t> codes(rows * columns), present(rows * columns);
          for (auto [row, column, code] : listCodes(view, begin, rows)) {
            codes[row * columns + column] = code;
            present[row * columns + column] = 1;
            ++count;
          }
          for (int64_t i = begin * columns; i < rows * columns; ++i) {
            ASSERT_EQ(present[i], matrix.present[i]);
            ASSERT_EQ(codes[i], matrix.codes[i]);
            count -= present[i];
          }
          EXPECT_EQ(count, 0u);
        }
      }
}

/// What is said of the cost, at the shares of PB-LLM.
TEST(SparseCodes, Size) {
  for (auto [percent, bits] : {std::pair{10u, 0.1253 + 0.5695}, {14u, 0.826}}) {
    Matrix matrix(256, 1024, percent, 1);
    double size = double(matrix.sparse.presence.size() +
                         matrix.sparse.masks.size() + matrix.starts.size());
    EXPECT_NEAR(size * 8 / (256.0 * 1024.0), bits, 0.01);
  }
}

/// Any change of a byte but those of codes is noticed or leaves a matrix.
TEST(SparseCodes, DamageNeverReadsBeyond) {
  Matrix matrix(20, 70, 30, 3);
  for (auto *array :
       {&matrix.sparse.presence, &matrix.sparse.masks, &matrix.starts})
    for (uint8_t &byte : *array)
      for (int bit = 0; bit < 8; ++bit) {
        byte ^= uint8_t(1 << bit);
        SparseView view = matrix.view();
        if (!view.findFault())
          EXPECT_EQ(listCodes(view, 0, 20).size(), view.codes.size());
        byte ^= uint8_t(1 << bit);
      }
  EXPECT_EQ(matrix.view().findFault(), std::nullopt);
}

} // namespace
