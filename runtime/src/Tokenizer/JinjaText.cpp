//===- JinjaText.cpp - Python's string functions --------------------------===//
//
// Follows the Python documentation: which characters are white space and line
// ends, how split counts, how repr() and float printing choose their form.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaText.h"

#include "TokenizerSpec.h"
#include "Utf8.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace llqrt::tok::jinja {

size_t textLength(std::string_view text) {
  return text.size() - static_cast<size_t>(std::count_if(
                           text.begin(), text.end(), isUtf8Continuation));
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> result;
  for (size_t pos = 0; pos < text.size();) {
    result.push_back(text.substr(pos, decodeUtf8(text.substr(pos)).length));
    pos += result.back().size();
  }
  return result;
}

/// str.isspace(): White_Space and the four separators of ASCII.
static bool isPythonSpace(std::string_view c) {
  char32_t codepoint = decodeUtf8(c).codepoint;
  return isSpace(codepoint) || (codepoint >= 0x1c && codepoint <= 0x1f);
}

static std::string_view lastCharacter(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && isUtf8Continuation(text[begin]))
    --begin;
  return text.substr(begin);
}

static std::string_view firstCharacter(std::string_view text) {
  return text.substr(0, decodeUtf8(text).length);
}

std::string_view strip(std::string_view text, const std::string *chars,
                       bool left, bool right) {
  std::vector<std::string_view> set;
  if (chars)
    set = characters(*chars);
  auto drops = [&](std::string_view c) {
    return chars ? std::find(set.begin(), set.end(), c) != set.end()
                 : isPythonSpace(c);
  };
  while (left && !text.empty() && drops(firstCharacter(text)))
    text.remove_prefix(firstCharacter(text).size());
  while (right && !text.empty() && drops(lastCharacter(text)))
    text.remove_suffix(lastCharacter(text).size());
  return text;
}

/// Splits at runs of white space; what is left after `limit` cuts is one part.
static std::vector<std::string_view>
splitAtSpace(std::string_view text, int64_t limit, bool fromRight) {
  std::vector<std::string_view> parts;
  text = strip(text, nullptr, !fromRight, fromRight);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.push_back(text);
      break;
    }
    std::string_view rest = text;
    while (!rest.empty()) {
      std::string_view c =
          fromRight ? lastCharacter(rest) : firstCharacter(rest);
      if (isPythonSpace(c))
        break;
      fromRight ? rest.remove_suffix(c.size()) : rest.remove_prefix(c.size());
    }
    parts.push_back(fromRight ? text.substr(rest.size())
                              : text.substr(0, text.size() - rest.size()));
    text = strip(rest, nullptr, !fromRight, fromRight);
  }
  if (fromRight)
    std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split(std::string_view text,
                                    const std::string *separator, int64_t limit,
                                    bool fromRight) {
  if (!separator)
    return splitAtSpace(text, limit, fromRight);
  if (separator->empty())
    throw Error("split: the separator is empty");
  std::vector<std::string_view> parts;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    size_t at = fromRight ? text.rfind(*separator) : text.find(*separator);
    if (at == std::string_view::npos)
      break;
    size_t behind = at + separator->size();
    parts.push_back(fromRight ? text.substr(behind) : text.substr(0, at));
    text = fromRight ? text.substr(0, at) : text.substr(behind);
  }
  parts.push_back(text);
  if (fromRight)
    std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> splitLines(std::string_view text, bool keepEnds) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t pos = 0; pos < text.size();) {
    Utf8Char c = decodeUtf8(text.substr(pos));
    size_t end = pos + c.length;
    bool ends = (c.codepoint >= 0x0a && c.codepoint <= 0x0d) ||
                (c.codepoint >= 0x1c && c.codepoint <= 0x1e) ||
                c.codepoint == 0x85 || c.codepoint == 0x2028 ||
                c.codepoint == 0x2029;
    if (ends && text.substr(pos).starts_with("\r\n"))
      ++end;
    if (ends) {
      lines.push_back(text.substr(begin, (keepEnds ? end : pos) - begin));
      begin = end;
    }
    pos = end;
  }
  if (begin < text.size())
    lines.push_back(text.substr(begin));
  return lines;
}

std::string replace(std::string_view text, std::string_view from,
                    std::string_view to, int64_t limit) {
  std::string result;
  size_t pos = 0;
  for (int64_t count = 0; limit < 0 || count < limit; ++count) {
    size_t at = text.find(from, pos);
    if (at == std::string_view::npos)
      break;
    if (!from.empty()) {
      result.append(text, pos, at - pos);
      result += to;
      pos = at + from.size();
      continue;
    }
    // Empty text is found before each character and at the end.
    result += to;
    if (pos == text.size())
      break;
    std::string_view c = firstCharacter(text.substr(pos));
    result += c;
    pos += c.size();
  }
  return result.append(text, pos);
}

std::string changeCase(std::string_view text, Case to) {
  std::string result;
  bool startsWord = true;
  for (char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80)
      throw Error("changing the case of text that is not ASCII is not "
                  "supported");
    bool isLower = c >= 'a' && c <= 'z', isUpper = c >= 'A' && c <= 'Z';
    bool wantsUpper = to == Case::Upper || (to == Case::Title && startsWord) ||
                      (to == Case::Capitalize && result.empty());
    if (wantsUpper && isLower)
      result += static_cast<char>(c - 'a' + 'A');
    else if (!wantsUpper && isUpper)
      result += static_cast<char>(c - 'A' + 'a');
    else
      result += c;
    startsWord = !(isLower || isUpper);
  }
  return result;
}

std::string quoted(std::string_view text) {
  bool hasSingle = text.find('\'') != std::string_view::npos;
  bool hasDouble = text.find('"') != std::string_view::npos;
  char quote = hasSingle && !hasDouble ? '"' : '\'';
  std::string out(1, quote);
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    static constexpr char digits[] = "0123456789abcdef";
    if (c == quote || c == '\\')
      out += {'\\', c};
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (byte < 0x20 || byte == 0x7f)
      out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    else
      out += c;
  }
  return out += quote;
}

std::string floatText(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  char buffer[64];
  double magnitude = std::fabs(value);
  bool scientific = magnitude != 0 && (magnitude < 1e-4 || magnitude >= 1e16);
  auto [end, status] = std::to_chars(buffer, buffer + sizeof(buffer), value,
                                     scientific ? std::chars_format::scientific
                                                : std::chars_format::fixed);
  std::string text(buffer, end);
  if (!scientific && text.find('.') == std::string::npos)
    text += ".0";
  return text;
}

} // namespace llqrt::tok::jinja
