//===- JinjaLexer.h - Tokens of a chat template -----------------*- C++ -*-===//
//
// Cuts a Jinja template into text and the tokens of its tags. The white space
// rules (trim_blocks, lstrip_blocks, the signs in {%- -%} and {%+ +%}) are
// applied here, so that the parser sees only text that is written.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_JINJALEXER_H
#define LLQRT_TOKENIZER_JINJALEXER_H

#include <string>
#include <string_view>
#include <vector>

namespace llqrt::tok::jinja {

struct Token {
  enum class Kind {
    /// Text between the tags.
    Text,
    BlockBegin,
    BlockEnd,
    PrintBegin,
    PrintEnd,
    Name,
    Integer,
    Float,
    /// A string literal, its escapes resolved.
    String,
    Operator,
    End,
  };
  Kind kind;
  std::string text;
  unsigned line;

  bool isOperator(std::string_view op) const {
    return kind == Kind::Operator && text == op;
  }
  bool isName(std::string_view name) const {
    return kind == Kind::Name && text == name;
  }
};

/// The last token is always End. Throws Error with a line number.
std::vector<Token> tokenize(std::string_view source);

/// An Error whose message begins with the line.
[[noreturn]] void failAtLine(unsigned line, const std::string &what);

} // namespace llqrt::tok::jinja

#endif // LLQRT_TOKENIZER_JINJALEXER_H
