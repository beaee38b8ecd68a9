//===- JinjaArithmetic.cpp - Operators of a chat template -----------------===//
//
// Python's arithmetic on 64-bit integers and floats, and + and * on strings and
// lists. Python's integers have no limit; here a result that does not fit is an
// error.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "JinjaValue.h"

#include <cmath>

namespace llqrt::tok::jinja {

[[noreturn]] static void overflow() {
  throw Error("an integer of the template is too large");
}

static Value integerPower(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0)
      throw Error("division by zero");
    return Value::number(
        std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  // Anything but -1, 0 and 1 overflows before 64 rounds are done.
  if (base == 0 || base == 1)
    return Value::integer(exponent == 0 ? 1 : base);
  if (base == -1)
    return Value::integer(exponent % 2 ? -1 : 1);
  for (; exponent > 0; --exponent)
    if (__builtin_mul_overflow(result, base, &result))
      overflow();
  return Value::integer(result);
}

static Value integerArithmetic(BinaryOp op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
  case BinaryOp::Add:
    if (__builtin_add_overflow(a, b, &result))
      overflow();
    return Value::integer(result);
  case BinaryOp::Subtract:
    if (__builtin_sub_overflow(a, b, &result))
      overflow();
    return Value::integer(result);
  case BinaryOp::Multiply:
    if (__builtin_mul_overflow(a, b, &result))
      overflow();
    return Value::integer(result);
  case BinaryOp::Power:
    return integerPower(a, b);
  case BinaryOp::Divide:
  case BinaryOp::FloorDivide:
  case BinaryOp::Modulo:
    break;
  }
  if (b == 0)
    throw Error("division by zero");
  if (op == BinaryOp::Divide)
    return Value::number(static_cast<double>(a) / static_cast<double>(b));
  if (b == -1) {
    // The one quotient that does not fit is that of the smallest integer.
    if (op == BinaryOp::Modulo)
      return Value::integer(0);
    if (__builtin_sub_overflow(int64_t(0), a, &result))
      overflow();
    return Value::integer(result);
  }
  // Python rounds down, C++ towards zero.
  int64_t quotient = a / b, remainder = a % b;
  bool roundsUp = remainder != 0 && (remainder < 0) != (b < 0);
  if (op == BinaryOp::FloorDivide)
    return Value::integer(quotient - roundsUp);
  return Value::integer(roundsUp ? remainder + b : remainder);
}

static Value floatArithmetic(BinaryOp op, double a, double b) {
  switch (op) {
  case BinaryOp::Add:
    return Value::number(a + b);
  case BinaryOp::Subtract:
    return Value::number(a - b);
  case BinaryOp::Multiply:
    return Value::number(a * b);
  case BinaryOp::Power:
    return Value::number(std::pow(a, b));
  case BinaryOp::Divide:
  case BinaryOp::FloorDivide:
  case BinaryOp::Modulo:
    break;
  }
  if (b == 0)
    throw Error("division by zero");
  if (op == BinaryOp::Divide)
    return Value::number(a / b);
  // As Python does it: the quotient belongs to the exact remainder.
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0 && (remainder < 0) != (b < 0)) {
    remainder += b;
    quotient -= 1;
  }
  return Value::number(op == BinaryOp::Modulo ? remainder
                                              : std::round(quotient));
}

static Value repeat(const Value &value, int64_t count, Budget &budget) {
  size_t size = value.isString() ? value.asString().size()
                                 : value.items().size() * sizeof(Value);
  uint64_t bytes = 0;
  uint64_t times = count > 0 ? static_cast<uint64_t>(count) : 0;
  if (__builtin_mul_overflow(times, uint64_t(size), &bytes))
    bytes = UINT64_MAX;
  budget.allocate(bytes);
  if (size == 0)
    return value;
  if (value.isString()) {
    std::string text;
    text.reserve(bytes);
    for (uint64_t i = 0; i < times; ++i)
      text += value.asString();
    return Value::string(std::move(text));
  }
  Values items;
  for (uint64_t i = 0; i < times; ++i)
    items.insert(items.end(), value.items().begin(), value.items().end());
  return Value::list(std::move(items), value.asSequence().isTuple);
}

Value arithmetic(BinaryOp op, const Value &a, const Value &b, Budget &budget) {
  using Kind = Value::Kind;
  if (a.isUndefined())
    throwUndefined(a);
  if (b.isUndefined())
    throwUndefined(b);
  if (a.isInteger() && b.isInteger())
    return integerArithmetic(op, a.asInteger(), b.asInteger());
  if (a.isNumber() && b.isNumber())
    return floatArithmetic(op, a.asNumber(), b.asNumber());

  if (op == BinaryOp::Add && a.isString() && b.isString()) {
    budget.allocate(a.asString().size() + b.asString().size());
    return Value::string(a.asString() + b.asString());
  }
  if (op == BinaryOp::Add && a.is(Kind::Sequence) && b.is(Kind::Sequence) &&
      a.asSequence().isTuple == b.asSequence().isTuple) {
    budget.allocate((a.items().size() + b.items().size()) * sizeof(Value));
    Values items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    return Value::list(std::move(items), a.asSequence().isTuple);
  }
  auto repeatable = [](const Value &value) {
    return value.isString() || value.is(Kind::Sequence);
  };
  if (op == BinaryOp::Multiply && repeatable(a) && b.isInteger())
    return repeat(a, b.asInteger(), budget);
  if (op == BinaryOp::Multiply && a.isInteger() && repeatable(b))
    return repeat(b, a.asInteger(), budget);

  static constexpr const char *names[] = {"+", "-", "*", "/", "//", "%", "**"};
  throw Error(std::string("'") + names[static_cast<size_t>(op)] +
              "' is not supported between " + a.typeName() + " and " +
              b.typeName());
}

} // namespace llqrt::tok::jinja
