//===- Normalization.cpp - Layer and root-mean-square norms ---------------===//
//
// All variants share one core: statistics in double per row, then
// y = (x - mean) * inverse deviation * scale + bias, rounded once.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "Broadcast.h"
#include "Convert.h"
#include "Operators.h"

#include <algorithm>
#include <cmath>

using namespace llq::interp;

namespace {

struct NormOptions {
  /// First axis of a row; a row is what one mean is taken over.
  int64_t axis;
  double epsilon;
  /// False for root-mean-square norms.
  bool subtractsMean;
};

struct NormResult {
  MutableTensor y;
  /// f32, shape [d0, ..., d(axis-1), 1, ..., 1].
  MutableTensor mean, inverseDeviation;
};

} // namespace

/// Normalizes `x`. `scale` and `bias` (may be null) broadcast to x's shape.
static std::optional<NormResult> normalize(OpContext &context, const Tensor &x,
                                           const Tensor &scale,
                                           const Tensor *bias,
                                           const NormOptions &options,
                                           ElementType resultType) {
  if (!context.requireFloat(x, "the operand") ||
      !context.requireFloat(scale, "the scale") ||
      !requireBroadcastTo(context, "the scale", scale.shape(), x.shape()))
    return std::nullopt;
  if (bias &&
      (!context.requireFloat(*bias, "the bias") ||
       !requireBroadcastTo(context, "the bias", bias->shape(), x.shape())))
    return std::nullopt;
  Shape statShape = x.shape();
  int64_t rowLength = 1;
  for (int64_t d = options.axis; d < x.rank(); ++d) {
    rowLength *= x.dim(d);
    statShape[size_t(d)] = 1;
  }
  std::optional<MutableTensor> y =
      context.allocate(computeType(resultType), x.shape());
  std::optional<MutableTensor> mean =
      context.allocate(ElementType::Float32, statShape);
  std::optional<MutableTensor> inverse =
      context.allocate(ElementType::Float32, statShape);
  // Working copies in double; the outputs above are rounded.
  std::optional<MutableTensor> exact = context.allocate(
      ElementType::Float64, {2, mean ? mean->numElements() : 0});
  if (!y || !mean || !inverse || !exact)
    return std::nullopt;
  double *means = exact->data<double>();
  double *inverses = means + mean->numElements();

  constexpr int64_t blockSize = 256;
  double block[blockSize];
  for (int64_t row = 0, e = mean->numElements(); row < e; ++row) {
    auto sumOf = [&](auto &&term) {
      double sum = 0;
      for (int64_t i = 0; i < rowLength; i += blockSize) {
        int64_t count = std::min(blockSize, rowLength - i);
        readDoubles(x, row * rowLength + i, count, block);
        for (int64_t j = 0; j < count; ++j)
          sum += term(block[j]);
      }
      return sum / double(rowLength);
    };
    double center =
        options.subtractsMean ? sumOf([](double v) { return v; }) : 0.0;
    double square =
        sumOf([=](double v) { return (v - center) * (v - center); });
    means[row] = center;
    inverses[row] = 1.0 / std::sqrt(square + options.epsilon);
    mean->data<float>()[row] = float(center);
    inverse->data<float>()[row] = float(inverses[row]);
  }

  Shape noShape;
  StridedLoop<2> loop(
      x.shape(), {broadcastStrides(scale.shape(), x.shape()),
                  broadcastStrides(bias ? bias->shape() : noShape, x.shape())});
  loop.forEachRun([&](int64_t position, const auto &offsets, const auto &steps,
                      int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      double value, factor, shift = 0;
      readDoubles(x, position + i, 1, &value);
      readDoubles(scale, offsets[0] + i * steps[0], 1, &factor);
      if (bias)
        readDoubles(*bias, offsets[1] + i * steps[1], 1, &shift);
      int64_t row = (position + i) / rowLength;
      double result = (value - means[row]) * inverses[row] * factor + shift;
      writeDouble(*y, position + i, result);
    }
  });
  return NormResult{std::move(*y), std::move(*mean), std::move(*inverse)};
}

static std::optional<NormOptions> readOptions(OpContext &context, int64_t rank,
                                              bool subtractsMean) {
  // Statistics are always exact enough for any precision asked for.
  context.ignoreAttribute("stash_type");
  std::optional<int64_t> axis =
      context.normalizeAxis(context.intAttribute("axis", -1), rank);
  if (!axis)
    return std::nullopt;
  return NormOptions{*axis, context.floatAttribute("epsilon", 1e-5f),
                     subtractsMean};
}

static void evalLayerNormalization(OpContext &context) {
  const Tensor &x = context.input(0);
  std::optional<NormOptions> options = readOptions(context, x.rank(), true);
  if (!options)
    return;
  std::optional<NormResult> result =
      normalize(context, x, context.input(1), context.optionalInput(2),
                *options, x.type());
  if (!result)
    return;
  context.setOutputAs(0, std::move(result->y), x.type());
  context.setOutput(1, std::move(result->mean));
  context.setOutput(2, std::move(result->inverseDeviation));
}

/// RMSNormalization, and SimplifiedLayerNormalization with its second output.
static void evalRMSNormalization(OpContext &context) {
  const Tensor &x = context.input(0);
  const Tensor &scale = context.input(1);
  std::optional<NormOptions> options = readOptions(context, x.rank(), false);
  if (!options)
    return;
  std::optional<NormResult> result =
      normalize(context, x, scale, nullptr, *options, scale.type());
  if (!result)
    return;
  context.setOutputAs(0, std::move(result->y), scale.type());
  context.setOutput(1, std::move(result->inverseDeviation));
}

/// Adds `addend`, broadcast to the sum's shape, in f32 or f64.
static bool accumulate(OpContext &context, MutableTensor &sum,
                       const Tensor &addend, std::string_view what) {
  if (!requireBroadcastTo(context, what, addend.shape(), sum.shape()))
    return false;
  StridedLoop<1> loop(sum.shape(),
                      {broadcastStrides(addend.shape(), sum.shape())});
  loop.forEachRun([&](int64_t position, const auto &offsets, const auto &steps,
                      int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      double value;
      readDoubles(addend, offsets[0] + i * steps[0], 1, &value);
      if (sum.type() == ElementType::Float64)
        sum.data<double>()[position + i] += value;
      else
        sum.data<float>()[position + i] += float(value);
    }
  });
  return true;
}

/// Norm of input + skip (+ bias). The operands differ: (input, skip, gamma,
/// beta, bias) for the layer norm, (input, skip, gamma, bias) for the
/// simplified one.
template <bool subtractsMean>
static void evalSkipNormalization(OpContext &context) {
  const Tensor &x = context.input(0);
  const Tensor &skip = context.input(1);
  const Tensor &gamma = context.input(2);
  const Tensor *beta = subtractsMean ? context.optionalInput(3) : nullptr;
  const Tensor *bias = context.optionalInput(subtractsMean ? 4 : 3);
  if (!context.requireFloat(x, "the operand"))
    return;
  for (const Tensor *other : {&skip, &gamma, beta, bias})
    if (other &&
        !context.requireSameType(x, "the operand", *other, "the others"))
      return;
  if (x.rank() == 0)
    return context.fail("the operand is a scalar");
  std::optional<MutableTensor> sum =
      context.allocate(computeType(x.type()), x.shape());
  if (!sum || !accumulate(context, *sum, x, "the operand") ||
      !accumulate(context, *sum, skip, "the skip connection") ||
      (bias && !accumulate(context, *sum, *bias, "the bias")))
    return;
  NormOptions options{x.rank() - 1, context.floatAttribute("epsilon", 1e-12f),
                      subtractsMean};
  Tensor total = std::move(*sum).freeze();
  std::optional<NormResult> result =
      normalize(context, total, gamma, beta, options, x.type());
  if (!result)
    return;
  context.setOutputAs(0, std::move(result->y), x.type());
  if (subtractsMean)
    context.setOutput(1, std::move(result->mean));
  context.setOutput(2, std::move(result->inverseDeviation));
  Result<Tensor> rounded = convert(total, x.type());
  if (!rounded)
    return context.fail(rounded.message());
  context.setOutput(3, std::move(*rounded));
}

constexpr Operator table[] = {
    {"LayerNormalization", 17, 2, 3, 3, evalLayerNormalization},
    {"RMSNormalization", 23, 2, 2, 1, evalRMSNormalization},
    {"SimplifiedLayerNormalization", 1, 2, 2, 2, evalRMSNormalization},
    {"SimplifiedLayerNormalization", 1, 2, 2, 2, evalRMSNormalization,
     microsoftDomain},
    {"SkipLayerNormalization", 1, 3, 5, 4, evalSkipNormalization<true>,
     microsoftDomain},
    {"SkipSimplifiedLayerNormalization", 1, 3, 4, 4,
     evalSkipNormalization<false>, microsoftDomain},
};

std::span<const Operator> llq::interp::normalizationOperators() {
  return table;
}
