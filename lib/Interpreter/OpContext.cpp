//===- OpContext.cpp - What an operator sees of its node ------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "OpContext.h"

#include "Convert.h"

#include <algorithm>

using namespace llq::interp;

/// More axes, sizes or indices than this in one shape-like operand are an
/// error; the largest use is the index list of a long sequence.
constexpr int64_t maxListLength = int64_t(1) << 24;

std::optional<Tensor> OpContext::widened(const Tensor &tensor) {
  Result<Tensor> wide = convert(tensor, computeType(tensor.type()));
  if (!wide)
    return failure(wide.message());
  return *wide;
}

std::optional<std::vector<int64_t>> OpContext::intsOf(const Tensor &tensor,
                                                      std::string_view what) {
  if (!isInteger(tensor.type()) || tensor.rank() > 1)
    return failure(what, " must be a list of integers, found type ",
                   tensor.type(), " and shape ", tensor.shape());
  if (tensor.numElements() > maxListLength)
    return failure(what, " has ", tensor.numElements(), " entries");
  return *tensor.toInts();
}

std::optional<int64_t> OpContext::intOf(const Tensor &tensor,
                                        std::string_view what) {
  if (!isInteger(tensor.type()) || tensor.numElements() != 1)
    return failure(what, " must be one integer, found type ", tensor.type(),
                   " and shape ", tensor.shape());
  return (*tensor.toInts())[0];
}

bool OpContext::hasAttribute(std::string_view name) const {
  return node.attributes &&
         node.attributes->find(name) != node.attributes->end();
}

const Attribute *OpContext::attribute(std::string_view name) {
  understood.emplace(name);
  if (!node.attributes)
    return nullptr;
  auto it = node.attributes->find(name);
  return it == node.attributes->end() ? nullptr : &it->second;
}

int64_t OpContext::intAttribute(std::string_view name, int64_t otherwise) {
  const Attribute *value = attribute(name);
  if (!value)
    return otherwise;
  if (const auto *number = std::get_if<int64_t>(value))
    return *number;
  fail("attribute '", name, "' must be an integer");
  return otherwise;
}

float OpContext::floatAttribute(std::string_view name, float otherwise) {
  const Attribute *value = attribute(name);
  if (!value)
    return otherwise;
  if (const auto *number = std::get_if<float>(value))
    return *number;
  fail("attribute '", name, "' must be a float");
  return otherwise;
}

std::string OpContext::stringAttribute(std::string_view name,
                                       std::string_view otherwise) {
  const Attribute *value = attribute(name);
  if (!value)
    return std::string(otherwise);
  if (const auto *text = std::get_if<std::string>(value))
    return *text;
  fail("attribute '", name, "' must be a string");
  return std::string(otherwise);
}

std::optional<std::vector<int64_t>>
OpContext::intsAttribute(std::string_view name) {
  const Attribute *value = attribute(name);
  if (!value)
    return std::nullopt;
  if (const auto *list = std::get_if<std::vector<int64_t>>(value))
    return *list;
  return failure("attribute '", name, "' must be a list of integers");
}

void OpContext::requireAttribute(std::string_view name, int64_t required) {
  int64_t value = intAttribute(name, required);
  if (value != required)
    fail("attribute '", name, "' = ", value, " is not supported, only ",
         required, " is");
}

std::optional<ElementType> OpContext::typeAttribute(std::string_view name) {
  int64_t dataType = intAttribute(name, 0);
  std::optional<ElementType> type = fromONNXDataType(dataType);
  if (!type)
    return failure("attribute '", name, "' = ", dataType,
                   " is not an element type that is supported");
  return options.widenHalf ? computeType(*type) : *type;
}

const std::string *OpContext::unknownAttribute() const {
  if (node.attributes)
    for (const auto &[name, value] : *node.attributes)
      if (!understood.count(name))
        return &name;
  return nullptr;
}

std::optional<int64_t> OpContext::normalizeAxis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank)
    return failure("axis ", axis, " is out of range for rank ", rank);
  return axis < 0 ? axis + rank : axis;
}

std::optional<std::vector<int64_t>>
OpContext::normalizeAxes(const std::vector<int64_t> &axes, int64_t rank) {
  std::vector<int64_t> sorted;
  for (int64_t axis : axes) {
    std::optional<int64_t> normal = normalizeAxis(axis, rank);
    if (!normal)
      return std::nullopt;
    sorted.push_back(*normal);
  }
  std::sort(sorted.begin(), sorted.end());
  auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end())
    return failure("axis ", *twice, " is named twice");
  return sorted;
}

bool OpContext::requireType(const Tensor &tensor, std::string_view what,
                            std::initializer_list<ElementType> types) {
  if (std::find(types.begin(), types.end(), tensor.type()) != types.end())
    return true;
  std::string accepted;
  for (ElementType type : types) {
    accepted += accepted.empty() ? "" : ", ";
    append(accepted, type);
  }
  fail(what, " has type ", tensor.type(), ", need ", accepted);
  return false;
}

bool OpContext::requireFloat(const Tensor &tensor, std::string_view what) {
  if (isFloat(tensor.type()))
    return true;
  fail(what, " has type ", tensor.type(), ", need floating point");
  return false;
}

bool OpContext::requireSameType(const Tensor &a, std::string_view nameA,
                                const Tensor &b, std::string_view nameB) {
  if (a.type() == b.type())
    return true;
  fail(nameA, " and ", nameB, " must have the same type, found ", a.type(),
       " and ", b.type());
  return false;
}

bool OpContext::requireShape(const Tensor &tensor, std::string_view what,
                             const Shape &shape) {
  if (tensor.shape() == shape)
    return true;
  fail(what, " has shape ", tensor.shape(), ", need ", shape);
  return false;
}

bool OpContext::requireRank(const Tensor &tensor, std::string_view what,
                            int64_t rank) {
  if (tensor.rank() == rank)
    return true;
  fail(what, " has shape ", tensor.shape(), ", need rank ", rank);
  return false;
}

std::optional<MutableTensor> OpContext::allocate(ElementType type,
                                                 Shape shape) {
  Result<int64_t> count = countElements(shape);
  if (!count)
    return failure(count.message());
  if (*count > options.maxResultBytes / int64_t(elementSize(type)))
    return failure("a result of shape ", shape, " and type ", type,
                   " is above the limit of ", options.maxResultBytes, " bytes");
  Result<MutableTensor> tensor =
      MutableTensor::allocate(type, std::move(shape));
  if (!tensor)
    return failure(tensor.message());
  return std::move(*tensor);
}

void OpContext::setOutput(unsigned index, Tensor tensor) {
  if (wantsOutput(index))
    outputs[index] = std::move(tensor);
}

void OpContext::setOutputAs(unsigned index, MutableTensor tensor,
                            ElementType type) {
  Result<Tensor> rounded = convert(std::move(tensor).freeze(), type);
  if (!rounded)
    return fail(rounded.message());
  setOutput(index, std::move(*rounded));
}

void OpContext::setReshaped(unsigned index, const Tensor &tensor, Shape shape) {
  Result<Tensor> view = tensor.reshaped(std::move(shape));
  if (!view)
    return fail(view.message());
  setOutput(index, std::move(*view));
}
