//===- Utf8.h - UTF-8 decoding, validation and repair -----------*- C++ -*-===//
//
// Everything the tokenizer needs to know about UTF-8. Invalid bytes are handled
// as the Unicode Standard recommends (and Rust and Python do): one replacement
// character per maximal invalid part.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_UTF8_H
#define LLQRT_TOKENIZER_UTF8_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llqrt::tok {

enum class Utf8Status {
  Valid,
  Invalid,
  /// The bytes end inside a character that more bytes could complete.
  Truncated,
};

struct Utf8Char {
  Utf8Status status;
  /// Bytes of the character, or of the maximal invalid part; at least 1.
  unsigned length;
  /// Only for valid characters.
  char32_t codepoint;
};

/// Decodes the first character of `bytes`, which must not be empty.
Utf8Char decodeUtf8(std::string_view bytes);

/// Offset of the first byte that is not part of a whole valid character, or
/// std::string_view::npos.
size_t findInvalidUtf8(std::string_view bytes);

inline bool isUtf8(std::string_view bytes) {
  return findInvalidUtf8(bytes) == std::string_view::npos;
}

/// True for the second and later bytes of a character.
inline bool isUtf8Continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

/// Appends `codepoint`, a Unicode scalar value.
void appendUtf8(std::string &out, char32_t codepoint);

/// Appends `bytes` with U+FFFD for what is invalid. When `keepTail`, a
/// truncated character at the end is left out instead. Returns how many bytes
/// were used.
size_t appendRepairedUtf8(std::string &out, std::string_view bytes,
                          bool keepTail);

/// The property White_Space, the \s of regular expressions.
bool isSpace(char32_t codepoint);

} // namespace llqrt::tok

#endif // LLQRT_TOKENIZER_UTF8_H
