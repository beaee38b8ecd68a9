//===- Text.cpp - Texts for messages --------------------------------------===//
//
// See Text.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Text.h"

#include <system_error>

using namespace llqrt;

std::string llqrt::quoted(std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  std::string result = "\"";
  bool cut = text.size() > 80;
  for (unsigned char c : text.substr(0, 80)) {
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
      result += static_cast<char>(c);
    } else {
      result += "\\x";
      result += hex[c >> 4];
      result += hex[c & 15];
    }
  }
  return result + (cut ? "...\"" : "\"");
}

std::string llqrt::systemError(int number) {
  return std::system_category().message(number);
}
