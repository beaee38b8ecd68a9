//===- BitPacking.h - Rows of b-bit codes as bit streams --------*- C++ -*-===//
//
// The canonical storage of quantization codes and zero points: a little-endian
// bit stream per row. Code i of a row occupies bits [i*b, i*b + b) of the row's
// bytes, bit j being bit j % 8 of byte j / 8; rows start on a byte, and the
// bits that fill up a row's last byte are zero.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_BITPACKING_H
#define LLQ_NUMERICS_BITPACKING_H

#include <cstddef>
#include <cstdint>
#include <span>

namespace llq::numerics {

/// Bytes of a row of `count` codes of `bits` (1..8) bits each. Cannot overflow
/// for any count that fits memory.
constexpr size_t packedRowBytes(size_t count, unsigned bits) {
  return count / 8 * bits + (count % 8 * bits + 7) / 8;
}

/// Packs one row. Only the low `bits` (1..8) bits of each code are kept.
/// `packed` has at least packedRowBytes(codes.size(), bits) bytes, of which
/// exactly that many are written.
void packCodes(std::span<const uint8_t> codes, unsigned bits,
               std::span<uint8_t> packed);

/// Unpacks one row of codes.size() codes. `packed` has at least
/// packedRowBytes(codes.size(), bits) bytes; no byte behind them is read.
void unpackCodes(std::span<const uint8_t> packed, unsigned bits,
                 std::span<uint8_t> codes);

/// Packs one row as a stream of bits, the codes of each `group` columns in the
/// next of `widths` (1..8) bits. Only these low bits are kept. `packed` is as
/// long as the stream needs and is written whole.
void packMixedCodes(std::span<const uint8_t> codes,
                    std::span<const uint8_t> widths, size_t group,
                    std::span<uint8_t> packed);

/// Code `index` of a packed row that holds it.
constexpr uint8_t packedCode(std::span<const uint8_t> packed, unsigned bits,
                             size_t index) {
  size_t byte = index / 8 * bits + index % 8 * bits / 8;
  unsigned shift = index % 8 * bits % 8;
  unsigned word = packed[byte];
  if (shift + bits > 8)
    word |= static_cast<unsigned>(packed[byte + 1]) << 8;
  return static_cast<uint8_t>((word >> shift) & ((1u << bits) - 1));
}

/// Packs `rows` consecutive rows of `columns` codes: codes[rows, columns] ->
/// packed[rows, packedRowBytes(columns, bits)].
void packRows(std::span<const uint8_t> codes, size_t rows, size_t columns,
              unsigned bits, std::span<uint8_t> packed);

/// The inverse of packRows.
void unpackRows(std::span<const uint8_t> packed, size_t rows, size_t columns,
                unsigned bits, std::span<uint8_t> codes);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_BITPACKING_H
