//===- BitPacking.cpp - Rows of b-bit codes as bit streams ----------------===//
//
// Eight codes are one 64-bit word of bytes and become exactly b bytes, so each
// width is the same three steps: neighbouring fields move together, doubling
// in size, from 8 bytes to 4 pairs, 2 fours, and one field of 8*b bits.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/BitPacking.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

using namespace llq::numerics;

/// Between memory order (first code in the lowest byte) and host order.
static uint64_t littleEndian(uint64_t word) {
  if constexpr (std::endian::native == std::endian::big)
    return __builtin_bswap64(word);
  return word;
}

/// A mask with the low `width` bits of every `stride`-bit field set.
static constexpr uint64_t fieldMask(unsigned stride, unsigned width) {
  uint64_t field = width == 64 ? ~uint64_t(0) : (uint64_t(1) << width) - 1;
  uint64_t mask = 0;
  for (unsigned at = 0; at < 64; at += stride)
    mask |= field << at;
  return mask;
}

/// Moves the upper half of each `stride`-bit field, of which `width` bits are
/// used, down onto the `width` bits in use of its lower half.
template <unsigned stride, unsigned width>
static uint64_t closeGaps(uint64_t word) {
  constexpr uint64_t low = fieldMask(stride, width);
  constexpr uint64_t high = low << (stride / 2);
  return (word & low) | ((word & high) >> (stride / 2 - width));
}

/// The inverse of closeGaps.
template <unsigned stride, unsigned width>
static uint64_t openGaps(uint64_t word) {
  constexpr uint64_t low = fieldMask(stride, width);
  constexpr uint64_t high = low << width;
  return (word & low) | ((word & high) << (stride / 2 - width));
}

/// Eight codes, one a byte -> 8*bits bits.
template <unsigned bits> static uint64_t packEight(uint64_t codes) {
  codes = closeGaps<16, bits>(codes);
  codes = closeGaps<32, 2 * bits>(codes);
  return closeGaps<64, 4 * bits>(codes);
}

/// 8*bits bits -> eight codes, one a byte.
template <unsigned bits> static uint64_t unpackEight(uint64_t packed) {
  packed = openGaps<64, 4 * bits>(packed);
  packed = openGaps<32, 2 * bits>(packed);
  return openGaps<16, bits>(packed);
}

template <unsigned bits>
static void packRow(const uint8_t *__restrict codes, size_t count,
                    uint8_t *__restrict packed) {
  for (size_t n = count / 8; n != 0; --n, codes += 8, packed += bits) {
    uint64_t word;
    std::memcpy(&word, codes, 8);
    word = littleEndian(packEight<bits>(littleEndian(word)));
    std::memcpy(packed, &word, bits);
  }
  if (size_t rest = count % 8) {
    uint64_t word = 0;
    std::memcpy(&word, codes, rest);
    word = littleEndian(packEight<bits>(littleEndian(word)));
    std::memcpy(packed, &word, (rest * bits + 7) / 8);
  }
}

template <unsigned bits>
static void unpackRow(const uint8_t *__restrict packed, size_t count,
                      uint8_t *__restrict codes) {
  for (size_t n = count / 8; n != 0; --n, codes += 8, packed += bits) {
    uint64_t word = 0;
    std::memcpy(&word, packed, bits);
    word = littleEndian(unpackEight<bits>(littleEndian(word)));
    std::memcpy(codes, &word, 8);
  }
  if (size_t rest = count % 8) {
    uint64_t word = 0;
    std::memcpy(&word, packed, (rest * bits + 7) / 8);
    word = littleEndian(unpackEight<bits>(littleEndian(word)));
    std::memcpy(codes, &word, rest);
  }
}

/// Calls `function` with the width as a compile-time constant.
template <typename Function>
static void dispatchBits(unsigned bits, Function &&function) {
  switch (bits) {
  case 1:
    return function.template operator()<1>();
  case 2:
    return function.template operator()<2>();
  case 3:
    return function.template operator()<3>();
  case 4:
    return function.template operator()<4>();
  case 5:
    return function.template operator()<5>();
  case 6:
    return function.template operator()<6>();
  case 7:
    return function.template operator()<7>();
  case 8:
    return function.template operator()<8>();
  }
  assert(false && "codes have 1 to 8 bits");
}

void llq::numerics::packCodes(std::span<const uint8_t> codes, unsigned bits,
                              std::span<uint8_t> packed) {
  packRows(codes, 1, codes.size(), bits, packed);
}

void llq::numerics::unpackCodes(std::span<const uint8_t> packed, unsigned bits,
                                std::span<uint8_t> codes) {
  unpackRows(packed, 1, codes.size(), bits, codes);
}

void llq::numerics::packMixedCodes(std::span<const uint8_t> codes,
                                   std::span<const uint8_t> widths,
                                   size_t group, std::span<uint8_t> packed) {
  std::fill(packed.begin(), packed.end(), uint8_t{0});
  size_t at = 0; // bit of the stream
  for (size_t j = 0; j != codes.size(); ++j)
    for (unsigned bit = 0; bit != widths[j / group]; ++bit, ++at)
      packed[at / 8] |= uint8_t((codes[j] >> bit & 1) << (at % 8));
}

void llq::numerics::packRows(std::span<const uint8_t> codes, size_t rows,
                             size_t columns, unsigned bits,
                             std::span<uint8_t> packed) {
  size_t rowBytes = packedRowBytes(columns, bits);
  assert(codes.size() >= rows * columns && packed.size() >= rows * rowBytes);
  dispatchBits(bits, [&]<unsigned width>() {
    for (size_t row = 0; row != rows; ++row)
      packRow<width>(codes.data() + row * columns, columns,
                     packed.data() + row * rowBytes);
  });
}

void llq::numerics::unpackRows(std::span<const uint8_t> packed, size_t rows,
                               size_t columns, unsigned bits,
                               std::span<uint8_t> codes) {
  size_t rowBytes = packedRowBytes(columns, bits);
  assert(codes.size() >= rows * columns && packed.size() >= rows * rowBytes);
  dispatchBits(bits, [&]<unsigned width>() {
    for (size_t row = 0; row != rows; ++row)
      unpackRow<width>(packed.data() + row * rowBytes, columns,
                       codes.data() + row * columns);
  });
}
