//===- Normalization.cpp - RMS norms in all their forms -------------------===//
//
// Squares, their mean, epsilon, root and reciprocal in whatever order; the
// operators that do it at once; and the weight behind it.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"

#include <cmath>

using namespace mlir;
using namespace llq;
using namespace llq::raise;

/// 1/K times K in single precision.
static constexpr double kRounding = 1e-6;

Result<Activation> Evaluator::square(const Activation &value, Operation *op) {
  Result<Slice> matrix = getMatrix(value);
  if (!matrix)
    return Error{matrix.message()};
  Root root(Root::Kind::Squares);
  root.shape = {getRoot(matrix->root).shape[0], matrix->width};
  root.rows = getRoot(matrix->root).rows;
  root.op = op;
  root.inputs = {*matrix};
  return reshape(addRoot(std::move(root)), value.shape);
}

Result<Evaluator::Values> Evaluator::ruleReduce(Node &node) {
  const Activation *value = node.activation(0);
  if (!value)
    return Error{"takes its axes from the tokens"};
  StringRef name = onnx::getOperatorName(node.op);
  auto rank = int64_t(value->shape.size());
  std::vector<int64_t> axes;
  if (const Known *given = node.known(1)) {
    if (Result<std::vector<int64_t>> ints = given->tensor.toInts())
      axes = *ints;
  } else if (auto it = node.attributes.find("axes");
             it != node.attributes.end()) {
    if (auto *ints = std::get_if<std::vector<int64_t>>(&it->second))
      axes = *ints;
  }
  if (axes.size() != 1 || (axes[0] != -1 && axes[0] != rank - 1))
    return Error{"reduces " + describe(*value) +
                 " along something else than the last dimension"};

  Root root(Root::Kind::RowStatistic);
  root.op = node.op;
  if (name == "ReduceMean" || name == "ReduceSum") {
    const Root *squares = nullptr;
    if (value->isPlain() && !value->terms[0].addresses)
      squares = &getRoot(value->terms[0].root);
    if (!squares || squares->kind != Root::Kind::Squares)
      return Error{"reduces " + describe(*value) +
                   "; LLaMA normalizes by the mean of squares"};
    root.inputs = squares->inputs;
    root.rows = squares->rows;
    root.shape = {squares->shape[0], 1};
    if (name == "ReduceMean")
      root.scale = 1.0 / double(squares->shape[1]);
  } else {
    Result<Slice> matrix = getMatrix(*value);
    if (!matrix)
      return Error{matrix.message()};
    root.inputs = {*matrix};
    root.rows = getRoot(matrix->root).rows;
    root.shape = {getRoot(matrix->root).shape[0], 1};
    if (name == "ReduceL2")
      root.power = 0.5;
  }
  if (value->shape.back() != root.inputs[0].width)
    return Error{"normalizes parts of an activation, such as heads, on their "
                 "own"};
  Shape shape = value->shape;
  if (node.getInt("keepdims", 1))
    shape.back() = 1;
  else
    shape.pop_back();
  Result<Activation> result = reshape(addRoot(std::move(root)), shape);
  if (!result)
    return Error{result.message()};
  return Values{std::move(*result)};
}

Result<Activation> Evaluator::normalize(const Activation &value,
                                        const Root &statistic, Operation *op) {
  if (value.terms.size() != 1 || value.constant)
    return Error{"normalizes " + describe(value) + " that are shifted"};
  Activation plain = value;
  plain.terms[0].coefficients = Tensor();
  Result<Slice> matrix = getMatrix(plain);
  if (!matrix)
    return Error{matrix.message()};
  if (*matrix != statistic.inputs[0])
    return Error{"normalizes one activation by the mean square of another"};
  if (statistic.power != -0.5)
    return Error{"multiplies by the mean square to the power of " +
                 std::to_string(statistic.power) + ", RMS norm needs -0.5"};
  Root root(Root::Kind::Normalized);
  root.shape = {getRoot(matrix->root).shape[0], matrix->width};
  root.rows = getRoot(matrix->root).rows;
  root.op = op;
  root.inputs = {*matrix};
  // (a sum + b)^-1/2 = (a K)^-1/2 (mean + b / (a K))^-1/2.
  double factor = statistic.scale * double(matrix->width);
  bool isMean = std::abs(factor - 1) < kRounding;
  root.offset = isMean ? statistic.offset : statistic.offset / factor;
  if (!(factor > 0) || !(root.offset >= 0) || !std::isfinite(root.offset))
    return Error{"normalizes with a negative epsilon"};
  Result<Activation> result = reshape(addRoot(std::move(root)), value.shape);
  if (!result)
    return result;
  result->terms[0].coefficients = value.terms[0].coefficients;
  result->terms[0].coefficientView = value.terms[0].coefficientView;
  return isMean ? result : scale(*result, float(1 / std::sqrt(factor)));
}

Result<Activation> Evaluator::rmsNorm(const Activation &value,
                                      const Known &weight, float epsilon,
                                      Operation *op) {
  Result<Slice> matrix = getMatrix(value);
  if (!matrix)
    return Error{matrix.message()};
  if (weight.tensor.numElements() != matrix->width)
    return Error{"normalizes parts of an activation, such as heads, on their "
                 "own"};
  Root root(Root::Kind::Normalized);
  root.shape = {getRoot(matrix->root).shape[0], matrix->width};
  root.rows = getRoot(matrix->root).rows;
  root.op = op;
  root.inputs = {*matrix};
  root.offset = epsilon;
  Result<Activation> result = reshape(addRoot(std::move(root)), value.shape);
  return result ? scale(*result, weight) : result;
}

/// The RMS norm that `value`, coefficients times a slice of a normalized root,
/// is.
Result<Slice> Evaluator::getWeightedNorm(const Activation &value,
                                         const Slice &slice) {
  const Root &normalized = getRoot(slice.root);
  const Term &term = value.terms[0];
  int64_t width = slice.width;
  std::vector<float> weight(width, 1);
  if (term.coefficients) {
    Result<Tensor> full = expand(term.coefficients, value.shape);
    if (!full)
      return Error{full.message()};
    const float *data = full->data<float>();
    std::copy_n(data, width, weight.begin());
    for (auto [channel, number] : llvm::enumerate(weight))
      if (!std::isfinite(number))
        return Error{"weights channel " + std::to_string(channel) +
                     " of normalized activations by " +
                     (std::isnan(number) ? "nan" : "infinity")};
    for (int64_t i = width; i < full->numElements(); ++i)
      if (data[i] != weight[i % width])
        return Error{"weights normalized activations differently for different "
                     "tokens"};
  }
  if (slice.begin != 0 || width != normalized.shape[1])
    return Error{"uses part of normalized activations"};
  Root root(Root::Kind::RMSNorm);
  root.shape = normalized.shape;
  root.rows = normalized.rows;
  root.op = normalized.op;
  root.inputs = normalized.inputs;
  root.offset = normalized.offset;
  std::optional<WeightView> view;
  if (term.coefficientView && term.coefficientView->numElements() == width)
    view = term.coefficientView->reshaped({width});
  root.weight = view ? WeightSource::of(std::move(*view))
                     : WeightSource::of(makeFloats({width}, weight));
  return Slice{findOrAddRoot(std::move(root)).terms[0].root, 0, width};
}

Result<Evaluator::Values> Evaluator::ruleRMSNorm(Node &node) {
  const Activation *value = node.activation(0);
  Result<Known> weight = getKnown(node.input(1));
  if (!value || !weight)
    return Error{"has a weight that depends on the tokens"};
  if (node.has(2))
    return Error{"has a bias, which RMS norms of LLaMA have not"};
  int64_t axis = node.getInt("axis", -1);
  if (axis != -1 && axis != int64_t(value->shape.size()) - 1)
    return Error{"normalizes along something else than the last dimension"};
  Result<Activation> result =
      rmsNorm(*value, *weight, node.getFloat("epsilon", 1e-5f), node.op);
  if (!result)
    return Error{result.message()};
  return Values{std::move(*result)};
}

/// Normalizes the sum of a residual and what is added to it; gives both.
Result<Evaluator::Values> Evaluator::ruleSkipRMSNorm(Node &node) {
  const Activation *a = node.activation(0), *b = node.activation(1);
  Result<Known> weight = getKnown(node.input(2));
  if (!a || !b || !weight)
    return Error{"needs two activations and a weight"};
  Result<Activation> second = *b;
  if (node.has(3)) {
    Result<Known> bias = getKnown(node.input(3));
    if (!bias)
      return Error{bias.message()};
    second = addBias(*b, *bias, node.op);
    if (!second)
      return Error{second.message()};
  }
  Result<Activation> sum = add(*a, *second, node.op);
  if (!sum)
    return Error{sum.message()};
  Result<Activation> result =
      rmsNorm(*sum, *weight, node.getFloat("epsilon", 1e-12f), node.op);
  if (!result)
    return Error{result.message()};
  return Values{std::move(*result), AbstractValue(), AbstractValue(),
                std::move(*sum)};
}
