//===- Elementwise.cpp - Sums, products and activation functions ----------===//
//
// Known factors and summands become coefficients and constants of elements.
// Operations among activations become roots, or stay sums of terms until it is
// clear what they are (rotary embeddings).
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"

using namespace mlir;
using namespace llq;
using namespace llq::raise;

/// Sums of more terms than this are not followed; a rotary embedding has two.
static constexpr size_t kMaxTerms = 4;

static Known makeKnown(Tensor tensor) {
  return Known{std::move(tensor), std::nullopt, false};
}

//===----------------------------------------------------------------------===//
// With known values
//===----------------------------------------------------------------------===//

Result<Activation> Evaluator::scale(const Activation &value,
                                    const Known &factor) {
  Result<Tensor> k = toFloat(factor.tensor);
  if (!k)
    return Error{k.message()};
  Result<Shape> shape = broadcast(value.shape, k->shape());
  if (!shape)
    return Error{shape.message()};
  Result<Activation> result = expandTo(value, *shape);
  if (!result || (isAll(*k, 1) && k->numElements() > 0))
    return result;
  // What is rotated is settled before it is scaled.
  if (result->terms.size() > 1 && k->numElements() == 1)
    if (Result<Activation> rotated = resolveRope(*result))
      result = std::move(rotated);
  for (Term &term : result->terms) {
    if (!term.coefficients) {
      term.coefficients = *k;
      term.coefficientView = factor.view;
      continue;
    }
    Result<Tensor> product = combine("Mul", term.coefficients, *k);
    if (!product)
      return Error{product.message()};
    term.coefficients = *product;
    term.coefficientView.reset();
  }
  if (result->constant) {
    Result<Tensor> product = combine("Mul", result->constant, *k);
    if (!product)
      return Error{product.message()};
    result->constant = *product;
  }
  return result;
}

Result<Activation> Evaluator::scale(const Activation &value, float factor) {
  return scale(value, makeKnown(Tensor::ofFloat(factor)));
}

Result<Activation> Evaluator::shift(const Activation &value,
                                    const Known &summand) {
  Result<Tensor> k = toFloat(summand.tensor);
  if (!k)
    return Error{k.message()};
  Result<Shape> shape = broadcast(value.shape, k->shape());
  if (!shape)
    return Error{shape.message()};
  Result<Activation> result = expandTo(value, *shape);
  if (!result || isAll(*k, 0))
    return result;
  Result<Tensor> sum =
      result->constant ? combine("Add", result->constant, *k) : std::move(k);
  if (!sum)
    return Error{sum.message()};
  result->constant = *sum;
  return result;
}

//===----------------------------------------------------------------------===//
// Among activations
//===----------------------------------------------------------------------===//

Result<Activation> Evaluator::add(const Activation &a, const Activation &b,
                                  Operation *op) {
  Result<Shape> shape = broadcast(a.shape, b.shape);
  if (!shape)
    return Error{shape.message()};
  // Two results as they are: the residual stream.
  if (a.shape == b.shape && a.isPlain() && b.isPlain()) {
    Result<Slice> x = getMatrix(a), y = getMatrix(b);
    if (x && y && x->width == y->width) {
      const Root &left = getRoot(x->root), &right = getRoot(y->root);
      if (left.rows && right.rows && *left.rows == *right.rows) {
        Root sum(Root::Kind::Add);
        sum.shape = {left.shape[0], x->width};
        sum.op = op;
        sum.inputs = {*x, *y};
        sum.rows = left.rows;
        return reshape(addRoot(std::move(sum)), *shape);
      }
    }
  }
  // Otherwise a sum of terms; what it means is seen where it is used.
  Result<Activation> x = expandTo(a, *shape), y = expandTo(b, *shape);
  if (!x)
    return x;
  if (!y)
    return y;
  Activation result = *x;
  result.terms.append(y->terms.begin(), y->terms.end());
  if (result.terms.size() > kMaxTerms)
    return Error{"adds " + describe(a) + " and " + describe(b) +
                 " in a way that no step of a LLaMA decoder does"};
  if (y->constant) {
    Result<Tensor> sum = result.constant
                             ? combine("Add", result.constant, y->constant)
                             : Result<Tensor>(y->constant);
    if (!sum)
      return Error{sum.message()};
    result.constant = *sum;
  }
  return result;
}

/// Whether the elements of `activation` are those of one root of `kind`.
static const Root *getWhole(const Evaluator &evaluator,
                            const Activation &activation, Root::Kind kind) {
  if (activation.terms.size() != 1 || activation.terms[0].addresses)
    return nullptr;
  const Root &root = evaluator.getRoot(activation.terms[0].root);
  return root.kind == kind ? &root : nullptr;
}

Result<Activation> Evaluator::multiply(const Activation &a, const Activation &b,
                                       Operation *op) {
  // Normalization: times the root of the mean square, to a power of -1/2.
  for (auto [value, factor] : {std::pair(&a, &b), std::pair(&b, &a)})
    if (const Root *statistic =
            getWhole(*this, *factor, Root::Kind::RowStatistic)) {
      if (!factor->isPlain())
        return Error{"multiplies by a scaled or shifted mean square"};
      return normalize(*value, *statistic, op);
    }
  if (a.shape != b.shape)
    return Error{"multiplies " + describe(a) + " and " + describe(b) +
                 " of different shapes"};
  if (!a.isPlain() || !b.isPlain())
    return Error{"multiplies " + describe(a) + " and " + describe(b) +
                 " that are scaled or shifted"};
  Result<Slice> x = getMatrix(a), y = getMatrix(b);
  if (!x || !y)
    return Error{x ? y.message() : x.message()};
  if (*x == *y)
    return square(a, op);
  Root product(Root::Kind::Product);
  const Root &left = getRoot(x->root);
  product.shape = {left.shape[0], x->width};
  product.rows = left.rows;
  product.op = op;
  for (const Slice &factor : {*x, *y}) {
    const Root &root = getRoot(factor.root);
    if (!root.rows || *root.rows != *left.rows || factor.width != x->width)
      return Error{"multiplies activations of different tokens"};
    if (root.kind == Root::Kind::Product && factor.width == root.shape[1])
      product.inputs.append(root.inputs.begin(), root.inputs.end());
    else
      product.inputs.push_back(factor);
  }
  // Three factors: gate, its sigmoid and up, in any order.
  for (const Slice &factor : product.inputs) {
    const Root &sigmoid = getRoot(factor.root);
    if (product.inputs.size() != 3 || sigmoid.kind != Root::Kind::Sigmoid)
      continue;
    const Slice &gate = sigmoid.inputs[0];
    auto isGate = [&](const Slice &slice) { return slice == gate; };
    if (!llvm::any_of(product.inputs, isGate))
      continue;
    Root gated(Root::Kind::SwiGLU);
    gated.shape = product.shape;
    gated.rows = product.rows;
    gated.op = op;
    gated.inputs.push_back(gate);
    bool seenGate = false;
    for (const Slice &other : product.inputs) {
      if (&other == &factor)
        continue;
      if (!seenGate && isGate(other)) {
        seenGate = true;
        continue;
      }
      gated.inputs.push_back(other);
    }
    return reshape(addRoot(std::move(gated)), a.shape);
  }
  return reshape(addRoot(std::move(product)), a.shape);
}

Result<Activation> Evaluator::power(const Activation &value, double exponent,
                                    Operation *op) {
  if (exponent == 1)
    return value;
  const Root *statistic = getWhole(*this, value, Root::Kind::RowStatistic);
  if (exponent == 2 && !statistic)
    return square(value, op);
  const Term &term = value.terms[0];
  std::optional<float> factor =
      term.coefficients ? getUniform(term.coefficients) : 1.0f;
  std::optional<float> summand =
      value.constant ? getUniform(value.constant) : 0.0f;
  if (!statistic || !factor || !summand ||
      ((*factor != 1 || *summand != 0) && statistic->power != 1))
    return Error{"raises " + describe(value) + " to the power of " +
                 std::to_string(exponent)};
  Root raised = *statistic;
  raised.op = op;
  raised.scale *= *factor;
  raised.offset = raised.offset * *factor + *summand;
  raised.power *= exponent;
  return reshape(addRoot(std::move(raised)), value.shape);
}

Result<Activation> Evaluator::reciprocal(const Activation &value,
                                         Operation *op) {
  // 1 / (1 + exp(-x)).
  if (const Root *exponential =
          getWhole(*this, value, Root::Kind::ExpNegative)) {
    if (value.terms[0].coefficients || !value.constant ||
        getUniform(value.constant) != 1.0f)
      return Error{"divides by exponentials that make no sigmoid"};
    Root sigmoid = *exponential;
    sigmoid.kind = Root::Kind::Sigmoid;
    sigmoid.op = op;
    return reshape(addRoot(std::move(sigmoid)), value.shape);
  }
  return power(value, -1, op);
}

Result<Activation> Evaluator::sigmoid(const Activation &value, Operation *op,
                                      Root::Kind kind) {
  if (!value.isPlain())
    return Error{"is applied to " + describe(value) +
                 " that are scaled or shifted; the gate of a LLaMA decoder is "
                 "SiLU"};
  Result<Slice> matrix = getMatrix(value);
  if (!matrix)
    return Error{matrix.message()};
  Root root(kind);
  root.shape = {getRoot(matrix->root).shape[0], matrix->width};
  root.rows = getRoot(matrix->root).rows;
  root.op = op;
  root.inputs = {*matrix};
  return reshape(addRoot(std::move(root)), value.shape);
}

//===----------------------------------------------------------------------===//
// Rules
//===----------------------------------------------------------------------===//

/// One activation, or its error, as the results of a node.
static Result<std::vector<AbstractValue>> asValues(Result<Activation> result) {
  if (!result)
    return Error{result.message()};
  return std::vector<AbstractValue>{std::move(*result)};
}

Result<Evaluator::Values> Evaluator::ruleAdd(Node &node) {
  const Activation *a = node.activation(0), *b = node.activation(1);
  if (a && b)
    return asValues(add(*a, *b, node.op));
  Result<Known> known = getKnown(node.inputs[a ? 1 : 0]);
  if (!known)
    return Error{known.message()};
  const Activation &value = a ? *a : *b;
  // A bias belongs to its layer, unless what is added is a mask or an epsilon.
  if (Result<Activation> biased = addBias(value, *known, node.op))
    return Values{std::move(*biased)};
  return asValues(shift(value, *known));
}

Result<Evaluator::Values> Evaluator::ruleSum(Node &node) {
  AbstractValue sum = node.inputs[0];
  for (const AbstractValue &input : llvm::drop_begin(node.inputs)) {
    Node pair{node.op, {sum, input}, {}, node.opset};
    if (!pair.activation(0) && !pair.activation(1)) {
      if (!pair.known(0) || !pair.known(1))
        return Error{"adds a weight to activations"};
      Result<Tensor> known =
          combine("Add", pair.known(0)->tensor, pair.known(1)->tensor);
      if (!known)
        return Error{known.message()};
      sum = makeKnown(*known);
      continue;
    }
    Result<Values> next = ruleAdd(pair);
    if (!next)
      return next;
    sum = std::move((*next)[0]);
  }
  return Values{std::move(sum)};
}

Result<Evaluator::Values> Evaluator::ruleSub(Node &node) {
  const Activation *a = node.activation(0), *b = node.activation(1);
  if (!b) {
    const Known *known = node.known(1);
    if (!known)
      return Error{"subtracts a weight from activations"};
    Result<Tensor> wide = toFloat(known->tensor);
    if (!wide)
      return Error{wide.message()};
    Result<Tensor> negative = compute("Neg", {&*wide});
    if (!negative)
      return Error{negative.message()};
    return asValues(shift(*a, makeKnown(*negative)));
  }
  Result<Activation> negative = scale(*b, -1);
  if (!negative)
    return asValues(negative);
  if (a)
    return asValues(add(*a, *negative, node.op));
  const Known *known = node.known(0);
  if (!known)
    return Error{"subtracts activations from a weight"};
  return asValues(shift(*negative, *known));
}

Result<Evaluator::Values> Evaluator::ruleNeg(Node &node) {
  return asValues(scale(*node.activation(0), -1));
}

Result<Evaluator::Values> Evaluator::ruleMul(Node &node) {
  const Activation *a = node.activation(0), *b = node.activation(1);
  if (a && b)
    return asValues(multiply(*a, *b, node.op));
  Result<Known> known = getKnown(node.inputs[a ? 1 : 0]);
  if (!known)
    return Error{known.message()};
  return asValues(scale(a ? *a : *b, *known));
}

Result<Evaluator::Values> Evaluator::ruleDiv(Node &node) {
  const Activation *a = node.activation(0), *b = node.activation(1);
  if (!b) {
    const Known *divisor = node.known(1);
    if (!divisor)
      return Error{"divides activations by a weight"};
    Result<Tensor> wide = toFloat(divisor->tensor);
    if (!wide)
      return Error{wide.message()};
    Result<Tensor> inverse = compute("Reciprocal", {&*wide});
    if (!inverse)
      return Error{inverse.message()};
    return asValues(scale(*a, makeKnown(*inverse)));
  }
  Result<Activation> inverse = reciprocal(*b, node.op);
  if (!inverse)
    return asValues(inverse);
  if (a)
    return asValues(multiply(*a, *inverse, node.op));
  const Known *known = node.known(0);
  if (!known)
    return Error{"divides a weight by activations"};
  return asValues(scale(*inverse, *known));
}

/// Exporters keep masked scores finite by a lower bound: the least number of
/// their type, which no other score comes near.
Result<Evaluator::Values> Evaluator::ruleMax(Node &node) {
  constexpr float kLeastHalf = -65504;
  const Activation *value = nullptr;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (const Activation *activation = node.activation(i)) {
      if (value)
        return Error{"takes the larger of two activations"};
      value = activation;
      continue;
    }
    const Known *bound = node.known(i);
    Result<Tensor> wide = bound ? toFloat(bound->tensor) : Error{""};
    if (!wide ||
        llvm::any_of(ArrayRef(wide->data<float>(), wide->numElements()),
                     [](float x) { return !(x <= kLeastHalf); }))
      return Error{"bounds " +
                   (value ? describe(*value) : std::string("activations")) +
                   " from below"};
  }
  return Values{*value};
}

Result<Evaluator::Values> Evaluator::rulePow(Node &node) {
  const Activation *value = node.activation(0);
  const Known *exponent = node.known(1);
  if (!value || !exponent)
    return Error{"has an exponent that depends on the tokens"};
  Result<Tensor> wide = toFloat(exponent->tensor);
  std::optional<float> uniform = wide ? getUniform(*wide) : std::nullopt;
  if (!uniform)
    return Error{"has exponents that differ"};
  return asValues(power(*value, *uniform, node.op));
}

Result<Evaluator::Values> Evaluator::ruleSqrt(Node &node) {
  return asValues(power(*node.activation(0), 0.5, node.op));
}

Result<Evaluator::Values> Evaluator::ruleReciprocal(Node &node) {
  return asValues(reciprocal(*node.activation(0), node.op));
}

Result<Evaluator::Values> Evaluator::ruleExp(Node &node) {
  const Activation &value = *node.activation(0);
  if (value.terms.size() != 1 || value.constant ||
      !value.terms[0].coefficients ||
      getUniform(value.terms[0].coefficients) != -1.0f)
    return Error{"is applied to " + describe(value) +
                 "; the gate of a LLaMA decoder is SiLU"};
  Activation plain = value;
  plain.terms[0].coefficients = Tensor();
  return asValues(sigmoid(plain, node.op, Root::Kind::ExpNegative));
}

Result<Evaluator::Values> Evaluator::ruleSigmoid(Node &node) {
  return asValues(sigmoid(*node.activation(0), node.op));
}

/// x * sigmoid(alpha * x).
Result<Evaluator::Values> Evaluator::ruleSwish(Node &node) {
  bool quick = onnx::getOperatorName(node.op) == "QuickGelu";
  if (node.getFloat("alpha", quick ? 1.702f : 1.0f) != 1.0f)
    return Error{"is a gate other than SiLU"};
  Result<Activation> gate = sigmoid(*node.activation(0), node.op);
  if (!gate)
    return asValues(gate);
  return asValues(multiply(*node.activation(0), *gate, node.op));
}
