//===- ONNXEvaluator.cpp - Run onnx ops in the interpreter ----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Reference/ONNXEvaluator.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llq;
using interp::ElementType;
using interp::Error;
using interp::Result;
using interp::Tensor;

/// Version of an operator's domain where it differs from the model's; the
/// importer sets it in bodies of functions.
static constexpr llvm::StringLiteral kOpsetAttr = "onnx.opset";

std::optional<ElementType> llq::getInterpreterType(Type type) {
  if (type.isF32())
    return ElementType::Float32;
  if (type.isF64())
    return ElementType::Float64;
  if (type.isF16())
    return ElementType::Float16;
  if (type.isBF16())
    return ElementType::BFloat16;
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer)
    return std::nullopt;
  bool isUnsigned = integer.isUnsigned();
  switch (integer.getWidth()) {
  case 1:
    return ElementType::Bool;
  case 2:
    return isUnsigned ? ElementType::UInt2 : ElementType::Int2;
  case 4:
    return isUnsigned ? ElementType::UInt4 : ElementType::Int4;
  case 8:
    return isUnsigned ? ElementType::UInt8 : ElementType::Int8;
  case 16:
    return isUnsigned ? ElementType::UInt16 : ElementType::Int16;
  case 32:
    return isUnsigned ? ElementType::UInt32 : ElementType::Int32;
  case 64:
    return isUnsigned ? ElementType::UInt64 : ElementType::Int64;
  default:
    return std::nullopt;
  }
}

/// A dense attribute as a tensor, copied.
static Result<Tensor> readDense(DenseElementsAttr dense, ElementType type,
                                interp::Shape shape) {
  // Booleans are packed to bits in attributes, to bytes in tensors.
  if (type == ElementType::Bool) {
    std::vector<char> bytes(dense.value_begin<bool>(), dense.value_end<bool>());
    return Tensor::copyRaw(type, std::move(shape), bytes.data(), bytes.size());
  }
  ArrayRef<char> raw = dense.getRawData();
  if (!dense.isSplat() || dense.getNumElements() == 0)
    return Tensor::copyRaw(type, std::move(shape), raw.data(),
                           dense.getNumElements() ? raw.size() : 0);
  std::vector<char> bytes;
  for (int64_t i = 0; i < dense.getNumElements(); ++i)
    bytes.insert(bytes.end(), raw.begin(), raw.end());
  return Tensor::copyRaw(type, std::move(shape), bytes.data(), bytes.size());
}

Result<Tensor> llq::readConstant(WeightReader &reader,
                                 onnx::ConstantOp constant) {
  auto type = cast<RankedTensorType>(constant.getResult().getType());
  std::optional<ElementType> element =
      getInterpreterType(type.getElementType());
  if (!element)
    return Error{"its element type is not supported"};
  interp::Shape shape(type.getShape().begin(), type.getShape().end());
  if (auto dense = dyn_cast<DenseElementsAttr>(constant.getValue()))
    return readDense(dense, *element, std::move(shape));
  llvm::Expected<ArrayRef<char>> bytes = reader.getBytes(constant.getValue());
  if (!bytes)
    return Error{llvm::toString(bytes.takeError())};
  return Tensor::fromRaw(*element, std::move(shape), bytes->data(),
                         bytes->size(), nullptr);
}

ONNXEvaluator::ONNXEvaluator(func::FuncOp graph, bool widenHalf) {
  options.widenHalf = widenHalf;
  if (auto versions = graph->getAttrOfType<DictionaryAttr>(onnx::kOpsetsAttr))
    for (NamedAttribute version : versions)
      if (auto number = dyn_cast<IntegerAttr>(version.getValue()))
        opsets[version.getName()] = number.getInt();
}

int64_t ONNXEvaluator::getOpset(Operation *op) const {
  if (auto own = op->getAttrOfType<IntegerAttr>(kOpsetAttr))
    return own.getInt();
  StringRef domain = onnx::getDomain(op);
  if (auto it = opsets.find(domain); it != opsets.end())
    return it->second;
  // Models use onnxruntime's operators without importing their domain.
  return domain == onnx::kContribDomain ? 1 : 0;
}

Result<interp::Attributes> ONNXEvaluator::getAttributes(Operation *op) const {
  interp::Attributes attributes;
  for (NamedAttribute attr : op->getDiscardableAttrs()) {
    if (attr.getName() == kOpsetAttr)
      continue;
    interp::Attribute &value = attributes[attr.getName().str()];
    Attribute from = attr.getValue();
    if (auto number = dyn_cast<IntegerAttr>(from)) {
      value = number.getInt();
    } else if (auto number = dyn_cast<FloatAttr>(from)) {
      value = float(number.getValueAsDouble());
    } else if (auto text = dyn_cast<StringAttr>(from)) {
      value = text.str();
    } else if (auto list = dyn_cast<DenseI64ArrayAttr>(from)) {
      value = list.asArrayRef().vec();
    } else if (auto list = dyn_cast<DenseF32ArrayAttr>(from)) {
      value = list.asArrayRef().vec();
    } else if (auto list = dyn_cast<ArrayAttr>(from)) {
      std::vector<std::string> texts;
      for (auto text : list.getAsRange<StringAttr>())
        texts.push_back(text.str());
      value = std::move(texts);
    } else if (auto dense = dyn_cast<DenseElementsAttr>(from)) {
      std::optional<ElementType> type =
          getInterpreterType(dense.getElementType());
      if (!type)
        return Error{"attribute '" + attr.getName().str() +
                     "' has an unsupported element type"};
      ArrayRef<int64_t> shape = dense.getType().getShape();
      Result<Tensor> tensor =
          readDense(dense, *type, interp::Shape(shape.begin(), shape.end()));
      if (!tensor)
        return Error{tensor.message()};
      value = *tensor;
    } else {
      return Error{"attribute '" + attr.getName().str() +
                   "' is of an unsupported kind"};
    }
  }
  return attributes;
}

Result<std::vector<Tensor>>
ONNXEvaluator::evaluate(Operation *op, ArrayRef<const Tensor *> inputs) const {
  Result<interp::Attributes> attributes = getAttributes(op);
  if (!attributes)
    return Error{attributes.message()};
  interp::Node node;
  StringRef domain = onnx::getDomain(op), name = onnx::getOperatorName(op);
  node.domain = domain == onnx::kStandardDomain ? "" : std::string_view(domain);
  node.opType = name;
  node.opset = getOpset(op);
  node.inputs = std::span(inputs.data(), inputs.size());
  node.attributes = &*attributes;
  // Only outputs that are used: the interpreter need not know the others.
  node.numOutputs = op->getNumResults();
  while (node.numOutputs > 1 && op->getResult(node.numOutputs - 1).use_empty())
    --node.numOutputs;
  Result<std::vector<Tensor>> results = interp::evalNode(node, options);
  if (results)
    results->resize(op->getNumResults());
  return results;
}

//===----------------------------------------------------------------------===//
// Whole graphs
//===----------------------------------------------------------------------===//

namespace {
/// Runs blocks; tensors are dropped after their last use.
class GraphRun {
public:
  GraphRun(func::FuncOp graph, WeightReader &reader, bool widenHalf)
      : evaluator(graph, widenHalf), reader(reader) {}

  llvm::DenseMap<Value, Tensor> values;

  /// Evaluates `block`; the tensors are those of its terminator's operands.
  Result<std::vector<Tensor>> run(Block &block);

private:
  Result<std::vector<Tensor>> evaluate(Operation *op);
  void dropUse(Value value);

  ONNXEvaluator evaluator;
  WeightReader &reader;
  llvm::DenseMap<Value, int64_t> remaining;
};
} // namespace

/// "node 'x' (MatMul): message".
static Error describe(Operation *op, const std::string &message) {
  return Error{"node '" + onnx::getNodeName(op).str() + "' (" +
               onnx::getOperatorName(op).str() + "): " + message};
}

void GraphRun::dropUse(Value value) {
  auto it =
      remaining
          .try_emplace(value, std::distance(value.use_begin(), value.use_end()))
          .first;
  if (--it->second == 0)
    values.erase(value);
}

Result<std::vector<Tensor>> GraphRun::evaluate(Operation *op) {
  if (auto constant = dyn_cast<onnx::ConstantOp>(op)) {
    Result<Tensor> value = readConstant(reader, constant);
    if (!value)
      return Error{value.message()};
    return std::vector<Tensor>{*value};
  }
  if (isa<onnx::NoneOp>(op))
    return std::vector<Tensor>{Tensor()};
  if (auto branch = dyn_cast<onnx::IfOp>(op)) {
    const Tensor &condition = values[branch.getCondition()];
    if (condition.type() != ElementType::Bool || condition.numElements() != 1)
      return Error{"needs one boolean as its condition"};
    return run(branch.getRegion(condition.data<uint8_t>()[0] ? 0 : 1).front());
  }
  if (isa<onnx::CustomOp>(op))
    return Error{"the operator is not supported"};
  SmallVector<const Tensor *> inputs;
  for (Value operand : op->getOperands()) {
    const Tensor &tensor = values[operand];
    inputs.push_back(tensor ? &tensor : nullptr);
  }
  return evaluator.evaluate(op, inputs);
}

Result<std::vector<Tensor>> GraphRun::run(Block &block) {
  for (Operation &op : block.without_terminator()) {
    Result<std::vector<Tensor>> results = evaluate(&op);
    if (!results)
      return describe(&op, results.message());
    for (auto [result, tensor] : llvm::zip_equal(op.getResults(), *results))
      if (!result.use_empty())
        values[result] = std::move(tensor);
    for (Value operand : op.getOperands())
      dropUse(operand);
  }
  std::vector<Tensor> outputs;
  for (Value value : block.getTerminator()->getOperands())
    outputs.push_back(values[value]);
  return outputs;
}

Result<std::vector<Tensor>> llq::evaluateGraph(func::FuncOp graph,
                                               WeightReader &reader,
                                               ArrayRef<Tensor> inputs,
                                               bool widenHalf) {
  if (inputs.size() != graph.getNumArguments())
    return Error{"the graph has " + std::to_string(graph.getNumArguments()) +
                 " inputs, given are " + std::to_string(inputs.size())};
  GraphRun run(graph, reader, widenHalf);
  for (auto [argument, tensor] : llvm::zip_equal(graph.getArguments(), inputs))
    run.values[argument] = tensor;
  return run.run(graph.front());
}
