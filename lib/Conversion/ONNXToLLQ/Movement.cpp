//===- Movement.cpp - Operators that move elements ------------------------===//
//
// One rule for all of them: the interpreter moves numbered elements, and the
// numbers say where each element of the result comes from.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace llq;
using namespace llq::raise;

/// The number of element `index` of data operand `operand`. 0 is left for
/// elements that the operator makes up itself (padding).
static int64_t makeCode(size_t operand, int64_t index) {
  return makeAddress(RootId(operand + 1), index);
}

/// Operators that keep the row-major order of elements.
static bool keepsOrder(StringRef opType) {
  return opType == "Reshape" || opType == "Squeeze" || opType == "Unsqueeze" ||
         opType == "Flatten" || opType == "Identity" || opType == "Dropout";
}

/// The broadcastable tensor `tensor` of an activation of `from` for the same
/// elements in order under `to`.
static Result<Tensor> reshapeFactor(const Tensor &tensor, const Shape &from,
                                    const Shape &to) {
  if (!tensor || tensor.numElements() == 1)
    return tensor ? tensor.reshaped({}) : Result<Tensor>(tensor);
  Result<Tensor> full = expand(tensor, from);
  if (!full)
    return Error{full.message()};
  return full->reshaped(to);
}

void Evaluator::simplify(Activation &activation) const {
  auto isEmptyTerm = [](const Term &term) {
    const Tensor &addresses = term.addresses;
    return addresses && addresses.numElements() > 0 &&
           llvm::all_of(
               ArrayRef(addresses.data<int64_t>(), addresses.numElements()),
               [](int64_t address) { return address == kNoElement; });
  };
  llvm::erase_if(activation.terms, isEmptyTerm);
  for (Term &term : activation.terms) {
    if (term.coefficients) {
      if (std::optional<float> uniform = getUniform(term.coefficients))
        term.coefficients =
            *uniform == 1 ? Tensor() : Tensor::ofFloat(*uniform);
      if (!term.coefficients)
        term.coefficientView.reset();
    }
    if (!term.addresses || term.addresses.numElements() == 0)
      continue;
    const int64_t *data = term.addresses.data<int64_t>();
    if (data[0] == kNoElement || getIndexOf(data[0]) != 0)
      continue;
    int64_t count = term.addresses.numElements();
    if (countElements(getRoot(getRootOf(data[0])).shape) != count)
      continue;
    bool inOrder = true;
    for (int64_t i = 1; i < count && inOrder; ++i)
      inOrder = data[i] == data[0] + i;
    if (inOrder) {
      term.root = getRootOf(data[0]);
      term.addresses = Tensor();
    }
  }
  if (activation.constant)
    if (std::optional<float> uniform = getUniform(activation.constant))
      activation.constant =
          *uniform == 0 ? Tensor() : Tensor::ofFloat(*uniform);
}

namespace {
/// Reads one component of the elements of a data operand.
class Component {
public:
  /// `tensor` broadcasts to `shape`; null stands for `fallback`.
  Component(const Tensor &tensor, const Shape &shape, float fallback)
      : fallback(fallback) {
    if (!tensor)
      return;
    Result<Tensor> full = expand(tensor, shape);
    // Broadcastable by construction.
    if (full)
      values = *full;
  }
  float operator[](int64_t index) const {
    return values ? values.data<float>()[index] : fallback;
  }

private:
  Tensor values;
  float fallback;
};
} // namespace

/// The elements that `codes` numbers, out of the data operands.
Activation Evaluator::gather(const Tensor &codes,
                             ArrayRef<const AbstractValue *> data) {
  Activation result;
  result.shape = codes.shape();
  int64_t count = codes.numElements();
  const int64_t *code = codes.data<int64_t>();

  size_t numTerms = 0;
  bool hasConstant = false;
  for (const AbstractValue *value : data) {
    if (auto *activation = std::get_if<Activation>(value)) {
      numTerms = std::max(numTerms, activation->terms.size());
      hasConstant |= bool(activation->constant);
    } else {
      hasConstant = true;
    }
  }
  for (size_t t = 0; t < numTerms; ++t) {
    // Address of the first element of each operand, or its table of addresses.
    SmallVector<std::pair<const int64_t *, int64_t>> sources;
    SmallVector<Component> factors;
    bool hasFactors = false;
    for (const AbstractValue *value : data) {
      auto *activation = std::get_if<Activation>(value);
      if (!activation || t >= activation->terms.size()) {
        sources.push_back({nullptr, kNoElement});
        factors.emplace_back(Tensor(), Shape(), 1.0f);
        continue;
      }
      const Term &term = activation->terms[t];
      sources.push_back(
          {term.addresses ? term.addresses.data<int64_t>() : nullptr,
           makeAddress(term.root, 0)});
      factors.emplace_back(term.coefficients, activation->shape, 1.0f);
      hasFactors |= bool(term.coefficients);
    }
    std::vector<int64_t> addresses(count);
    std::vector<float> coefficients(hasFactors ? count : 0);
    for (int64_t i = 0; i < count; ++i) {
      if (code[i] == 0) {
        addresses[i] = kNoElement;
        if (hasFactors)
          coefficients[i] = 1;
        continue;
      }
      size_t operand = getRootOf(code[i]) - 1;
      int64_t index = getIndexOf(code[i]);
      auto [table, first] = sources[operand];
      addresses[i] = table                 ? table[index]
                     : first == kNoElement ? kNoElement
                                           : first + index;
      if (hasFactors)
        coefficients[i] = factors[operand][index];
    }
    Term &term = result.terms.emplace_back();
    term.addresses = makeInts(result.shape, addresses);
    if (hasFactors)
      term.coefficients = makeFloats(result.shape, coefficients);
  }
  if (hasConstant) {
    SmallVector<Component> constants;
    for (const AbstractValue *value : data) {
      if (auto *activation = std::get_if<Activation>(value))
        constants.emplace_back(activation->constant, activation->shape, 0.0f);
      else if (auto *known = std::get_if<Known>(value))
        constants.emplace_back(known->tensor, known->tensor.shape(), 0.0f);
      else
        constants.emplace_back(Tensor(), Shape(), 0.0f);
    }
    std::vector<float> summands(count, 0);
    for (int64_t i = 0; i < count; ++i)
      if (code[i] != 0)
        summands[i] = constants[getRootOf(code[i]) - 1][getIndexOf(code[i])];
    result.constant = makeFloats(result.shape, summands);
  }
  simplify(result);
  return result;
}

Result<Evaluator::Values>
Evaluator::move(const Movement &movement,
                ArrayRef<const AbstractValue *> inputs,
                ArrayRef<unsigned> data) {
  // Data operands that are known become floats, like activations.
  SmallVector<AbstractValue, 0> floats(data.size());
  SmallVector<const AbstractValue *> operands;
  SmallVector<Tensor> storage(inputs.size());
  SmallVector<const Tensor *> tensors(inputs.size(), nullptr);
  for (size_t i = 0; i < inputs.size(); ++i) {
    auto *known = std::get_if<Known>(inputs[i]);
    auto *activation = std::get_if<Activation>(inputs[i]);
    if (std::holds_alternative<std::monostate>(*inputs[i]))
      continue;
    if (auto *unread = std::get_if<Unread>(inputs[i])) {
      Result<Known> value = read(unread->view);
      if (!value)
        return Error{value.message()};
      storage[i] = value->tensor;
      known = nullptr;
    } else if (known) {
      storage[i] = known->tensor;
    }
    tensors[i] = &storage[i];
    const unsigned *slot = llvm::find(data, unsigned(i));
    if (slot == data.end()) {
      if (activation)
        return Error{"takes a shape, index or condition from the tokens"};
      continue;
    }
    size_t operand = operands.size();
    Shape shape;
    if (activation) {
      operands.push_back(inputs[i]);
      shape = activation->shape;
    } else {
      Result<Tensor> wide = toFloat(storage[i]);
      if (!wide)
        return Error{wide.message()};
      floats[operand] = Known{*wide, std::nullopt, false};
      operands.push_back(&floats[operand]);
      shape = wide->shape();
    }
    Result<interp::MutableTensor> codes =
        interp::MutableTensor::allocate(ElementType::Int64, shape);
    if (!codes)
      return Error{codes.message()};
    for (int64_t e = 0; e < codes->numElements(); ++e)
      codes->data<int64_t>()[e] = makeCode(operand, e);
    storage[i] = std::move(*codes).freeze();
  }

  interp::Node node;
  node.opType = movement.opType;
  node.opset = movement.opset;
  node.inputs = std::span(tensors.data(), tensors.size());
  node.attributes = &movement.attributes;
  node.numOutputs = movement.numOutputs;
  Result<std::vector<Tensor>> codes = interp::evalNode(node);
  if (!codes)
    return Error{codes.message()};

  Values results;
  for (const Tensor &code : *codes) {
    if (!code) {
      results.emplace_back();
      continue;
    }
    auto *only =
        operands.size() == 1 ? std::get_if<Activation>(operands[0]) : nullptr;
    if (!only || !keepsOrder(movement.opType)) {
      Activation moved = gather(code, operands);
      if (!moved.terms.empty() || code.numElements() == 0) {
        results.emplace_back(std::move(moved));
        continue;
      }
      // Nothing is left that depends on tokens.
      Result<Tensor> constant = expand(
          moved.constant ? moved.constant : Tensor::ofFloat(0), moved.shape);
      if (!constant)
        return Error{constant.message()};
      results.emplace_back(Known{*constant, std::nullopt, false});
      continue;
    }
    // Without a copy of anything.
    Activation same = *only;
    same.shape = code.shape();
    for (Term &term : same.terms) {
      Result<Tensor> factor =
          reshapeFactor(term.coefficients, only->shape, same.shape);
      if (!factor)
        return Error{factor.message()};
      term.coefficients = *factor;
      if (term.addresses) {
        Result<Tensor> addresses = term.addresses.reshaped(same.shape);
        if (!addresses)
          return Error{addresses.message()};
        term.addresses = *addresses;
      }
    }
    Result<Tensor> constant =
        reshapeFactor(only->constant, only->shape, same.shape);
    if (!constant)
      return Error{constant.message()};
    same.constant = *constant;
    results.emplace_back(std::move(same));
  }
  return results;
}

//===----------------------------------------------------------------------===//
// For other rules
//===----------------------------------------------------------------------===//

/// The single activation that a movement gives.
static Result<Activation>
takeActivation(Result<std::vector<AbstractValue>> values) {
  if (!values)
    return Error{values.message()};
  if (auto *activation = std::get_if<Activation>(&(*values)[0]))
    return std::move(*activation);
  return Error{"has nothing of the tokens left"};
}

static AbstractValue makeKnown(Tensor tensor) {
  return Known{std::move(tensor), std::nullopt, false};
}

Result<Activation> Evaluator::reshape(const Activation &value, Shape shape) {
  AbstractValue input = value, target = makeKnown(Tensor::ofInts(shape));
  return takeActivation(move(Movement("Reshape"), {&input, &target}, {0}));
}

Result<Activation> Evaluator::transpose(const Activation &value,
                                        Shape permutation) {
  AbstractValue input = value;
  Movement movement("Transpose");
  movement.attributes["perm"] = permutation;
  return takeActivation(move(movement, {&input}, {0}));
}

Result<Activation> Evaluator::expandTo(const Activation &value,
                                       const Shape &shape) {
  if (value.shape == shape)
    return value;
  // Sizes of coefficients do not change: they broadcast.
  AbstractValue input = value, target = makeKnown(Tensor::ofInts(shape));
  return takeActivation(move(Movement("Expand"), {&input, &target}, {0}));
}

Result<Activation> Evaluator::concat(ArrayRef<Activation> values,
                                     int64_t axis) {
  SmallVector<AbstractValue, 0> inputs(values.begin(), values.end());
  SmallVector<const AbstractValue *> pointers;
  SmallVector<unsigned> data;
  for (auto [i, input] : llvm::enumerate(inputs)) {
    pointers.push_back(&input);
    data.push_back(unsigned(i));
  }
  Movement movement("Concat");
  movement.attributes["axis"] = axis;
  return takeActivation(move(movement, pointers, data));
}

Result<Activation> Evaluator::slice(const Activation &value, int64_t axis,
                                    int64_t begin, int64_t end) {
  AbstractValue inputs[] = {value, makeKnown(Tensor::ofInts({&begin, 1})),
                            makeKnown(Tensor::ofInts({&end, 1})),
                            makeKnown(Tensor::ofInts({&axis, 1}))};
  return takeActivation(move(Movement("Slice"),
                             {&inputs[0], &inputs[1], &inputs[2], &inputs[3]},
                             {0}));
}

//===----------------------------------------------------------------------===//
// Rules
//===----------------------------------------------------------------------===//

Result<Evaluator::Values> Evaluator::ruleMove(Node &node) {
  std::string opType = onnx::getOperatorName(node.op).str();
  // Dropout does nothing in inference, whatever its ratio.
  if (opType == "Dropout")
    return Values{node.inputs[0]};
  Movement movement(opType, node.opset, node.attributes,
                    node.op->getNumResults());
  SmallVector<const AbstractValue *> inputs;
  for (const AbstractValue &input : node.inputs)
    inputs.push_back(&input);
  return move(movement, inputs, {0});
}

Result<Evaluator::Values> Evaluator::ruleConcat(Node &node) {
  SmallVector<const AbstractValue *> inputs;
  SmallVector<unsigned> data;
  for (auto [i, input] : llvm::enumerate(node.inputs)) {
    inputs.push_back(&input);
    data.push_back(unsigned(i));
  }
  return move(Movement("Concat", node.opset, node.attributes), inputs, data);
}

Result<Evaluator::Values> Evaluator::ruleWhere(Node &node) {
  return move(Movement("Where", node.opset),
              {&node.inputs[0], &node.inputs[1], &node.inputs[2]}, {1, 2});
}

Result<Evaluator::Values> Evaluator::ruleScatter(Node &node) {
  if (node.attributes.count("reduction") &&
      node.getString("reduction") != "none")
    return Error{"combines cache entries instead of replacing them"};
  return move(Movement(onnx::getOperatorName(node.op).str(), node.opset,
                       node.attributes),
              {&node.inputs[0], &node.inputs[1], &node.inputs[2]}, {0, 2});
}

Result<Evaluator::Values> Evaluator::ruleTensorScatter(Node &node) {
  SmallVector<const AbstractValue *> inputs;
  for (const AbstractValue &input : node.inputs)
    inputs.push_back(&input);
  return move(Movement("TensorScatter", node.opset, node.attributes), inputs,
              {0, 1});
}

Result<Evaluator::Values> Evaluator::rulePad(Node &node) {
  if (node.has(2)) {
    const Known *fill = node.known(2);
    Result<Tensor> value = fill ? toFloat(fill->tensor) : Error{""};
    if (!value || !isAll(*value, 0))
      return Error{"pads with something else than zeros"};
    // Zeros are what elements without a source are.
    node.inputs[2] = std::monostate();
  }
  SmallVector<const AbstractValue *> inputs;
  for (const AbstractValue &input : node.inputs)
    inputs.push_back(&input);
  return move(Movement("Pad", node.opset, node.attributes), inputs, {0});
}

Result<Evaluator::Values> Evaluator::ruleCast(Node &node) {
  const Activation *value = node.activation(0);
  if (!value)
    return Error{"takes its type from activations"};
  bool tokens = !value->terms.empty() && !value->terms[0].addresses &&
                getRoot(value->terms[0].root).kind == Root::Kind::Tokens;
  std::optional<ElementType> target = ElementType::Float32;
  if (onnx::getOperatorName(node.op) == "Cast")
    target = interp::fromONNXDataType(node.getInt("to", 0));
  else if (const Known *like = node.known(1))
    target = like->tensor.type();
  if (!target || interp::isFloat(*target) == tokens)
    return Error{"turns " + describe(*value) + " into another kind of number"};
  return Values{*value};
}

Result<Evaluator::Values> Evaluator::ruleShape(Node &node) {
  const Shape &shape = node.activation(0)->shape;
  int64_t rank = int64_t(shape.size());
  auto clamp = [&](int64_t index) {
    return std::clamp<int64_t>(index < 0 ? index + rank : index, 0, rank);
  };
  int64_t start = clamp(node.getInt("start", 0));
  int64_t end = clamp(node.getInt("end", rank));
  Shape part(shape.begin() + start, shape.begin() + std::max(start, end));
  return Values{makeKnown(Tensor::ofInts(part))};
}

Result<Evaluator::Values> Evaluator::ruleSize(Node &node) {
  return Values{
      makeKnown(Tensor::ofInt(countElements(node.activation(0)->shape)))};
}

/// Exporters guard softmax against rows that are masked out altogether; with a
/// causal mask every row sees itself.
Result<Evaluator::Values> Evaluator::ruleNeverNaN(Node &node) {
  Result<interp::MutableTensor> none = interp::MutableTensor::allocate(
      ElementType::Bool, node.activation(0)->shape);
  if (!none)
    return Error{none.message()};
  return Values{makeKnown(std::move(*none).freeze())};
}
