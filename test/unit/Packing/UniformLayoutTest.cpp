//===- UniformLayoutTest.cpp - Packed tiles of #llq.uniform ---------------===//
//
// Tiles are read back by the formulas of UniformLayout.h, independently of the
// packer and of the kernels, and compared with the format's reference decode.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Packing/UniformLayout.h"
#include "llq/Numerics/Float16.h"
#include "test/unit/Codegen/TestWeights.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace llq;
using namespace llq::test;

namespace {

/// Reads one tile.
class TileReader {
public:
  TileReader(ArrayRef<char> tile, UniformAttr format, int64_t columns)
      : tile(tile), format(format), layout(format, columns) {}

  /// The code of a row and column, gathered from its bit planes.
  int64_t getCode(int64_t row, int64_t column) const {
    int64_t at = layout.codesOffset + column / 32 * layout.blockBytes;
    int64_t inBlock = column % 32, code = 0, shift = 0;
    for (int64_t width : UniformLayout::getPlanes(format.getBits())) {
      int64_t fields = 8 / width, step = inBlock / 4;
      int64_t chunk = step / fields, field = step % fields;
      uint8_t byte = tile[at + chunk * 64 + 4 * row + inBlock % 4];
      code |= int64_t(byte >> (field * width) & ((1 << width) - 1)) << shift;
      at += width * 64;
      shift += width;
    }
    return code;
  }

  float getValue(int64_t row, int64_t column) const {
    int64_t unit = column / layout.unitColumns * kTileRows + row;
    float scale = format.getScale() == ScaleType::F16
                      ? numerics::decodeF16(load<uint16_t>(2 * unit))
                      : load<float>(4 * unit);
    float zero = float(1 << (format.getBits() - 1));
    if (layout.zeroBits == 4)
      zero =
          load<uint8_t>(layout.zerosOffset + unit / kTileRows * 8 + row % 8) >>
              (row < 8 ? 0 : 4) &
          15;
    else if (format.getZero() == ZeroPoint::Int)
      zero = load<uint8_t>(layout.zerosOffset + unit);
    else if (format.getZero() == ZeroPoint::Float)
      zero = numerics::decodeF16(load<uint16_t>(layout.zerosOffset + 2 * unit));
    return scale * (float(getCode(row, column)) - zero);
  }

private:
  template <typename T> T load(int64_t offset) const {
    T value;
    std::memcpy(&value, tile.data() + offset, sizeof(T));
    return value;
  }

  ArrayRef<char> tile;
  UniformAttr format;
  UniformLayout layout;
};

void checkTiles(const TestWeight &weight, UniformAttr format) {
  std::vector<std::vector<char>> tiles = packTiles(weight);
  ASSERT_EQ(int64_t(tiles.size()), getPaddedRows(weight.rows) / kTileRows);
  for (int64_t row = 0; row < getPaddedRows(weight.rows); ++row) {
    const std::vector<char> &tile = tiles[row / kTileRows];
    EXPECT_EQ(tile.size() % 64, 0u);
    TileReader reader(tile, format, weight.columns);
    for (int64_t column = 0; column < weight.columns; ++column)
      ASSERT_EQ(reader.getValue(row % kTileRows, column),
                row < weight.rows ? weight.values[row * weight.columns + column]
                                  : 0)
          << "row " << row << ", column " << column;
  }
}

TEST(UniformLayout, HoldsEveryValue) {
  std::mt19937 random(3);
  const int64_t rows[] = {1, 15, 16, 17, 32, 33};
  const int64_t columns[] = {1, 4, 31, 32, 36, 100, 130};
  for (int64_t bits = 2; bits <= 8; ++bits)
    for (int64_t group : {0, 4, 12, 20, 32, 36, 48, 64, 128, 1000})
      for (ZeroPoint zero : {ZeroPoint::None, ZeroPoint::Int, ZeroPoint::Float})
        for (ScaleType scale : {ScaleType::F16, ScaleType::F32})
          for (int64_t k : columns) {
            auto format =
                UniformAttr::get(&getContext(), bits, group, zero, scale);
            SCOPED_TRACE(k);
            TestWeight weight =
                makeWeight(getQuantized(rows[random() % 6], k, format), random);
            checkTiles(weight, format);
            if (testing::Test::HasFailure())
              return;
          }
}

/// The packer writes inside its tile only, and from zero bytes on adds each
/// row without touching others.
TEST(UniformLayout, PacksInsideTheTile) {
  std::mt19937 random(4);
  for (int64_t bits = 2; bits <= 8; ++bits) {
    auto format = UniformAttr::get(&getContext(), bits, 12, ZeroPoint::Int,
                                   ScaleType::F16);
    TestWeight weight = makeWeight(getQuantized(19, 70, format), random);
    auto layout = cast<CPULayoutInterface>(Attribute(format));
    int64_t bytes = layout.getTileBytes(70);
    SmallVector<ArrayRef<char>> data(weight.components.begin(),
                                     weight.components.end());
    std::vector<char> memory(bytes + 128, 0x55);
    std::fill_n(memory.begin() + 64, bytes, 0);
    layout.packTile(data, 19, 70, 16, 0, memory.data() + 64);
    EXPECT_TRUE(std::all_of(memory.begin(), memory.begin() + 64,
                            [](char c) { return c == 0x55; }));
    EXPECT_TRUE(std::all_of(memory.end() - 64, memory.end(),
                            [](char c) { return c == 0x55; }));
    EXPECT_EQ(std::vector<char>(memory.begin() + 64, memory.end() - 64),
              packTiles(weight)[1]);
  }
}

TEST(UniformLayout, SizesAreExact) {
  auto bytes = [](int64_t bits, int64_t group, ZeroPoint zero, ScaleType scale,
                  int64_t k) {
    return UniformLayout(
               UniformAttr::get(&getContext(), bits, group, zero, scale), k)
        .tileBytes;
  };
  // 2 groups of 16 f16 scales: 64 bytes; 8 blocks of 32 x 16 codes of 4 bits.
  EXPECT_EQ(bytes(4, 128, ZeroPoint::None, ScaleType::F16, 256), 64 + 8 * 256);
  // One byte for each zero point, padded to 64.
  EXPECT_EQ(bytes(4, 128, ZeroPoint::Int, ScaleType::F16, 256), 128 + 8 * 256);
  EXPECT_EQ(bytes(3, 128, ZeroPoint::Float, ScaleType::F32, 256),
            2 * 64 + 2 * 32 + 8 * 192);
  // Columns are padded to 32; a group of 20 is cut into units of 4.
  EXPECT_EQ(bytes(8, 20, ZeroPoint::None, ScaleType::F16, 33),
            16 * 16 * 2 + 2 * 512);
}

TEST(UniformLayout, RefusesGroupsThatNoKernelReads) {
  auto check = [](int64_t group, int64_t k) {
    auto format = UniformAttr::get(&getContext(), 4, group, ZeroPoint::None,
                                   ScaleType::F16);
    std::string message;
    ScopedDiagnosticHandler handler(&getContext(), [&](Diagnostic &diagnostic) {
      message = diagnostic.str();
    });
    bool valid = succeeded(getTileBytes(getQuantized(8, k, format), [&] {
      return emitError(UnknownLoc::get(&getContext()));
    }));
    EXPECT_EQ(valid, message.empty());
    return message;
  };
  EXPECT_EQ(check(6, 64), "the cpu target needs a group size that is a "
                          "multiple of 4, found 6");
  EXPECT_EQ(check(4, 64), "");
  // One group in a row may have any size.
  EXPECT_EQ(check(7, 7), "");
  EXPECT_EQ(check(7, 5), "");
  EXPECT_EQ(check(0, 33), "");
}

TEST(UniformFormat, BitsPerWeightOfLLaMALayers) {
  auto bits = [](unsigned width, int64_t group, int64_t columns,
                 ZeroPoint zero = ZeroPoint::Int) {
    auto format =
        UniformAttr::get(&getContext(), width, group, zero, ScaleType::F16);
    return cast<WeightFormatInterface>(Attribute(format))
        .getBitsPerWeight(4096, columns);
  };
  // bits + (16 + bits) / group.
  EXPECT_DOUBLE_EQ(bits(8, 128, 4096), 8.1875);
  EXPECT_DOUBLE_EQ(bits(4, 128, 4096), 4.15625);
  EXPECT_DOUBLE_EQ(bits(3, 128, 4096), 3.1484375);
  EXPECT_DOUBLE_EQ(bits(2, 128, 4096), 2.140625);
  EXPECT_DOUBLE_EQ(bits(4, 128, 4096, ZeroPoint::None), 4.125);
  EXPECT_DOUBLE_EQ(bits(4, 64, 4096, ZeroPoint::Float), 4.5);
  // One group per row: its zero point takes a byte.
  for (unsigned width : {2, 3, 4, 8})
    for (int64_t columns : {4096, 14336})
      EXPECT_DOUBLE_EQ(bits(width, 0, columns), width + 24.0 / double(columns));
}

} // namespace
