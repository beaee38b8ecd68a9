//===- BitPackingTest.cpp - Tests of the code bit streams ----------------===//
//
// Byte by byte against the definition (bit j of a row is bit j % 8 of byte
// j / 8), for every width and for rows that end anywhere in a byte.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/BitPacking.h"
#include "llq/Numerics/Random.h"

#include <gtest/gtest.h>
#include <vector>

using namespace llq::numerics;

namespace {
using Bytes = std::vector<uint8_t>;

Bytes randomCodes(size_t count, unsigned bits) {
  std::vector<uint32_t> words(count);
  Random(bits, count).fillWords(0, words);
  Bytes codes;
  for (uint32_t word : words)
    codes.push_back(word >> (32 - bits));
  return codes;
}

/// The stream by its definition, one bit at a time.
Bytes packedByDefinition(const Bytes &codes, unsigned bits) {
  Bytes packed((codes.size() * bits + 7) / 8);
  for (size_t i = 0; i != codes.size() * bits; ++i)
    packed[i / 8] |= ((codes[i / bits] >> (i % bits)) & 1) << (i % 8);
  return packed;
}

TEST(BitPacking, EveryWidthAndLength) {
  for (unsigned bits = 1; bits <= 8; ++bits)
    for (size_t count = 0; count != 68; ++count) {
      Bytes codes = randomCodes(count, bits);
      Bytes expected = packedByDefinition(codes, bits);
      ASSERT_EQ(packedRowBytes(count, bits), expected.size());

      // A byte of a known value behind each buffer shows writes beyond it.
      Bytes packed(expected.size() + 1, 0xa5);
      packCodes(codes, bits, packed);
      EXPECT_EQ(packed.back(), 0xa5);
      packed.pop_back();
      ASSERT_EQ(packed, expected) << bits << " bits, " << count << " codes";

      Bytes unpacked(count, 0xa5);
      unpackCodes(packed, bits, unpacked);
      ASSERT_EQ(unpacked, codes) << bits << " bits, " << count << " codes";
      for (size_t i = 0; i != count; ++i)
        ASSERT_EQ(packedCode(packed, bits, i), codes[i]);
    }
}

TEST(BitPacking, ThreeBitCodesByHand) {
  const uint8_t codes[] = {1, 2, 3, 4, 5, 6, 7, 0, 7};
  uint8_t packed[4];
  packCodes(codes, 3, packed);
  // From the low bit: 100 010 11|0 001 101 0|11 111 000|111 00000
  EXPECT_EQ(packed[0], 0b11010001);
  EXPECT_EQ(packed[1], 0b01011000);
  EXPECT_EQ(packed[2], 0b00011111);
  EXPECT_EQ(packed[3], 0b00000111);
}

// 1 bit: 1, 0; 3 bits: 5, 6; 2 bits: 3. From the lowest bit on.
TEST(BitPacking, MixedCodesByHand) {
  const uint8_t codes[] = {1, 0xfe, 5, 6, 3}, widths[] = {1, 3, 2};
  uint8_t packed[] = {0xff, 0xff};
  packMixedCodes(codes, widths, 2, packed);
  EXPECT_EQ(packed[0], 0b11010101);
  EXPECT_EQ(packed[1], 0b00000011);
}

TEST(BitPacking, KeepsOnlyTheLowBits) {
  const uint8_t codes[] = {0xff, 0xf0, 0xf2};
  uint8_t packed[2];
  packCodes(codes, 4, packed);
  EXPECT_EQ(packed[0], 0x0f);
  EXPECT_EQ(packed[1], 0x02);
}

TEST(BitPacking, RowsStartOnBytes) {
  for (unsigned bits = 1; bits <= 8; ++bits) {
    const size_t rows = 5, columns = 13;
    Bytes codes = randomCodes(rows * columns, bits), expected;
    for (size_t row = 0; row != rows; ++row) {
      Bytes one(codes.begin() + row * columns,
                codes.begin() + (row + 1) * columns);
      Bytes bytes = packedByDefinition(one, bits);
      expected.insert(expected.end(), bytes.begin(), bytes.end());
    }
    Bytes packed(rows * packedRowBytes(columns, bits));
    packRows(codes, rows, columns, bits, packed);
    EXPECT_EQ(packed, expected);
    Bytes unpacked(codes.size());
    unpackRows(packed, rows, columns, bits, unpacked);
    EXPECT_EQ(unpacked, codes);
  }
}
} // namespace
