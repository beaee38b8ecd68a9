//===- Arithmetic.cpp - Elementwise operators with broadcasting -----------===//
//
// Arithmetic, comparisons and logic of two operands, and their variadic
// relatives. Integers wrap around; integer division by zero is an error.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Broadcast.h"
#include "Convert.h"
#include "Dispatch.h"
#include "Operators.h"

#include <cmath>
#include <type_traits>

using namespace llq::interp;

/// Elementwise out = fn(a, b) over tensors of types A, B and R.
template <typename A, typename B, typename R, typename Fn>
static void zip(const Tensor &a, const Tensor &b, MutableTensor &out, Fn fn) {
  StridedLoop<2> loop(out.shape(), {broadcastStrides(a.shape(), out.shape()),
                                    broadcastStrides(b.shape(), out.shape())});
  R *result = out.data<R>();
  loop.forEachRun([&](int64_t position, const auto &offsets, const auto &steps,
                      int64_t count) {
    const A *left = a.data<A>() + offsets[0];
    const B *right = b.data<B>() + offsets[1];
    for (int64_t i = 0; i < count; ++i)
      result[position + i] = fn(left[i * steps[0]], right[i * steps[1]]);
  });
}

/// The unsigned type in which T's arithmetic wraps without promotion to int.
template <typename T>
using Wrapping = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

namespace {

struct AddFn {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>)
      return T(Wrapping<T>(a) + Wrapping<T>(b));
    else
      return a + b;
  }
};

struct SubFn {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>)
      return T(Wrapping<T>(a) - Wrapping<T>(b));
    else
      return a - b;
  }
};

struct MulFn {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>)
      return T(Wrapping<T>(a) * Wrapping<T>(b));
    else
      return a * b;
  }
};

/// Truncates towards zero; the divisor is not zero.
struct DivFn {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T> && std::is_signed_v<T>)
      return b == T(-1) ? T(0 - Wrapping<T>(a)) : T(a / b);
    else
      return T(a / b);
  }
};

/// NaN wins, as in NumPy.
struct MaxFn {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      if (std::isnan(b))
        return b;
    return a < b ? b : a;
  }
};

struct MinFn {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      if (std::isnan(b))
        return b;
    return b < a ? b : a;
  }
};

/// The result has the sign of the divisor.
struct FloorModFn {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) {
      T rest = std::fmod(a, b);
      if (std::isnan(rest))
        return rest;
      if (rest != 0 && (rest < 0) != (b < 0))
        return std::isinf(b) ? b : rest + b;
      return rest == 0 ? std::copysign(rest, b) : rest;
    } else if constexpr (std::is_signed_v<T>) {
      if (b == T(-1))
        return 0;
      T rest = T(a % b);
      return rest != 0 && (rest < 0) != (b < 0) ? T(rest + b) : rest;
    } else {
      return T(a % b);
    }
  }
};

/// The result has the sign of the dividend.
struct TruncModFn {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      return std::fmod(a, b);
    else if constexpr (std::is_signed_v<T>)
      return b == T(-1) ? T(0) : T(a % b);
    else
      return T(a % b);
  }
};

} // namespace

static bool isZeroFree(const Tensor &tensor) {
  bool zeroFree = true;
  visitInteger(tensor.type(), [&]<typename T>(T) {
    for (int64_t i = 0, e = tensor.numElements(); i < e; ++i)
      zeroFree &= tensor.data<T>()[i] != 0;
  });
  return zeroFree;
}

/// fn(a, b) on widened operands of one type; the result stays wide.
template <typename Fn>
static std::optional<MutableTensor> combine(OpContext &context, const Tensor &a,
                                            const Tensor &b, Fn fn) {
  std::optional<Shape> shape = broadcastShape(context, a.shape(), b.shape());
  if (!shape)
    return std::nullopt;
  std::optional<MutableTensor> out = context.allocate(a.type(), *shape);
  if (!out)
    return std::nullopt;
  bool known = visitNumber(
      a.type(), [&]<typename T>(T) { zip<T, T, T>(a, b, *out, fn); });
  if (!known)
    return context.failure("operands of type ", a.type(), " are not supported");
  return out;
}

template <typename Fn, bool divides = false>
static void evalBinary(OpContext &context) {
  const Tensor &a = context.input(0);
  if (!context.requireSameType(a, "the first operand", context.input(1),
                               "the second"))
    return;
  std::optional<Tensor> left = context.widened(a);
  std::optional<Tensor> right = context.widened(context.input(1));
  if (!left || !right)
    return;
  if (divides && !isZeroFree(*right))
    return context.fail("integer division by zero");
  if (std::optional<MutableTensor> out = combine(context, *left, *right, Fn()))
    context.setOutputAs(0, std::move(*out), a.type());
}

static void evalMod(OpContext &context) {
  if (context.intAttribute("fmod", 0) != 0)
    evalBinary<TruncModFn, true>(context);
  else
    evalBinary<FloorModFn, true>(context);
}

/// Folds two or more operands; the result stays wide.
template <typename Fn>
static std::optional<MutableTensor> foldOperands(OpContext &context) {
  for (unsigned i = 1; i < context.numInputs(); ++i)
    if (!context.optionalInput(i))
      return context.failure("operand ", int64_t(i), " is missing");
  std::optional<Tensor> first = context.widened(context.input(0));
  if (!first)
    return std::nullopt;
  std::optional<MutableTensor> result;
  Tensor accumulated = *first;
  for (unsigned i = 1; i < context.numInputs(); ++i) {
    if (!context.requireSameType(context.input(0), "the first operand",
                                 context.input(i), "the others"))
      return std::nullopt;
    std::optional<Tensor> next = context.widened(context.input(i));
    if (!next)
      return std::nullopt;
    if (result)
      accumulated = std::move(*result).freeze();
    result = combine(context, accumulated, *next, Fn());
    if (!result)
      return std::nullopt;
  }
  return result;
}

template <typename Fn> static void evalVariadic(OpContext &context) {
  if (context.numInputs() == 1)
    return context.setOutput(0, context.input(0));
  if (std::optional<MutableTensor> out = foldOperands<Fn>(context))
    context.setOutputAs(0, std::move(*out), context.input(0).type());
}

static void evalMean(OpContext &context) {
  if (!context.requireFloat(context.input(0), "the first operand"))
    return;
  if (context.numInputs() == 1)
    return context.setOutput(0, context.input(0));
  std::optional<MutableTensor> out = foldOperands<AddFn>(context);
  if (!out)
    return;
  visitNumber(out->type(), [&]<typename T>(T) {
    for (int64_t i = 0, e = out->numElements(); i < e; ++i)
      out->data<T>()[i] = T(out->data<T>()[i] / T(context.numInputs()));
  });
  context.setOutputAs(0, std::move(*out), context.input(0).type());
}

/// Integer powers by squaring, wrapping around. A negative exponent gives the
/// truncated quotient, which is 0 unless the base is 1 or -1.
template <typename T> static T integerPower(T base, int64_t exponent) {
  if (exponent < 0) {
    if (base == T(1))
      return T(1);
    if (std::is_signed_v<T> && base == T(-1))
      return exponent % 2 ? T(-1) : T(1);
    return T(0);
  }
  Wrapping<T> result = 1;
  Wrapping<T> square = Wrapping<T>(base);
  for (; exponent; exponent >>= 1, square *= square)
    if (exponent & 1)
      result *= square;
  return T(result);
}

static void evalPow(OpContext &context) {
  const Tensor &base = context.input(0);
  const Tensor &exponent = context.input(1);
  std::optional<Tensor> wideBase = context.widened(base);
  std::optional<Shape> shape =
      broadcastShape(context, base.shape(), exponent.shape());
  if (!wideBase || !shape)
    return;
  std::optional<MutableTensor> out = context.allocate(wideBase->type(), *shape);
  if (!out)
    return;
  // The exponent's type is free: bring it to f64 or i64.
  bool integral = isInteger(exponent.type());
  Result<Tensor> power =
      convert(exponent, integral ? ElementType::Int64 : ElementType::Float64);
  if (!power)
    return context.fail(power.message());
  if (exponent.type() == ElementType::Bool)
    return context.fail("exponents of type bool are not supported");
  bool known = visitNumber(wideBase->type(), [&]<typename T>(T) {
    if (integral && std::is_integral_v<T>)
      zip<T, int64_t, T>(*wideBase, *power, *out, [](T x, int64_t n) {
        if constexpr (std::is_integral_v<T>)
          return integerPower(x, n);
        else
          return x;
      });
    else if (integral)
      zip<T, int64_t, T>(*wideBase, *power, *out, [](T x, int64_t n) {
        return fromDouble<T>(std::pow(double(x), double(n)));
      });
    else
      zip<T, double, T>(*wideBase, *power, *out, [](T x, double y) {
        return fromDouble<T>(std::pow(double(x), y));
      });
  });
  if (!known)
    return context.fail("a base of type ", base.type(), " is not supported");
  context.setOutputAs(0, std::move(*out), base.type());
}

/// Comparisons: numbers, and bool for equality.
template <typename Fn, bool allowsBool = false>
static void evalCompare(OpContext &context) {
  const Tensor &a = context.input(0);
  const Tensor &b = context.input(1);
  if (!context.requireSameType(a, "the first operand", b, "the second"))
    return;
  std::optional<Shape> shape = broadcastShape(context, a.shape(), b.shape());
  if (!shape)
    return;
  std::optional<Tensor> left = context.widened(a);
  std::optional<Tensor> right = context.widened(b);
  std::optional<MutableTensor> out =
      context.allocate(ElementType::Bool, *shape);
  if (!left || !right || !out)
    return;
  if (allowsBool && a.type() == ElementType::Bool) {
    zip<uint8_t, uint8_t, uint8_t>(a, b, *out, [](uint8_t x, uint8_t y) {
      return uint8_t(Fn()(x != 0, y != 0));
    });
  } else {
    bool known = visitNumber(left->type(), [&]<typename T>(T) {
      zip<T, T, uint8_t>(*left, *right, *out,
                         [](T x, T y) { return uint8_t(Fn()(x, y)); });
    });
    if (!known)
      return context.fail("operands of type ", a.type(), " are not supported");
  }
  context.setOutput(0, std::move(*out));
}

/// And, Or, Xor of truth values.
template <typename Fn> static void evalLogic(OpContext &context) {
  const Tensor &a = context.input(0);
  const Tensor &b = context.input(1);
  if (!context.requireType(a, "the first operand", {ElementType::Bool}) ||
      !context.requireType(b, "the second operand", {ElementType::Bool}))
    return;
  std::optional<Shape> shape = broadcastShape(context, a.shape(), b.shape());
  if (!shape)
    return;
  std::optional<MutableTensor> out =
      context.allocate(ElementType::Bool, *shape);
  if (!out)
    return;
  zip<uint8_t, uint8_t, uint8_t>(a, b, *out, [](uint8_t x, uint8_t y) {
    return uint8_t(Fn()(uint8_t(x != 0), uint8_t(y != 0)));
  });
  context.setOutput(0, std::move(*out));
}

template <typename Fn> static void evalBitwise(OpContext &context) {
  const Tensor &a = context.input(0);
  const Tensor &b = context.input(1);
  if (!context.requireSameType(a, "the first operand", b, "the second"))
    return;
  std::optional<Shape> shape = broadcastShape(context, a.shape(), b.shape());
  if (!shape)
    return;
  std::optional<MutableTensor> out = context.allocate(a.type(), *shape);
  if (!out)
    return;
  bool known = visitInteger(a.type(), [&]<typename T>(T) {
    zip<T, T, T>(a, b, *out, [](T x, T y) { return T(Fn()(x, y)); });
  });
  if (!known)
    return context.fail("operands of type ", a.type(), " are not supported");
  context.setOutput(0, std::move(*out));
}

static void evalWhere(OpContext &context) {
  const Tensor &condition = context.input(0);
  const Tensor &a = context.input(1);
  const Tensor &b = context.input(2);
  if (!context.requireType(condition, "the condition", {ElementType::Bool}) ||
      !context.requireSameType(a, "the first choice", b, "the second"))
    return;
  std::optional<Shape> shape = broadcastShape(context, a.shape(), b.shape());
  if (shape)
    shape = broadcastShape(context, *shape, condition.shape());
  if (!shape)
    return;
  std::optional<MutableTensor> out = context.allocate(a.type(), *shape);
  if (!out)
    return;
  StridedLoop<3> loop(*shape, {broadcastStrides(condition.shape(), *shape),
                               broadcastStrides(a.shape(), *shape),
                               broadcastStrides(b.shape(), *shape)});
  visitSize(a.type(), [&]<typename T>(T) {
    loop.forEachRun([&](int64_t position, const auto &offsets,
                        const auto &steps, int64_t count) {
      const uint8_t *chosen = condition.data<uint8_t>() + offsets[0];
      const T *left = a.data<T>() + offsets[1];
      const T *right = b.data<T>() + offsets[2];
      for (int64_t i = 0; i < count; ++i)
        out->data<T>()[position + i] =
            chosen[i * steps[0]] ? left[i * steps[1]] : right[i * steps[2]];
    });
  });
  context.setOutput(0, std::move(*out));
}

/// min(high, max(x, low)) with bounds as operands.
static void evalClip(OpContext &context) {
  const Tensor &input = context.input(0);
  std::optional<Tensor> result = context.widened(input);
  for (unsigned i : {1u, 2u}) {
    const Tensor *bound = context.optionalInput(i);
    if (!bound || !result)
      continue;
    if (!context.requireSameType(input, "the operand", *bound, "the bounds"))
      return;
    if (bound->numElements() != 1)
      return context.fail("a bound must be a scalar, found shape ",
                          bound->shape());
    std::optional<Tensor> wide = context.widened(*bound);
    Result<Tensor> scalar = wide ? wide->reshaped({}) : Error{};
    if (!scalar)
      return;
    std::optional<MutableTensor> clipped =
        i == 1 ? combine(context, *result, *scalar, MaxFn())
               : combine(context, *result, *scalar, MinFn());
    if (!clipped)
      return;
    result = std::move(*clipped).freeze();
  }
  if (!result)
    return;
  Result<Tensor> rounded = convert(*result, input.type());
  if (!rounded)
    return context.fail(rounded.message());
  context.setOutput(0, *rounded);
}

/// Clip with bounds as attributes (before version 11).
static void evalClipOfAttributes(OpContext &context) {
  const Tensor &input = context.input(0);
  if (!context.requireFloat(input, "the operand"))
    return;
  float low = context.floatAttribute("min", -INFINITY);
  float high = context.floatAttribute("max", INFINITY);
  std::optional<Tensor> result = context.widened(input);
  for (auto [value, isLow] : {std::pair(low, true), std::pair(high, false)}) {
    if (!result)
      return;
    Result<Tensor> bound = convert(Tensor::ofFloat(value), result->type());
    if (!bound)
      return context.fail(bound.message());
    std::optional<MutableTensor> clipped =
        isLow ? combine(context, *result, *bound, MaxFn())
              : combine(context, *result, *bound, MinFn());
    if (!clipped)
      return;
    if (!isLow)
      return context.setOutputAs(0, std::move(*clipped), input.type());
    result = std::move(*clipped).freeze();
  }
}

namespace {

struct EqualFn {
  template <typename T> bool operator()(T a, T b) const { return a == b; }
};

struct LessFn {
  template <typename T> bool operator()(T a, T b) const { return a < b; }
};

struct LessOrEqualFn {
  template <typename T> bool operator()(T a, T b) const { return a <= b; }
};

struct GreaterFn {
  template <typename T> bool operator()(T a, T b) const { return a > b; }
};

struct GreaterOrEqualFn {
  template <typename T> bool operator()(T a, T b) const { return a >= b; }
};

struct AndFn {
  template <typename T> T operator()(T a, T b) const { return T(a & b); }
};

struct OrFn {
  template <typename T> T operator()(T a, T b) const { return T(a | b); }
};

struct XorFn {
  template <typename T> T operator()(T a, T b) const { return T(a ^ b); }
};

} // namespace

constexpr Operator table[] = {
    {"Add", 7, 2, 2, 1, evalBinary<AddFn>},
    {"And", 7, 2, 2, 1, evalLogic<AndFn>},
    {"BitwiseAnd", 18, 2, 2, 1, evalBitwise<AndFn>},
    {"BitwiseOr", 18, 2, 2, 1, evalBitwise<OrFn>},
    {"BitwiseXor", 18, 2, 2, 1, evalBitwise<XorFn>},
    {"Clip", 6, 1, 1, 1, evalClipOfAttributes, "", 10},
    {"Clip", 11, 1, 3, 1, evalClip},
    {"Div", 7, 2, 2, 1, evalBinary<DivFn, true>},
    {"Equal", 7, 2, 2, 1, evalCompare<EqualFn, true>},
    {"Greater", 7, 2, 2, 1, evalCompare<GreaterFn>},
    {"GreaterOrEqual", 12, 2, 2, 1, evalCompare<GreaterOrEqualFn>},
    {"Less", 7, 2, 2, 1, evalCompare<LessFn>},
    {"LessOrEqual", 12, 2, 2, 1, evalCompare<LessOrEqualFn>},
    {"Max", 6, 1, variadic, 1, evalVariadic<MaxFn>},
    {"Mean", 6, 1, variadic, 1, evalMean},
    {"Min", 6, 1, variadic, 1, evalVariadic<MinFn>},
    {"Mod", 10, 2, 2, 1, evalMod},
    {"Mul", 7, 2, 2, 1, evalBinary<MulFn>},
    {"Or", 7, 2, 2, 1, evalLogic<OrFn>},
    {"Pow", 7, 2, 2, 1, evalPow},
    {"Sub", 7, 2, 2, 1, evalBinary<SubFn>},
    {"Sum", 6, 1, variadic, 1, evalVariadic<AddFn>},
    {"Where", 9, 3, 3, 1, evalWhere},
    {"Xor", 7, 2, 2, 1, evalLogic<XorFn>},
};

std::span<const Operator> llq::interp::arithmeticOperators() { return table; }
