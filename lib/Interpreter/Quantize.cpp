//===- Quantize.cpp - Linear quantization ---------------------------------===//
//
// QuantizeLinear and DequantizeLinear per tensor, per axis and blocked, and
// DynamicQuantizeLinear.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Broadcast.h"
#include "Convert.h"
#include "Dispatch.h"
#include "Operators.h"

#include <algorithm>
#include <cmath>

using namespace llq::interp;

namespace {

/// Which scale belongs to an element: strides of the scale along the data's
/// dimensions, and the block size along the axis.
struct ScaleLayout {
  std::vector<int64_t> dataStrides;
  std::vector<int64_t> scaleStrides;
  size_t axis = 0;
  int64_t blockSize = 1;

  int64_t scaleIndex(int64_t element, const Shape &shape) const {
    int64_t index = 0;
    for (size_t d = 0; d < shape.size(); ++d) {
      if (scaleStrides[d] == 0)
        continue;
      int64_t position = element / dataStrides[d] % shape[d];
      index += scaleStrides[d] * (d == axis ? position / blockSize : position);
    }
    return index;
  }
};

} // namespace

static std::optional<ScaleLayout>
scaleLayout(OpContext &context, const Tensor &data, const Tensor &scale) {
  int64_t axis = context.intAttribute("axis", 1);
  int64_t blockSize =
      context.opset() >= 21 ? context.intAttribute("block_size", 0) : 0;
  ScaleLayout layout;
  layout.dataStrides = rowMajorStrides(data.shape());
  layout.scaleStrides.assign(size_t(data.rank()), 0);
  if (blockSize < 0)
    return context.failure("'block_size' = ", blockSize);
  if (blockSize == 0 && scale.rank() <= 1 && scale.numElements() == 1)
    return layout; // one scale for the tensor
  if (data.rank() == 1)
    axis = 0; // the default axis does not exist, and there is no choice
  std::optional<int64_t> normal = context.normalizeAxis(axis, data.rank());
  if (!normal)
    return std::nullopt;
  layout.axis = size_t(*normal);
  int64_t length = data.dim(*normal);
  if (blockSize == 0) {
    if (!context.requireShape(scale, "the scale of an axis", {length}))
      return std::nullopt;
    layout.scaleStrides[layout.axis] = 1;
    return layout;
  }
  Shape expected = data.shape();
  expected[layout.axis] = length / blockSize + (length % blockSize != 0);
  if (!context.requireShape(scale, "the scale of blocks", expected))
    return std::nullopt;
  layout.blockSize = blockSize;
  layout.scaleStrides = rowMajorStrides(expected);
  return layout;
}

/// The zero point must look like the scale; one element fits one element.
static bool checkZeroPoint(OpContext &context, const Tensor *zero,
                           const Tensor &scale) {
  if (!zero || (zero->numElements() == 1 && scale.numElements() == 1))
    return true;
  return context.requireShape(*zero, "the zero point", scale.shape());
}

/// Least and greatest value of an integer type.
static std::pair<double, double> integerRange(ElementType type) {
  unsigned bits = elementBits(type);
  bool isSigned = type == ElementType::Int2 || type == ElementType::Int4 ||
                  type == ElementType::Int8 || type == ElementType::Int16;
  double span = std::ldexp(1.0, int(bits));
  return isSigned ? std::pair(-span / 2, span / 2 - 1)
                  : std::pair(0.0, span - 1);
}

static bool isQuantizedType(ElementType type) {
  return isInteger(type) && elementBits(type) <= 16;
}

/// x / scale in the precision of `type`.
static double divide(double x, double scale, ElementType type) {
  switch (type) {
  case ElementType::Float64:
    return x / scale;
  case ElementType::Float16:
    return double(Half::from(float(x) / float(scale)));
  case ElementType::BFloat16:
    return double(BFloat16::from(float(x) / float(scale)));
  default:
    return double(float(x) / float(scale));
  }
}

/// saturate(round_half_even(x / scale) + zero).
static void evalQuantizeLinear(OpContext &context) {
  const Tensor &data = context.input(0);
  const Tensor &scale = context.input(1);
  const Tensor *zero = context.optionalInput(2);
  context.ignoreAttribute("saturate"); // of float8 results
  ElementType type = zero ? zero->type() : ElementType::UInt8;
  if (context.opset() >= 21 && context.intAttribute("output_dtype", 0) != 0) {
    std::optional<ElementType> asked = context.typeAttribute("output_dtype");
    if (!asked)
      return;
    if (zero && *asked != type)
      return context.fail("'output_dtype' differs from the zero point's type ",
                          type);
    type = *asked;
  }
  ElementType precision = scale.type();
  if (context.opset() >= 23 && context.intAttribute("precision", 0) != 0) {
    std::optional<ElementType> asked = context.typeAttribute("precision");
    if (!asked)
      return;
    precision = *asked;
  }
  if (!isQuantizedType(type))
    return context.fail("results of type ", type, " are not supported");
  if (!context.requireFloat(scale, "the scale"))
    return;
  if (!isFloat(data.type()) && data.type() != ElementType::Int32)
    return context.fail("operands of type ", data.type(), " are not supported");
  std::optional<ScaleLayout> layout = scaleLayout(context, data, scale);
  if (!layout || !checkZeroPoint(context, zero, scale))
    return;
  std::optional<MutableTensor> out = context.allocate(type, data.shape());
  if (!out)
    return;
  auto [low, high] = integerRange(type);
  visitStorage(type, [&]<typename T>(T) {
    if constexpr (std::is_integral_v<T>)
      for (int64_t i = 0, e = data.numElements(); i < e; ++i) {
        int64_t group = layout->scaleIndex(i, data.shape());
        double x, s, z = 0;
        readDoubles(data, i, 1, &x);
        readDoubles(scale, group, 1, &s);
        if (zero)
          readDoubles(*zero, group, 1, &z);
        double value = std::nearbyint(divide(x, s, precision)) + z;
        // NaN (from 0 / 0) becomes 0 in the cast.
        out->data<T>()[i] = saturatingCast<T>(
            std::isnan(value) ? value : std::clamp(value, low, high));
      }
  });
  context.setOutput(0, std::move(*out));
}

/// (x - zero) * scale.
static void evalDequantizeLinear(OpContext &context) {
  const Tensor &data = context.input(0);
  const Tensor &scale = context.input(1);
  const Tensor *zero = context.optionalInput(2);
  ElementType type = scale.type();
  if (context.opset() >= 23 && context.intAttribute("output_dtype", 0) != 0) {
    std::optional<ElementType> asked = context.typeAttribute("output_dtype");
    if (!asked)
      return;
    type = *asked;
  }
  if (!context.requireFloat(scale, "the scale"))
    return;
  if (!isFloat(type))
    return context.fail("results of type ", type, " are not supported");
  if (!isQuantizedType(data.type()) && data.type() != ElementType::Int32)
    return context.fail("operands of type ", data.type(), " are not supported");
  if (zero &&
      !context.requireSameType(data, "the operand", *zero, "the zero point"))
    return;
  std::optional<ScaleLayout> layout = scaleLayout(context, data, scale);
  if (!layout || !checkZeroPoint(context, zero, scale))
    return;
  std::optional<MutableTensor> out =
      context.allocate(computeType(type), data.shape());
  if (!out)
    return;
  for (int64_t i = 0, e = data.numElements(); i < e; ++i) {
    int64_t group = layout->scaleIndex(i, data.shape());
    double x, s, z = 0;
    readDoubles(data, i, 1, &x);
    readDoubles(scale, group, 1, &s);
    if (zero)
      readDoubles(*zero, group, 1, &z);
    writeDouble(*out, i, (x - z) * s);
  }
  context.setOutputAs(0, std::move(*out), type);
}

/// Scale and zero point from the range of the data, extended to hold 0.
static void evalDynamicQuantizeLinear(OpContext &context) {
  const Tensor &data = context.input(0);
  if (!context.requireType(data, "the operand", {ElementType::Float32}))
    return;
  const float *x = data.data<float>();
  float low = 0, high = 0;
  for (int64_t i = 0, e = data.numElements(); i < e; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  float scale = low == high ? 1.0f : (high - low) / 255.0f;
  float zero = std::nearbyint(std::clamp(-low / scale, 0.0f, 255.0f));
  std::optional<MutableTensor> out =
      context.allocate(ElementType::UInt8, data.shape());
  std::optional<MutableTensor> zeroOut =
      context.allocate(ElementType::UInt8, {});
  if (!out || !zeroOut)
    return;
  for (int64_t i = 0, e = data.numElements(); i < e; ++i)
    out->data<uint8_t>()[i] = saturatingCast<uint8_t>(
        std::nearbyint(double(x[i] / scale)) + double(zero));
  zeroOut->data<uint8_t>()[0] = saturatingCast<uint8_t>(zero);
  context.setOutput(0, std::move(*out));
  context.setOutput(1, Tensor::ofFloat(scale));
  context.setOutput(2, std::move(*zeroOut));
}

constexpr Operator table[] = {
    {"DequantizeLinear", 10, 2, 3, 1, evalDequantizeLinear},
    {"DequantizeLinear", 1, 2, 3, 1, evalDequantizeLinear, microsoftDomain},
    {"DynamicQuantizeLinear", 11, 1, 1, 3, evalDynamicQuantizeLinear},
    {"QuantizeLinear", 10, 2, 3, 1, evalQuantizeLinear},
    {"QuantizeLinear", 1, 2, 3, 1, evalQuantizeLinear, microsoftDomain},
};

std::span<const Operator> llq::interp::quantizeOperators() { return table; }
