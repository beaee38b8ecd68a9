//===- JinjaLexer.cpp - Tokens of a chat template -------------------------===//
//
// Templates are read with trim_blocks and lstrip_blocks on, as the transformers
// library sets them: the line break behind a block tag and the blanks in front
// of one that begins a line are not part of the text.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaLexer.h"

#include "JinjaText.h"
#include "TokenizerSpec.h"
#include "Utf8.h"

#include <algorithm>

namespace llqrt::tok::jinja {

void failAtLine(unsigned line, const std::string &what) {
  throw Error("line " + std::to_string(line) + ": " + what);
}

/// All line ends become \n, and one at the very end is dropped.
static std::string normalizeLineEnds(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n')
        ++i;
    } else {
      text += source[i];
    }
  }
  if (text.ends_with('\n'))
    text.pop_back();
  return text;
}

static bool isDigit(char c) { return c >= '0' && c <= '9'; }

static bool isNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

static bool isNameChar(char c) { return isNameStart(c) || isDigit(c); }

namespace {
class Lexer {
public:
  explicit Lexer(std::string_view templateText)
      : buffer(normalizeLineEnds(templateText)), source(buffer) {}

  std::vector<Token> run();

private:
  [[noreturn]] void fail(const std::string &what) const {
    failAtLine(line, what);
  }
  bool startsWith(std::string_view s) const {
    return source.substr(pos).starts_with(s);
  }
  void advance(size_t bytes) {
    line += static_cast<unsigned>(
        std::count(source.begin() + pos, source.begin() + pos + bytes, '\n'));
    pos += bytes;
  }
  void add(Token::Kind kind, std::string text = {}) {
    tokens.push_back({kind, std::move(text), line});
  }
  void skipSpace() {
    std::string_view rest = source.substr(pos);
    advance(rest.size() - strip(rest, nullptr, true, false).size());
  }

  void text(size_t end);
  void comment();
  bool raw();
  void tag();
  void endTag(bool isBlock);
  bool atTagEnd(bool isBlock, size_t &bytes) const;
  void tagToken();
  void number();
  void string();
  void appendEscape(std::string &out);

  std::string buffer;
  std::string_view source;
  size_t pos = 0;
  unsigned line = 1;
  /// The text to come begins a line of the template.
  bool atLineStart = true;
  /// Brackets that are open inside a tag: the end of a tag does not count in
  /// them.
  std::string brackets;
  std::vector<Token> tokens;
};
} // namespace

/// Adds the text up to the tag or comment at `end` (or the source's end),
/// without the white space that this tag strips.
void Lexer::text(size_t end) {
  std::string_view data = source.substr(pos, end - pos);
  std::string_view kept = data;
  if (end < source.size()) {
    char sign = end + 2 < source.size() ? source[end + 2] : '\0';
    bool isPrint = source[end + 1] == '{';
    if (sign == '-') {
      kept = strip(data, nullptr, false, true);
    } else if (sign != '+' && !isPrint) {
      size_t lineBegin = data.rfind('\n') + 1;
      bool blank = strip(data.substr(lineBegin), nullptr, true, true).empty();
      if (blank && (lineBegin > 0 || atLineStart))
        kept = data.substr(0, lineBegin);
    }
  }
  if (!kept.empty())
    add(Token::Kind::Text, std::string(kept));
  if (!data.empty())
    atLineStart = data.ends_with('\n');
  advance(data.size());
}

void Lexer::comment() {
  size_t end = source.find("#}", pos + 2);
  if (end == std::string_view::npos)
    fail("the comment does not end");
  // A sign right behind the opening belongs to that.
  char sign = end > pos + 3 ? source[end - 1] : '\0';
  size_t begin = pos;
  advance(end + 2 - pos);
  if (sign == '-')
    skipSpace();
  else if (sign != '+' && startsWith("\n"))
    advance(1);
  atLineStart = source.substr(begin, pos - begin).ends_with('\n');
}

/// {% raw %} ... {% endraw %}. False if there is none here.
bool Lexer::raw() {
  // Finds the tag `name` at `at`; gives its end, and whether it strips.
  auto matchTag = [&](size_t at, std::string_view name, size_t &end,
                      char &sign) {
    size_t i = at + 2;
    if (i < source.size() && (source[i] == '-' || source[i] == '+'))
      ++i;
    auto blanks = [&] {
      while (i < source.size() &&
             (source[i] == ' ' || source[i] == '\t' || source[i] == '\n'))
        ++i;
    };
    blanks();
    if (!source.substr(std::min(i, source.size())).starts_with(name))
      return false;
    i += name.size();
    blanks();
    sign = '\0';
    if (i < source.size() && (source[i] == '-' || source[i] == '+'))
      sign = source[i++];
    end = i + 2;
    return source.substr(std::min(i, source.size())).starts_with("%}");
  };
  size_t end = 0;
  char sign = '\0';
  if (!matchTag(pos, "raw", end, sign))
    return false;
  advance(end - pos);
  if (sign == '-')
    skipSpace();
  atLineStart = source[pos - 1] == '\n';
  for (size_t at = pos; (at = source.find("{%", at)) != std::string_view::npos;
       ++at) {
    if (!matchTag(at, "endraw", end, sign))
      continue;
    text(at);
    advance(end - pos);
    if (sign == '-')
      skipSpace();
    else if (sign != '+' && startsWith("\n"))
      advance(1);
    atLineStart = source[pos - 1] == '\n';
    return true;
  }
  fail("'raw' has no 'endraw'");
}

bool Lexer::atTagEnd(bool isBlock, size_t &bytes) const {
  if (!brackets.empty())
    return false;
  std::string_view close = isBlock ? "%}" : "}}";
  bytes = startsWith(close) ? 2 : 3;
  std::string_view rest = source.substr(pos);
  return bytes == 2 ||
         ((rest.starts_with('-') || (isBlock && rest.starts_with('+'))) &&
          rest.substr(1).starts_with(close));
}

void Lexer::endTag(bool isBlock) {
  size_t bytes = 0;
  atTagEnd(isBlock, bytes);
  char sign = bytes == 3 ? source[pos] : '\0';
  add(isBlock ? Token::Kind::BlockEnd : Token::Kind::PrintEnd);
  advance(bytes);
  if (sign == '-')
    skipSpace();
  else if (isBlock && sign != '+' && startsWith("\n"))
    advance(1);
  atLineStart = source[pos - 1] == '\n';
}

void Lexer::tag() {
  bool isBlock = source[pos + 1] == '%';
  unsigned beginLine = line;
  add(isBlock ? Token::Kind::BlockBegin : Token::Kind::PrintBegin);
  advance(2);
  if (startsWith("-") || startsWith("+"))
    advance(1);
  size_t bytes = 0;
  for (skipSpace(); !atTagEnd(isBlock, bytes); skipSpace()) {
    if (pos == source.size())
      failAtLine(beginLine, "the tag does not end");
    tagToken();
  }
  endTag(isBlock);
}

void Lexer::tagToken() {
  char c = source[pos];
  if (isNameStart(c)) {
    size_t end = pos;
    while (end < source.size() && isNameChar(source[end]))
      ++end;
    add(Token::Kind::Name, std::string(source.substr(pos, end - pos)));
    advance(end - pos);
    return;
  }
  if (isDigit(c))
    return number();
  if (c == '\'' || c == '"')
    return string();
  static constexpr std::string_view operators[] = {
      "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
      "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
  for (std::string_view op : operators) {
    if (!startsWith(op))
      continue;
    if (op == "(" || op == "[" || op == "{") {
      brackets += op == "(" ? ')' : op == "[" ? ']' : '}';
    } else if (op == ")" || op == "]" || op == "}") {
      if (brackets.empty() || brackets.back() != op[0])
        fail("unexpected '" + std::string(op) + "'");
      brackets.pop_back();
    }
    add(Token::Kind::Operator, std::string(op));
    advance(op.size());
    return;
  }
  fail("unexpected character '" +
       std::string(source.substr(pos, decodeUtf8(source.substr(pos)).length)) +
       "'");
}

void Lexer::number() {
  size_t end = pos;
  auto digits = [&] {
    while (end < source.size() && (isDigit(source[end]) || source[end] == '_'))
      ++end;
  };
  auto digitAt = [&](size_t i) {
    return i < source.size() && isDigit(source[i]);
  };
  digits();
  bool isFloat = false;
  // A method may be called on an integer: only a digit makes it a fraction.
  if (end < source.size() && source[end] == '.' && digitAt(end + 1)) {
    isFloat = true;
    ++end;
    digits();
  }
  if (end < source.size() && (source[end] == 'e' || source[end] == 'E')) {
    size_t sign = end + 1 < source.size() &&
                  (source[end + 1] == '+' || source[end + 1] == '-');
    if (digitAt(end + 1 + sign)) {
      isFloat = true;
      end += 1 + sign;
      digits();
    }
  }
  std::string text(source.substr(pos, end - pos));
  std::erase(text, '_');
  add(isFloat ? Token::Kind::Float : Token::Kind::Integer, std::move(text));
  advance(end - pos);
}

void Lexer::string() {
  char quote = source[pos];
  unsigned beginLine = line;
  advance(1);
  std::string value;
  while (pos < source.size() && source[pos] != quote) {
    if (source[pos] == '\\') {
      appendEscape(value);
      continue;
    }
    value += source[pos];
    advance(1);
  }
  if (pos == source.size())
    failAtLine(beginLine, "the string does not end");
  advance(1);
  add(Token::Kind::String, std::move(value));
}

/// One escape of a string literal, with Python's meaning.
void Lexer::appendEscape(std::string &out) {
  advance(1);
  if (pos == source.size())
    return;
  char c = source[pos];
  advance(1);
  static constexpr std::string_view names = "abfnrtv\\'\"";
  static constexpr std::string_view values = "\a\b\f\n\r\t\v\\'\"";
  if (size_t i = names.find(c); i != std::string_view::npos) {
    out += values[i];
    return;
  }
  if (c == '\n')
    return;
  size_t wanted = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  unsigned base = wanted ? 16 : 8;
  if (c >= '0' && c <= '7') {
    // Up to three octal digits, the first of which is already behind us.
    --pos;
    wanted = 3;
  } else if (wanted == 0) {
    // An unknown escape stays as it is.
    out += {'\\', c};
    return;
  }
  char32_t codepoint = 0;
  size_t count = 0;
  for (; count < wanted && pos < source.size(); ++count) {
    char d = source[pos];
    unsigned digit = isDigit(d)               ? unsigned(d - '0')
                     : (d >= 'a' && d <= 'f') ? unsigned(d - 'a' + 10)
                     : (d >= 'A' && d <= 'F') ? unsigned(d - 'A' + 10)
                                              : base;
    if (digit >= base)
      break;
    codepoint = codepoint * base + digit;
    ++pos;
  }
  bool isScalar =
      codepoint < 0xd800 || (codepoint >= 0xe000 && codepoint <= 0x10ffff);
  if (!isScalar || (base == 16 && count != wanted))
    fail("a string contains an escape that is no character");
  appendUtf8(out, codepoint);
}

std::vector<Token> Lexer::run() {
  while (pos < source.size()) {
    size_t next = pos;
    while ((next = source.find('{', next)) != std::string_view::npos) {
      char kind = next + 1 < source.size() ? source[next + 1] : '\0';
      if (kind == '{' || kind == '%' || kind == '#')
        break;
      ++next;
    }
    text(std::min(next, source.size()));
    if (pos == source.size())
      break;
    if (source[pos + 1] == '#')
      comment();
    else if (source[pos + 1] == '{' || !raw())
      tag();
  }
  add(Token::Kind::End);
  return std::move(tokens);
}

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(source).run();
}

} // namespace llqrt::tok::jinja
