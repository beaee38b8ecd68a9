//===- PatternSyntax.cpp - Oniguruma patterns for PCRE2 -------------------===//
//
// The two engines agree on most syntax and differ in the meaning of a few
// escapes: \s and \d have other Unicode sets, \v is one character in one and a
// class in the other, \h means something else, \p{Han} asks for the script in
// one and for its extensions in the other, and {n,m}+ is possessive in one
// only. Everything the translator knows to be equal passes, everything else is
// an error, so that a pattern never changes its meaning in silence.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Pattern.h"
#include "TokenizerSpec.h"
#include "Utf8.h"

#include <vector>

namespace llqrt::tok {

/// White_Space and its complement as members of a character class.
static constexpr std::string_view kSpaceSet =
    R"(\x09-\x0d\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

static constexpr std::string_view kNonSpaceSet =
    R"(\x00-\x08\x0e-\x1f\x21-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";

/// Members of \w: letters, marks, decimal digits, connectors, and the symbols
/// that Unicode counts as alphabetic.
static constexpr std::string_view kWordSet =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

/// Outside of a class Oniguruma's \w also has the superscripts and fractions of
/// Latin-1.
static constexpr std::string_view kMoreWordSet =
    R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";

static bool isAsciiDigit(char c) { return c >= '0' && c <= '9'; }

static bool isAsciiLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool isAsciiHex(char c) {
  return isAsciiDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static std::string wordSetOutsideClass() {
  return std::string(kWordSet) + std::string(kMoreWordSet);
}

namespace {
class Translator {
public:
  explicit Translator(std::string_view pattern) : in(pattern) {}

  std::string run();

private:
  [[noreturn]] void fail(const std::string &what) const {
    throw Error("pattern '" + excerpt(in) + "' " + what);
  }
  [[noreturn]] void unsupported(std::string_view what, size_t at) const {
    throw Error("pattern '" + excerpt(in) + "': '" + excerpt(what) +
                "' at offset " + std::to_string(at) + " is not supported");
  }
  bool atEnd() const { return pos == in.size(); }
  bool startsWith(std::string_view s) const {
    return in.substr(pos).starts_with(s);
  }

  void group();
  void closeGroup();
  void quantifier();
  void interval();
  void escape(bool inClass);
  void property(bool inClass);
  void codepoint(size_t digits, size_t start);
  void charClass();
  void literal();

  std::string_view in;
  std::string out;
  size_t pos = 0;
  /// One entry per open group: whether it ignores case.
  std::vector<bool> caseless = {false};
  /// Whether the last thing written can take a quantifier.
  bool repeatable = false;
};
} // namespace

std::string Translator::run() {
  if (startsWith("(?i)")) {
    out += "(?i)";
    pos += 4;
    caseless.back() = true;
  }
  while (!atEnd()) {
    switch (in[pos]) {
    case '(':
      group();
      break;
    case ')':
      closeGroup();
      break;
    case '[':
      charClass();
      break;
    case '\\':
      escape(/*inClass=*/false);
      break;
    case '*':
    case '+':
    case '?':
      quantifier();
      break;
    case '{':
      interval();
      break;
    case '|':
      out += in[pos++];
      repeatable = false;
      break;
    case '.':
      out += in[pos++];
      repeatable = true;
      break;
    case '^':
    case '$':
      unsupported(in.substr(pos, 1), pos);
    default:
      literal();
    }
  }
  if (caseless.size() != 1)
    fail("lacks a ')'");
  return std::move(out);
}

void Translator::group() {
  bool ignoresCase = caseless.back();
  if (!startsWith("(?")) {
    // Nothing refers to a group by its number, so none needs to be captured.
    out += "(?:";
    pos += 1;
  } else {
    static constexpr std::string_view kinds[] = {
        "(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?-i:"};
    std::string_view kind;
    for (std::string_view candidate : kinds)
      if (startsWith(candidate))
        kind = candidate;
    if (kind.empty())
      unsupported(in.substr(pos, 4), pos);
    if (kind == "(?i:")
      ignoresCase = true;
    else if (kind == "(?-i:")
      ignoresCase = false;
    out += kind;
    pos += kind.size();
  }
  caseless.push_back(ignoresCase);
  repeatable = false;
}

void Translator::closeGroup() {
  if (caseless.size() == 1)
    fail("has a ')' without a '('");
  caseless.pop_back();
  out += ')';
  ++pos;
  repeatable = true;
}

void Translator::quantifier() {
  if (!repeatable)
    unsupported(in.substr(pos, 1), pos);
  out += in[pos++];
  if (!atEnd() && (in[pos] == '?' || in[pos] == '+'))
    out += in[pos++];
  repeatable = false;
}

void Translator::interval() {
  size_t start = pos++;
  std::string bounds[2];
  unsigned filled = 0;
  for (; !atEnd(); ++pos) {
    if (isAsciiDigit(in[pos]))
      bounds[filled] += in[pos];
    else if (in[pos] == ',' && filled == 0)
      filled = 1;
    else
      break;
  }
  bool isInterval =
      !atEnd() && in[pos] == '}' && !(bounds[0].empty() && bounds[1].empty());
  if (!isInterval || !repeatable)
    unsupported("{", start);
  ++pos;
  out += '{' + (bounds[0].empty() ? "0" : bounds[0]);
  if (filled)
    out += ',' + bounds[1];
  out += '}';
  // Oniguruma reads {n}? as "optional" and {n,m}+ as a repeated repetition.
  if (!atEnd() && in[pos] == '?' && filled)
    out += in[pos++];
  if (!atEnd() && (in[pos] == '?' || in[pos] == '+'))
    unsupported(in.substr(start, pos + 1 - start), start);
  repeatable = false;
}

void Translator::escape(bool inClass) {
  size_t start = pos++;
  if (atEnd())
    fail("ends in a backslash");
  char c = in[pos];
  auto put = [&](std::string_view classMembers, bool negated = false) {
    ++pos;
    if (inClass) {
      out += classMembers;
      return;
    }
    out += negated ? "[^" : "[";
    out += classMembers;
    out += ']';
    repeatable = true;
  };
  switch (c) {
  case 's':
    return put(kSpaceSet);
  case 'S':
    return inClass ? put(kNonSpaceSet) : put(kSpaceSet, /*negated=*/true);
  case 'd':
    return put("\\p{Nd}");
  case 'D':
    return put("\\P{Nd}");
  case 'w':
    return put(inClass ? std::string(kWordSet) : wordSetOutsideClass());
  case 'W':
    if (inClass)
      unsupported(in.substr(start, 2), start);
    return put(wordSetOutsideClass(), /*negated=*/true);
  case 'v':
    return put("\\x0b");
  case 'r':
  case 'n':
  case 't':
  case 'f':
  case 'a':
  case 'e':
    ++pos;
    out += {'\\', c};
    repeatable = true;
    return;
  case 'p':
  case 'P':
    return property(inClass);
  case 'x':
    ++pos;
    return codepoint(2, start);
  case 'u':
    ++pos;
    return codepoint(4, start);
  case 'A':
  case 'z':
    if (inClass)
      break;
    ++pos;
    out += {'\\', c};
    repeatable = false;
    return;
  default:
    break;
  }
  if (isAsciiLetter(c) || isAsciiDigit(c))
    unsupported(in.substr(start, 2), start);
  literal();
}

/// \p{Name}, \P{Name}, \p{^Name}. Names of one or two letters are general
/// categories, all others scripts.
void Translator::property(bool inClass) {
  size_t start = pos - 1;
  bool negated = in[pos] == 'P';
  size_t close = in.find('}', pos);
  if (pos + 1 >= in.size() || in[pos + 1] != '{' ||
      close == std::string_view::npos)
    unsupported(in.substr(start, 2), start);
  std::string_view name = in.substr(pos + 2, close - pos - 2);
  if (name.starts_with('^')) {
    negated = !negated;
    name.remove_prefix(1);
  }
  bool wellFormed = !name.empty() && isAsciiLetter(name[0]);
  for (char c : name)
    wellFormed &= isAsciiLetter(c) || c == '_';
  std::string_view whole = in.substr(start, close + 1 - start);
  // Ignoring case widens such a set in one engine only.
  bool isCased = name == "Lu" || name == "Ll" || name == "Lt";
  if (!wellFormed || (isCased && caseless.back()))
    unsupported(whole, start);
  out += negated ? "\\P{" : "\\p{";
  if (name.size() > 2)
    out += "sc:";
  out += name;
  out += '}';
  pos = close + 1;
  repeatable = true;
}

/// After \x or \u: `digits` hexadecimal digits, or any number in braces.
void Translator::codepoint(size_t digits, size_t start) {
  std::string value;
  bool braced = digits == 2 && !atEnd() && in[pos] == '{';
  if (braced)
    ++pos;
  while (!atEnd() && isAsciiHex(in[pos]) &&
         value.size() < (braced ? 8 : digits))
    value += in[pos++];
  bool complete = braced ? !value.empty() && !atEnd() && in[pos] == '}'
                         : value.size() == digits;
  // \x80 and above would be a byte, not a character.
  bool isByte = digits == 2 && !braced && complete && value[0] >= '8';
  if (!complete || isByte)
    unsupported(in.substr(start, pos - start), start);
  if (braced)
    ++pos;
  out += "\\x{" + value + '}';
  repeatable = true;
}

void Translator::charClass() {
  size_t start = pos++;
  out += '[';
  if (!atEnd() && in[pos] == '^')
    out += in[pos++];
  if (!atEnd() && in[pos] == ']')
    unsupported("[]", start);
  while (!atEnd() && in[pos] != ']') {
    if (in[pos] == '[' || startsWith("&&"))
      unsupported(in.substr(pos, 2), pos);
    if (in[pos] == '\\')
      escape(/*inClass=*/true);
    else if (in[pos] == '-')
      out += in[pos++];
    else
      literal();
  }
  if (atEnd())
    fail("lacks a ']'");
  out += ']';
  ++pos;
  repeatable = true;
}

/// Copies one character, escaped where PCRE2 could read more into it.
void Translator::literal() {
  Utf8Char c = decodeUtf8(in.substr(pos));
  char first = in[pos];
  bool plain = c.length > 1 || isAsciiLetter(first) || isAsciiDigit(first) ||
               first == ' ' || first == '_' ||
               static_cast<unsigned char>(first) < 0x20;
  if (!plain)
    out += '\\';
  out.append(in, pos, c.length);
  pos += c.length;
  repeatable = true;
}

std::string translatePattern(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes)
    throw Error("the pre-tokenizer's pattern is longer than " +
                std::to_string(kMaxPatternBytes) + " bytes");
  if (!isUtf8(pattern))
    throw Error("the pre-tokenizer's pattern is not UTF-8");
  return Translator(pattern).run();
}

} // namespace llqrt::tok
