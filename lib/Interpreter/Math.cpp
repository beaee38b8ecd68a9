//===- Math.cpp - Elementwise functions of one operand --------------------===//
//
// Functions are evaluated in double and rounded once, so that f32 results are
// within half a unit in the last place or very close to it.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Convert.h"
#include "Dispatch.h"
#include "Operators.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <type_traits>

using namespace llq::interp;

/// Applies `fn` (double to double) to a floating-point operand.
template <typename Fn> static void mapFloat(OpContext &context, Fn fn) {
  const Tensor &input = context.input(0);
  if (!context.requireFloat(input, "the operand"))
    return;
  std::optional<Tensor> wide = context.widened(input);
  if (!wide)
    return;
  std::optional<MutableTensor> out =
      context.allocate(wide->type(), input.shape());
  if (!out)
    return;
  auto apply = [&]<typename T>(T) {
    const T *from = wide->data<T>();
    T *to = out->data<T>();
    for (int64_t i = 0, e = wide->numElements(); i < e; ++i)
      to[i] = T(fn(double(from[i])));
  };
  if (wide->type() == ElementType::Float64)
    apply(double());
  else
    apply(float());
  context.setOutputAs(0, std::move(*out), input.type());
}

template <double (*function)(double)> static void evalMath(OpContext &context) {
  mapFloat(context, function);
}

/// Applies `fn` (T to T) to an operand of any number type.
template <typename Fn> static void mapNumber(OpContext &context, Fn fn) {
  const Tensor &input = context.input(0);
  std::optional<Tensor> wide = context.widened(input);
  if (!wide)
    return;
  std::optional<MutableTensor> out =
      context.allocate(wide->type(), input.shape());
  if (!out)
    return;
  bool known = visitNumber(wide->type(), [&]<typename T>(T) {
    std::transform(wide->data<T>(), wide->data<T>() + wide->numElements(),
                   out->data<T>(), fn);
  });
  if (!known)
    return context.fail("operands of type ", input.type(),
                        " are not supported");
  context.setOutputAs(0, std::move(*out), input.type());
}

/// Signed integers negate without overflow: the lowest value stays.
template <typename T> static T negate(T value) {
  if constexpr (std::is_integral_v<T>)
    return T(0 - std::make_unsigned_t<T>(value));
  else
    return -value;
}

static void evalAbs(OpContext &context) {
  mapNumber(context, []<typename T>(T x) -> T {
    if constexpr (std::is_floating_point_v<T>)
      return std::fabs(x);
    else
      return x < T(0) ? negate(x) : x;
  });
}

static void evalNeg(OpContext &context) {
  mapNumber(context, []<typename T>(T x) { return negate(x); });
}

static void evalSign(OpContext &context) {
  mapNumber(context, []<typename T>(T x) { // NaN stays NaN
    return x > T(0) ? T(1) : x < T(0) ? negate(T(1)) : x;
  });
}

static void evalRelu(OpContext &context) {
  mapNumber(context, []<typename T>(T x) { return x < T(0) ? T(0) : x; });
}

static double reciprocal(double x) { return 1.0 / x; }
double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double softplus(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

static double hardSwish(double x) {
  return x * std::clamp(x / 6.0 + 0.5, 0.0, 1.0);
}
double mish(double x) { return x * std::tanh(softplus(x)); }
double geluErf(double x) {
  return 0.5 * x * (1.0 + std::erf(x * std::numbers::sqrt2 / 2.0));
}

static double geluTanh(double x) {
  double inner = std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1.0 + std::tanh(inner));
}

static double roundHalfEven(double x) { return std::nearbyint(x); }

static void evalGelu(OpContext &context) {
  std::string approximate = context.stringAttribute("approximate", "none");
  if (approximate == "none")
    mapFloat(context, geluErf);
  else if (approximate == "tanh")
    mapFloat(context, geluTanh);
  else
    context.fail("attribute 'approximate' = '", approximate,
                 "' is not one of none, tanh");
}

/// x * sigmoid(alpha * x): Swish and com.microsoft.QuickGelu.
template <auto defaultAlpha> static void evalSwish(OpContext &context) {
  double alpha = context.floatAttribute("alpha", float(defaultAlpha()));
  mapFloat(context, [=](double x) { return x * sigmoid(alpha * x); });
}

static constexpr double swishAlpha() { return 1.0; }
constexpr double quickGeluAlpha() { return 1.702; }

static void evalLeakyRelu(OpContext &context) {
  double alpha = context.floatAttribute("alpha", 0.01f);
  mapFloat(context, [=](double x) { return x < 0 ? alpha * x : x; });
}

static void evalElu(OpContext &context) {
  double alpha = context.floatAttribute("alpha", 1.0f);
  mapFloat(context,
           [=](double x) { return x < 0 ? alpha * std::expm1(x) : x; });
}

static void evalHardSigmoid(OpContext &context) {
  double alpha = context.floatAttribute("alpha", 0.2f);
  double beta = context.floatAttribute("beta", 0.5f);
  mapFloat(context, [=](double x) {
    return std::isnan(x) ? x : std::clamp(alpha * x + beta, 0.0, 1.0);
  });
}

/// A gelu of x + bias; the bias has the size of the last dimension.
template <double (*function)(double)>
static void evalBiasedGelu(OpContext &context) {
  const Tensor &input = context.input(0);
  const Tensor *bias = context.optionalInput(1);
  if (!bias)
    return mapFloat(context, function);
  if (!context.requireFloat(input, "the operand") ||
      !context.requireSameType(input, "the operand", *bias, "the bias"))
    return;
  if (input.rank() == 0)
    return context.fail("a bias needs an operand of rank 1 or more");
  int64_t columns = input.dim(input.rank() - 1);
  if (!context.requireShape(*bias, "the bias", {columns}))
    return;
  std::optional<MutableTensor> out =
      context.allocate(computeType(input.type()), input.shape());
  if (!out)
    return;
  std::vector<double> offsets = bias->toDoubles();
  for (int64_t i = 0, e = input.numElements(); i < e; ++i) {
    double x;
    readDoubles(input, i, 1, &x);
    double y = function(x + offsets[size_t(i % columns)]);
    writeDouble(*out, i, y);
  }
  context.setOutputAs(0, std::move(*out), input.type());
}

/// Predicates of a floating-point operand.
template <typename Fn> static void mapToBool(OpContext &context, Fn fn) {
  const Tensor &input = context.input(0);
  if (!context.requireFloat(input, "the operand"))
    return;
  std::optional<MutableTensor> out =
      context.allocate(ElementType::Bool, input.shape());
  if (!out)
    return;
  visitStorage(input.type(), [&]<typename T>(T) {
    if constexpr (!std::is_integral_v<T>)
      for (int64_t i = 0, e = input.numElements(); i < e; ++i)
        out->data<uint8_t>()[i] = fn(double(input.data<T>()[i]));
  });
  context.setOutput(0, std::move(*out));
}

static void evalIsNaN(OpContext &context) {
  mapToBool(context, [](double x) { return std::isnan(x); });
}

static void evalIsInf(OpContext &context) {
  bool negative = context.intAttribute("detect_negative", 1) != 0;
  bool positive = context.intAttribute("detect_positive", 1) != 0;
  mapToBool(context, [=](double x) {
    return std::isinf(x) && (x < 0 ? negative : positive);
  });
}

static void evalNot(OpContext &context) {
  const Tensor &input = context.input(0);
  if (!context.requireType(input, "the operand", {ElementType::Bool}))
    return;
  std::optional<MutableTensor> out =
      context.allocate(ElementType::Bool, input.shape());
  if (!out)
    return;
  for (int64_t i = 0, e = input.numElements(); i < e; ++i)
    out->data<uint8_t>()[i] = input.data<uint8_t>()[i] == 0;
  context.setOutput(0, std::move(*out));
}

static void evalBitwiseNot(OpContext &context) {
  const Tensor &input = context.input(0);
  std::optional<MutableTensor> out =
      context.allocate(input.type(), input.shape());
  if (!out)
    return;
  bool known = visitInteger(input.type(), [&]<typename T>(T) {
    for (int64_t i = 0, e = input.numElements(); i < e; ++i)
      out->data<T>()[i] = T(~input.data<T>()[i]);
  });
  if (!known)
    return context.fail("operands of type ", input.type(),
                        " are not supported");
  context.setOutput(0, std::move(*out));
}

constexpr Operator table[] = {
    {"Abs", 6, 1, 1, 1, evalAbs},
    {"Acos", 7, 1, 1, 1, evalMath<std::acos>},
    {"Acosh", 9, 1, 1, 1, evalMath<std::acosh>},
    {"Asin", 7, 1, 1, 1, evalMath<std::asin>},
    {"Asinh", 9, 1, 1, 1, evalMath<std::asinh>},
    {"Atan", 7, 1, 1, 1, evalMath<std::atan>},
    {"Atanh", 9, 1, 1, 1, evalMath<std::atanh>},
    {"BiasGelu", 1, 2, 2, 1, evalBiasedGelu<geluErf>, microsoftDomain},
    {"BitwiseNot", 18, 1, 1, 1, evalBitwiseNot},
    {"Ceil", 6, 1, 1, 1, evalMath<std::ceil>},
    {"Cos", 7, 1, 1, 1, evalMath<std::cos>},
    {"Cosh", 9, 1, 1, 1, evalMath<std::cosh>},
    {"Elu", 6, 1, 1, 1, evalElu},
    {"Erf", 9, 1, 1, 1, evalMath<std::erf>},
    {"Exp", 6, 1, 1, 1, evalMath<std::exp>},
    {"FastGelu", 1, 1, 2, 1, evalBiasedGelu<geluTanh>, microsoftDomain},
    {"Floor", 6, 1, 1, 1, evalMath<std::floor>},
    {"Gelu", 20, 1, 1, 1, evalGelu},
    {"Gelu", 1, 1, 1, 1, evalMath<geluErf>, microsoftDomain},
    {"HardSigmoid", 6, 1, 1, 1, evalHardSigmoid},
    {"HardSwish", 14, 1, 1, 1, evalMath<hardSwish>},
    {"IsInf", 10, 1, 1, 1, evalIsInf},
    {"IsNaN", 9, 1, 1, 1, evalIsNaN},
    {"LeakyRelu", 6, 1, 1, 1, evalLeakyRelu},
    {"Log", 6, 1, 1, 1, evalMath<std::log>},
    {"Mish", 18, 1, 1, 1, evalMath<mish>},
    {"Neg", 6, 1, 1, 1, evalNeg},
    {"Not", 1, 1, 1, 1, evalNot},
    {"QuickGelu", 1, 1, 1, 1, evalSwish<quickGeluAlpha>, microsoftDomain},
    {"Reciprocal", 6, 1, 1, 1, evalMath<reciprocal>},
    {"Relu", 6, 1, 1, 1, evalRelu},
    {"Round", 11, 1, 1, 1, evalMath<roundHalfEven>},
    {"Sigmoid", 6, 1, 1, 1, evalMath<sigmoid>},
    {"Sign", 9, 1, 1, 1, evalSign},
    {"Sin", 7, 1, 1, 1, evalMath<std::sin>},
    {"Sinh", 9, 1, 1, 1, evalMath<std::sinh>},
    {"Softplus", 1, 1, 1, 1, evalMath<softplus>},
    {"Sqrt", 6, 1, 1, 1, evalMath<std::sqrt>},
    {"Swish", 24, 1, 1, 1, evalSwish<swishAlpha>},
    {"Tan", 7, 1, 1, 1, evalMath<std::tan>},
    {"Tanh", 6, 1, 1, 1, evalMath<std::tanh>},
};

std::span<const Operator> llq::interp::mathOperators() { return table; }
