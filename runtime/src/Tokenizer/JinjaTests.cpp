//===- JinjaTests.cpp - Tests of chat templates ---------------------------===//
//
// What stands behind "is": Jinja's built-in tests, except those that ask about
// the template engine itself.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaInterpreter.h"

#include <algorithm>

namespace llqrt::tok::jinja {

using Kind = Value::Kind;

static bool isCased(const std::string &text, bool upper) {
  bool any = false;
  for (char c : text) {
    bool isLower = c >= 'a' && c <= 'z', isUpper = c >= 'A' && c <= 'Z';
    if (upper ? isLower : isUpper)
      return false;
    any |= isLower || isUpper;
  }
  return any;
}

/// value % divisor == remainder
static bool leaves(const Value &value, const Value &divisor,
                   int64_t remainder) {
  if (!value.isNumber() || !divisor.isNumber())
    throw Error("divisibility is tested between numbers");
  Budget unused;
  return equal(arithmetic(BinaryOp::Modulo, value, divisor, unused),
               Value::integer(remainder));
}

/// Identity: for the values of a template the same kind and content.
static bool isSame(const Value &a, const Value &b) {
  return a.kind() == b.kind() && equal(a, b);
}

/// Tests with one argument.
static std::optional<bool>
applyBinaryTest(std::string_view name, const Value &value, const Value &other) {
  if (name == "eq" || name == "equalto" || name == "==")
    return equal(value, other);
  if (name == "ne" || name == "!=")
    return !equal(value, other);
  if (name == "lt" || name == "lessthan" || name == "<")
    return less(value, other);
  if (name == "le" || name == "<=")
    return less(value, other) || equal(value, other);
  if (name == "gt" || name == "greaterthan" || name == ">")
    return less(other, value);
  if (name == "ge" || name == ">=")
    return less(other, value) || equal(value, other);
  if (name == "in")
    return contains(other, value);
  if (name == "sameas")
    return isSame(value, other);
  if (name == "divisibleby")
    return leaves(value, other, 0);
  return std::nullopt;
}

/// Tests without arguments.
static std::optional<bool> applyUnaryTest(std::string_view name,
                                          const Value &value) {
  bool isContainer = value.is(Kind::Sequence) ||
                     (value.is(Kind::Dict) && !value.isNamespace());
  if (name == "defined")
    return !value.isUndefined();
  if (name == "undefined")
    return value.isUndefined();
  if (name == "none")
    return value.is(Kind::None);
  if (name == "boolean")
    return value.is(Kind::Bool);
  if (name == "true")
    return value.is(Kind::Bool) && value.asBool();
  if (name == "false")
    return value.is(Kind::Bool) && !value.asBool();
  if (name == "integer")
    return value.is(Kind::Int);
  if (name == "float")
    return value.is(Kind::Float);
  if (name == "number")
    return value.isNumber();
  if (name == "string")
    return value.isString();
  if (name == "mapping")
    return value.is(Kind::Dict) && !value.isNamespace();
  if (name == "iterable" || name == "sequence")
    return isContainer || value.isString() || value.isUndefined();
  if (name == "callable")
    return value.is(Kind::Function);
  if (name == "odd")
    return leaves(value, Value::integer(2), 1);
  if (name == "even")
    return leaves(value, Value::integer(2), 0);
  if (name == "lower")
    return isCased(value.str(), false);
  if (name == "upper")
    return isCased(value.str(), true);
  return std::nullopt;
}

bool applyTest(const std::string &name, const Value &operand,
               const Arguments &arguments) {
  if (!arguments.named.empty() || arguments.positional.size() > 1)
    throw Error("the test '" + excerpt(name) + "' has too many arguments");
  std::optional<bool> result =
      arguments.positional.empty()
          ? applyUnaryTest(name, operand)
          : applyBinaryTest(name, operand, arguments.positional[0]);
  if (!result)
    throw Error("the test '" + excerpt(name) + "' with " +
                std::to_string(arguments.positional.size()) +
                " arguments is not supported");
  return *result;
}

} // namespace llqrt::tok::jinja
