//===- JinjaExpressions.cpp - Parser of template expressions --------------===//
//
// One function per level of precedence, from "a if b else c" down to names and
// literals. Filters and tests bind more tightly than any operator.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaParser.h"

#include <charconv>

namespace llqrt::tok::jinja {

using Kind = Expr::Kind;

bool Parser::takeOperator(std::string_view op) {
  if (!peek().isOperator(op))
    return false;
  take();
  return true;
}

bool Parser::takeName(std::string_view name) {
  if (!peek().isName(name))
    return false;
  take();
  return true;
}

void Parser::unexpected() const {
  const Token &token = peek();
  switch (token.kind) {
  case Token::Kind::End:
    failAtLine(token.line, "the template ends too early");
  case Token::Kind::BlockEnd:
  case Token::Kind::PrintEnd:
    failAtLine(token.line, "the tag ends too early");
  default:
    failAtLine(token.line, "unexpected '" + excerpt(token.text) + "'");
  }
}

void Parser::expectOperator(std::string_view op) {
  if (!takeOperator(op))
    unexpected();
}

std::string Parser::expectName() {
  if (peek().kind != Token::Kind::Name)
    unexpected();
  return take().text;
}

ExprPtr Parser::make(Kind kind, unsigned line) const {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  return expr;
}

void Parser::addOperand(Expr &expr, ExprPtr operand) const {
  expr.depth = std::max(expr.depth, operand->depth + 1);
  if (expr.depth > kMaxDepth)
    failAtLine(expr.line, "an expression is nested too deeply");
  expr.operands.push_back(std::move(operand));
}

ExprPtr Parser::unary(Kind kind, unsigned line, ExprPtr operand) const {
  ExprPtr expr = make(kind, line);
  addOperand(*expr, std::move(operand));
  return expr;
}

ExprPtr Parser::binary(Kind kind, unsigned line, ExprPtr left,
                       ExprPtr right) const {
  ExprPtr expr = unary(kind, line, std::move(left));
  addOperand(*expr, std::move(right));
  return expr;
}

ExprPtr Parser::expression(bool withConditional) {
  Nested nested(*this);
  ExprPtr value = orExpression();
  while (withConditional && peek().isName("if")) {
    unsigned line = take().line;
    ExprPtr condition = orExpression();
    ExprPtr otherwise;
    if (takeName("else")) {
      otherwise = expression();
    } else {
      otherwise = make(Kind::Literal, line);
      otherwise->value = Value::undefined();
    }
    value =
        binary(Kind::Conditional, line, std::move(value), std::move(condition));
    addOperand(*value, std::move(otherwise));
  }
  return value;
}

ExprPtr Parser::tuple(bool withConditional) {
  unsigned line = peek().line;
  ExprPtr first = expression(withConditional);
  if (!peek().isOperator(","))
    return first;
  ExprPtr result = unary(Kind::Tuple, line, std::move(first));
  while (takeOperator(",")) {
    const Token &next = peek();
    bool ends = next.kind == Token::Kind::BlockEnd ||
                next.kind == Token::Kind::PrintEnd || next.isOperator(")");
    if (ends)
      break;
    addOperand(*result, expression(withConditional));
  }
  return result;
}

ExprPtr Parser::orExpression() {
  ExprPtr left = andExpression();
  while (peek().isName("or")) {
    unsigned line = take().line;
    left = binary(Kind::Or, line, std::move(left), andExpression());
  }
  return left;
}

ExprPtr Parser::andExpression() {
  ExprPtr left = notExpression();
  while (peek().isName("and")) {
    unsigned line = take().line;
    left = binary(Kind::And, line, std::move(left), notExpression());
  }
  return left;
}

ExprPtr Parser::notExpression() {
  if (!peek().isName("not"))
    return comparison();
  Nested nested(*this);
  unsigned line = take().line;
  return unary(Kind::Not, line, notExpression());
}

ExprPtr Parser::comparison() {
  using Comparison = Expr::Comparison;
  unsigned line = peek().line;
  ExprPtr first = sum();
  ExprPtr chain;
  for (;;) {
    static constexpr std::pair<std::string_view, Comparison> operators[] = {
        {"==", Comparison::Equal},  {"!=", Comparison::NotEqual},
        {"<", Comparison::Less},    {"<=", Comparison::LessEqual},
        {">", Comparison::Greater}, {">=", Comparison::GreaterEqual}};
    std::optional<Comparison> found;
    for (const auto &[text, comparison] : operators)
      if (peek().isOperator(text))
        found = comparison;
    if (peek().isName("in"))
      found = Comparison::In;
    bool negated = peek().isName("not") && tokens[position + 1].isName("in");
    if (negated)
      found = Comparison::NotIn;
    if (!found)
      return chain ? std::move(chain) : std::move(first);
    take();
    if (negated)
      take();
    if (!chain)
      chain = unary(Kind::Compare, line, std::move(first));
    chain->comparisons.push_back(*found);
    addOperand(*chain, sum());
  }
}

ExprPtr Parser::sum() {
  ExprPtr left = concatenation();
  while (peek().isOperator("+") || peek().isOperator("-")) {
    Token token = take();
    left = binary(Kind::Binary, token.line, std::move(left), concatenation());
    left->op = token.text == "+" ? BinaryOp::Add : BinaryOp::Subtract;
  }
  return left;
}

ExprPtr Parser::concatenation() {
  unsigned line = peek().line;
  ExprPtr first = product();
  if (!peek().isOperator("~"))
    return first;
  ExprPtr all = unary(Kind::Concat, line, std::move(first));
  while (takeOperator("~"))
    addOperand(*all, product());
  return all;
}

ExprPtr Parser::product() {
  static constexpr std::pair<std::string_view, BinaryOp> operators[] = {
      {"*", BinaryOp::Multiply},
      {"/", BinaryOp::Divide},
      {"//", BinaryOp::FloorDivide},
      {"%", BinaryOp::Modulo}};
  ExprPtr left = power();
  for (;;) {
    std::optional<BinaryOp> found;
    for (const auto &[text, op] : operators)
      if (peek().isOperator(text))
        found = op;
    if (!found)
      return left;
    unsigned line = take().line;
    left = binary(Kind::Binary, line, std::move(left), power());
    left->op = *found;
  }
}

ExprPtr Parser::power() {
  ExprPtr left = unaryExpression();
  while (peek().isOperator("**")) {
    unsigned line = take().line;
    left = binary(Kind::Binary, line, std::move(left), unaryExpression());
    left->op = BinaryOp::Power;
  }
  return left;
}

ExprPtr Parser::unaryExpression(bool withFilters) {
  Nested nested(*this);
  ExprPtr expr;
  if (peek().isOperator("-") || peek().isOperator("+")) {
    Token token = take();
    expr = unary(token.text == "-" ? Kind::Negate : Kind::Plus, token.line,
                 unaryExpression(/*withFilters=*/false));
  } else {
    expr = primary();
  }
  expr = postfix(std::move(expr));
  return withFilters ? filters(std::move(expr)) : std::move(expr);
}

ExprPtr Parser::integer(const Token &token) {
  int64_t number = 0;
  const char *end = token.text.data() + token.text.size();
  auto [stop, status] = std::from_chars(token.text.data(), end, number);
  if (status != std::errc() || stop != end)
    failAtLine(token.line,
               "the number " + excerpt(token.text) + " is too large");
  ExprPtr expr = make(Kind::Literal, token.line);
  expr->value = Value::integer(number);
  return expr;
}

ExprPtr Parser::primary() {
  const Token &token = peek();
  unsigned line = token.line;
  auto literal = [&](Value value) {
    ExprPtr expr = make(Kind::Literal, line);
    expr->value = std::move(value);
    return expr;
  };
  switch (token.kind) {
  case Token::Kind::Name: {
    std::string name = take().text;
    if (name == "true" || name == "True")
      return literal(Value::boolean(true));
    if (name == "false" || name == "False")
      return literal(Value::boolean(false));
    if (name == "none" || name == "None")
      return literal(Value::none());
    ExprPtr expr = make(Kind::Name, line);
    expr->name = std::move(name);
    return expr;
  }
  case Token::Kind::Integer:
    return integer(take());
  case Token::Kind::Float: {
    std::string text = take().text;
    double number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return literal(Value::number(number));
  }
  case Token::Kind::String: {
    // String literals side by side are one.
    std::string text;
    while (peek().kind == Token::Kind::String)
      text += take().text;
    return literal(Value::string(std::move(text)));
  }
  case Token::Kind::Operator:
    if (token.text == "(") {
      take();
      if (takeOperator(")"))
        return make(Kind::Tuple, line);
      ExprPtr inner = tuple();
      expectOperator(")");
      return inner;
    }
    if (token.text == "[" || token.text == "{")
      return listOrDict();
    [[fallthrough]];
  default:
    unexpected();
  }
}

ExprPtr Parser::listOrDict() {
  Token open = take();
  bool isDict = open.text == "{";
  std::string_view close = isDict ? "}" : "]";
  ExprPtr result = make(isDict ? Kind::Dict : Kind::List, open.line);
  while (!takeOperator(close)) {
    if (!result->operands.empty()) {
      expectOperator(",");
      if (takeOperator(close))
        break;
    }
    addOperand(*result, expression());
    if (isDict) {
      expectOperator(":");
      addOperand(*result, expression());
    }
  }
  return result;
}

ExprPtr Parser::postfix(ExprPtr expr) {
  for (;;) {
    unsigned line = peek().line;
    if (takeOperator(".")) {
      if (peek().kind == Token::Kind::Integer) {
        expr = binary(Kind::Index, line, std::move(expr), integer(take()));
        continue;
      }
      expr = unary(Kind::Attribute, line, std::move(expr));
      expr->name = expectName();
    } else if (takeOperator("[")) {
      expr = subscript(std::move(expr));
    } else if (peek().isOperator("(")) {
      expr = unary(Kind::Call, line, std::move(expr));
      callArguments(*expr);
    } else {
      return expr;
    }
  }
}

/// What follows an opening bracket: an index, or a slice.
ExprPtr Parser::subscript(ExprPtr object) {
  unsigned line = peek().line;
  ExprPtr parts[3];
  unsigned count = 0;
  bool isSlice = false;
  while (!peek().isOperator("]")) {
    if (takeOperator(":")) {
      isSlice = true;
      if (++count == 3)
        unexpected();
    } else if (!parts[count]) {
      parts[count] = expression();
    } else {
      unexpected();
    }
  }
  if (!isSlice && !parts[0])
    unexpected();
  expectOperator("]");
  ExprPtr result =
      unary(isSlice ? Kind::Slice : Kind::Index, line, std::move(object));
  for (unsigned i = 0; i < (isSlice ? 3u : 1u); ++i) {
    if (!parts[i]) {
      parts[i] = make(Kind::Literal, line);
      parts[i]->value = Value::none();
    }
    addOperand(*result, std::move(parts[i]));
  }
  return result;
}

ExprPtr Parser::filters(ExprPtr expr) {
  for (;;) {
    if (peek().isOperator("|")) {
      take();
      expr = filter(std::move(expr));
    } else if (peek().isName("is")) {
      take();
      expr = test(std::move(expr));
    } else if (peek().isOperator("(")) {
      unsigned line = peek().line;
      expr = unary(Kind::Call, line, std::move(expr));
      callArguments(*expr);
    } else {
      return expr;
    }
  }
}

ExprPtr Parser::filter(ExprPtr operand) {
  unsigned line = peek().line;
  ExprPtr result = unary(Kind::Filter, line, std::move(operand));
  result->name = expectName();
  if (peek().isOperator("("))
    callArguments(*result);
  return result;
}

ExprPtr Parser::test(ExprPtr operand) {
  unsigned line = peek().line;
  bool negated = takeName("not");
  ExprPtr result = unary(Kind::Test, line, std::move(operand));
  result->name = expectName();
  const Token &next = peek();
  bool startsArgument =
      (next.kind == Token::Kind::Name && next.text != "else" &&
       next.text != "or" && next.text != "and" && next.text != "is" &&
       next.text != "if" && next.text != "not" && next.text != "in") ||
      next.kind == Token::Kind::String || next.kind == Token::Kind::Integer ||
      next.kind == Token::Kind::Float || next.isOperator("[") ||
      next.isOperator("{");
  if (next.isOperator("("))
    callArguments(*result);
  else if (startsArgument)
    addOperand(*result, postfix(primary()));
  return negated ? unary(Kind::Not, line, std::move(result))
                 : std::move(result);
}

void Parser::callArguments(Expr &call) {
  expectOperator("(");
  bool first = true;
  while (!takeOperator(")")) {
    if (!first) {
      expectOperator(",");
      if (takeOperator(")"))
        break;
    }
    first = false;
    bool isNamed = peek().kind == Token::Kind::Name &&
                   tokens[position + 1].isOperator("=");
    if (!isNamed) {
      if (!call.named.empty())
        unexpected();
      addOperand(call, expression());
      continue;
    }
    std::string name = take().text;
    take();
    ExprPtr value = expression();
    call.depth = std::max(call.depth, value->depth + 1);
    if (call.depth > kMaxDepth)
      failAtLine(call.line, "an expression is nested too deeply");
    call.named.emplace_back(std::move(name), std::move(value));
  }
}

} // namespace llqrt::tok::jinja
