//===- JinjaStatements.cpp - Parser of template statements ----------------===//
//
// if, for, set, macro, with, filter, break, continue and generation: what chat
// templates are made of. Statements that combine several templates (include,
// extends, ...) have no meaning here and are errors.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaParser.h"

#include <algorithm>

namespace llqrt::tok::jinja {

using Kind = Stmt::Kind;

static std::unique_ptr<Stmt> makeStmt(Kind kind, unsigned line) {
  auto stmt = std::make_unique<Stmt>();
  stmt->kind = kind;
  stmt->line = line;
  return stmt;
}

Body Parser::parse() {
  Body result = body({});
  if (peek().kind != Token::Kind::End)
    unexpected();
  return result;
}

/// Statements up to a tag whose name is among `ends`, which is left for the
/// caller with its BlockBegin already taken.
Body Parser::body(std::initializer_list<std::string_view> ends) {
  Nested nested(*this);
  Body result;
  for (;;) {
    const Token &token = peek();
    unsigned line = token.line;
    switch (token.kind) {
    case Token::Kind::End:
      if (ends.size() == 0)
        return result;
      failAtLine(line, "the template ends without '" +
                           std::string(*(ends.end() - 1)) + "'");
    case Token::Kind::Text: {
      auto text = makeStmt(Kind::Text, line);
      text->text = take().text;
      result.push_back(std::move(text));
      break;
    }
    case Token::Kind::PrintBegin: {
      take();
      auto print = makeStmt(Kind::Print, line);
      print->exprs.push_back(tuple());
      if (peek().kind != Token::Kind::PrintEnd)
        unexpected();
      take();
      result.push_back(std::move(print));
      break;
    }
    case Token::Kind::BlockBegin: {
      take();
      if (std::any_of(ends.begin(), ends.end(), [&](std::string_view name) {
            return peek().isName(name);
          }))
        return result;
      result.push_back(statement());
      break;
    }
    default:
      unexpected();
    }
  }
}

void Parser::endBlock() {
  if (peek().kind != Token::Kind::BlockEnd)
    unexpected();
  take();
}

void Parser::onlyBody(Stmt &stmt, std::string_view end) {
  endBlock();
  stmt.bodies.push_back(body({end}));
  take();
  endBlock();
}

std::unique_ptr<Stmt> Parser::statement() {
  unsigned line = peek().line;
  std::string name = expectName();
  if (name == "if")
    return ifStatement();
  if (name == "for")
    return forStatement();
  if (name == "set")
    return setStatement();
  if (name == "macro")
    return macroStatement();
  if (name == "with")
    return withStatement();
  if (name == "filter")
    return filterStatement();
  if (name == "generation") {
    // Marks what the assistant said, for training; writes its body.
    auto group = makeStmt(Kind::Group, line);
    onlyBody(*group, "endgeneration");
    return group;
  }
  if (name == "break" || name == "continue") {
    if (loops == 0)
      failAtLine(line, "'" + name + "' outside of a loop");
    endBlock();
    return makeStmt(name == "break" ? Kind::Break : Kind::Continue, line);
  }
  if (name == "else" || name == "elif" || name.starts_with("end"))
    failAtLine(line, "'" + excerpt(name) + "' has nothing to end");
  failAtLine(line, "the statement '" + excerpt(name) + "' is not supported");
}

std::unique_ptr<Stmt> Parser::ifStatement() {
  auto stmt = makeStmt(Kind::If, peek().line);
  for (;;) {
    stmt->exprs.push_back(tuple());
    endBlock();
    stmt->bodies.push_back(body({"elif", "else", "endif"}));
    std::string name = take().text;
    if (name == "elif")
      continue;
    if (name == "else")
      onlyBody(*stmt, "endif");
    else
      endBlock();
    return stmt;
  }
}

void Parser::targets(Stmt &stmt, bool allowAttribute) {
  bool parenthesised = takeOperator("(");
  for (;;) {
    Stmt::Target target;
    target.name = expectName();
    if (allowAttribute && takeOperator("."))
      target.attribute = expectName();
    stmt.targets.push_back(std::move(target));
    if (!takeOperator(","))
      break;
    stmt.unpacks = true;
    if (peek().kind != Token::Kind::Name || peek().isName("in"))
      break;
  }
  if (parenthesised)
    expectOperator(")");
}

std::unique_ptr<Stmt> Parser::forStatement() {
  auto stmt = makeStmt(Kind::For, peek().line);
  targets(*stmt, /*allowAttribute=*/false);
  if (!takeName("in"))
    unexpected();
  stmt->exprs.push_back(tuple(/*withConditional=*/false));
  if (takeName("if"))
    stmt->exprs.push_back(expression());
  if (peek().isName("recursive"))
    failAtLine(stmt->line, "recursive loops are not supported");
  endBlock();
  ++loops;
  ++scopes;
  stmt->bodies.push_back(body({"else", "endfor"}));
  --scopes;
  --loops;
  if (take().text == "else")
    onlyBody(*stmt, "endfor");
  else
    endBlock();
  return stmt;
}

/// "| filter | filter ..." applied to the text of a block.
ExprPtr Parser::blockFilters() {
  ExprPtr expr = make(Expr::Kind::Name, peek().line);
  expr->name = kBlockText;
  return filters(std::move(expr));
}

std::unique_ptr<Stmt> Parser::setStatement() {
  auto stmt = makeStmt(Kind::Set, peek().line);
  targets(*stmt, /*allowAttribute=*/true);
  if (takeOperator("=")) {
    stmt->exprs.push_back(tuple());
    endBlock();
    return stmt;
  }
  stmt->kind = Kind::SetBlock;
  stmt->exprs.push_back(blockFilters());
  ++scopes;
  onlyBody(*stmt, "endset");
  --scopes;
  return stmt;
}

std::unique_ptr<Stmt> Parser::filterStatement() {
  auto stmt = makeStmt(Kind::FilterBlock, peek().line);
  ExprPtr text = make(Expr::Kind::Name, peek().line);
  text->name = kBlockText;
  stmt->exprs.push_back(filters(filter(std::move(text))));
  ++scopes;
  onlyBody(*stmt, "endfilter");
  --scopes;
  return stmt;
}

std::unique_ptr<Stmt> Parser::withStatement() {
  auto stmt = makeStmt(Kind::With, peek().line);
  while (peek().kind != Token::Kind::BlockEnd) {
    if (!stmt->targets.empty())
      expectOperator(",");
    stmt->targets.push_back({expectName(), {}});
    expectOperator("=");
    stmt->exprs.push_back(expression());
  }
  ++scopes;
  onlyBody(*stmt, "endwith");
  --scopes;
  return stmt;
}

std::unique_ptr<Stmt> Parser::macroStatement() {
  auto stmt = makeStmt(Kind::Macro, peek().line);
  // It would see the variables around it, which may be gone when it is called.
  if (scopes)
    failAtLine(stmt->line, "a macro inside a loop, macro or block is not "
                           "supported");
  stmt->text = expectName();
  expectOperator("(");
  while (!takeOperator(")")) {
    if (!stmt->targets.empty())
      expectOperator(",");
    stmt->targets.push_back({expectName(), {}});
    if (takeOperator("="))
      stmt->exprs.push_back(expression());
    else if (!stmt->exprs.empty())
      unexpected();
  }
  ++scopes;
  onlyBody(*stmt, "endmacro");
  --scopes;
  return stmt;
}

Body parseTemplate(std::string_view source) { return Parser(source).parse(); }

} // namespace llqrt::tok::jinja
