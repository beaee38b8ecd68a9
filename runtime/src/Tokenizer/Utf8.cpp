//===- Utf8.cpp - UTF-8 decoding, validation and repair -------------------===//
//
// Table-free decoder: the range of the second byte depends on the first (no
// overlong forms, no surrogates, nothing above U+10FFFF), all others are
// 0x80..0xBF.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Utf8.h"

#include <cstring>

namespace llqrt::tok {

Utf8Char decodeUtf8(std::string_view bytes) {
  const auto *p = reinterpret_cast<const unsigned char *>(bytes.data());
  unsigned lead = p[0];
  if (lead < 0x80)
    return {Utf8Status::Valid, 1, lead};
  if (lead < 0xc2 || lead > 0xf4)
    return {Utf8Status::Invalid, 1, 0};

  unsigned length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  unsigned low = 0x80, high = 0xbf;
  if (lead == 0xe0)
    low = 0xa0;
  else if (lead == 0xed)
    high = 0x9f;
  else if (lead == 0xf0)
    low = 0x90;
  else if (lead == 0xf4)
    high = 0x8f;

  char32_t codepoint = lead & (0x7fu >> length);
  for (unsigned i = 1; i < length; ++i) {
    if (i == bytes.size())
      return {Utf8Status::Truncated, i, 0};
    if (p[i] < low || p[i] > high)
      return {Utf8Status::Invalid, i, 0};
    codepoint = codepoint << 6 | (p[i] & 0x3f);
    low = 0x80;
    high = 0xbf;
  }
  return {Utf8Status::Valid, length, codepoint};
}

size_t findInvalidUtf8(std::string_view bytes) {
  size_t pos = 0;
  while (pos < bytes.size()) {
    // Eight ASCII bytes at a time: most text is.
    uint64_t word;
    if (bytes.size() - pos >= sizeof(word)) {
      std::memcpy(&word, bytes.data() + pos, sizeof(word));
      if ((word & 0x8080808080808080u) == 0) {
        pos += sizeof(word);
        continue;
      }
    }
    Utf8Char c = decodeUtf8(bytes.substr(pos));
    if (c.status != Utf8Status::Valid)
      return pos;
    pos += c.length;
  }
  return std::string_view::npos;
}

void appendUtf8(std::string &out, char32_t codepoint) {
  if (codepoint < 0x80) {
    out += static_cast<char>(codepoint);
  } else if (codepoint < 0x800) {
    out += static_cast<char>(0xc0 | codepoint >> 6);
    out += static_cast<char>(0x80 | (codepoint & 0x3f));
  } else if (codepoint < 0x10000) {
    out += static_cast<char>(0xe0 | codepoint >> 12);
    out += static_cast<char>(0x80 | (codepoint >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (codepoint & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | codepoint >> 18);
    out += static_cast<char>(0x80 | (codepoint >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (codepoint >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (codepoint & 0x3f));
  }
}

size_t appendRepairedUtf8(std::string &out, std::string_view bytes,
                          bool keepTail) {
  size_t pos = 0;
  while (pos < bytes.size()) {
    Utf8Char c = decodeUtf8(bytes.substr(pos));
    if (c.status == Utf8Status::Truncated && keepTail)
      break;
    if (c.status == Utf8Status::Valid)
      out.append(bytes, pos, c.length);
    else
      out += "\xef\xbf\xbd";
    pos += c.length;
  }
  return pos;
}

bool isSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

} // namespace llqrt::tok
