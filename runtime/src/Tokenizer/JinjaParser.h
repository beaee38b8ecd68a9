//===- JinjaParser.h - Parser of chat templates -----------------*- C++ -*-===//
//
// Recursive descent over the lexer's tokens: expressions in
// JinjaExpressions.cpp, statements in JinjaStatements.cpp.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_TOKENIZER_JINJAPARSER_H
#define LLQRT_TOKENIZER_JINJAPARSER_H

#include "JinjaLexer.h"
#include "JinjaSyntax.h"

namespace llqrt::tok::jinja {

class Parser {
public:
  explicit Parser(std::string_view source) : tokens(tokenize(source)) {}

  Body parse();

private:
  /// Levels of nested expressions and of nested statements.
  static constexpr unsigned kMaxDepth = 100;

  const Token &peek() const { return tokens[position]; }
  /// The current token; End is never passed.
  Token take() {
    return tokens[position + 1 < tokens.size() ? position++ : position];
  }
  bool takeOperator(std::string_view op);
  bool takeName(std::string_view name);
  void expectOperator(std::string_view op);
  std::string expectName();
  [[noreturn]] void unexpected() const;

  ExprPtr make(Expr::Kind kind, unsigned line) const;
  /// Adds an operand and keeps the depth up to date.
  void addOperand(Expr &expr, ExprPtr operand) const;
  ExprPtr unary(Expr::Kind kind, unsigned line, ExprPtr operand) const;
  ExprPtr binary(Expr::Kind kind, unsigned line, ExprPtr left,
                 ExprPtr right) const;

  ExprPtr expression(bool withConditional = true);
  /// One expression, or several with commas between them: a tuple.
  ExprPtr tuple(bool withConditional = true);
  ExprPtr orExpression();
  ExprPtr andExpression();
  ExprPtr notExpression();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unaryExpression(bool withFilters = true);
  ExprPtr primary();
  ExprPtr integer(const Token &token);
  ExprPtr listOrDict();
  ExprPtr postfix(ExprPtr expr);
  ExprPtr subscript(ExprPtr object);
  ExprPtr filters(ExprPtr expr);
  ExprPtr filter(ExprPtr operand);
  ExprPtr test(ExprPtr operand);
  void callArguments(Expr &call);

  Body body(std::initializer_list<std::string_view> ends);
  std::unique_ptr<Stmt> statement();
  std::unique_ptr<Stmt> ifStatement();
  std::unique_ptr<Stmt> forStatement();
  std::unique_ptr<Stmt> setStatement();
  std::unique_ptr<Stmt> macroStatement();
  std::unique_ptr<Stmt> withStatement();
  std::unique_ptr<Stmt> filterStatement();
  ExprPtr blockFilters();
  void targets(Stmt &stmt, bool allowAttribute);
  void endBlock();
  /// The rest of a tag and its body up to {% end... %}.
  void onlyBody(Stmt &stmt, std::string_view end);

  std::vector<Token> tokens;
  size_t position = 0;
  unsigned nesting = 0;
  /// Loops around the current statement, and all statements around it that
  /// have variables of their own.
  unsigned loops = 0;
  unsigned scopes = 0;

  struct Nested;
};

/// Counts a level of nesting while it lives.
struct Parser::Nested {
  explicit Nested(Parser &parser) : parser(parser) {
    if (++parser.nesting > kMaxDepth)
      failAtLine(parser.peek().line, "the template is nested too deeply");
  }
  ~Nested() { --parser.nesting; }
  Parser &parser;
};

} // namespace llqrt::tok::jinja

#endif // LLQRT_TOKENIZER_JINJAPARSER_H
