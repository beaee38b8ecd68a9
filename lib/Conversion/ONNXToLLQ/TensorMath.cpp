//===- TensorMath.cpp - Small calculations with tensors -------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TensorMath.h"

#include "llvm/ADT/STLExtras.h"

using namespace llq::raise;
namespace interp = llq::interp;

/// The version of the standard operators that wrappers use.
static constexpr int64_t kOpset = 18;

Result<Tensor> llq::raise::compute(std::string_view opType,
                                   std::initializer_list<const Tensor *> inputs,
                                   const interp::Attributes &attributes) {
  interp::Node node;
  node.opType = opType;
  node.opset = kOpset;
  node.inputs = std::span(inputs.begin(), inputs.size());
  node.attributes = &attributes;
  Result<std::vector<Tensor>> results = interp::evalNode(node);
  if (!results)
    return Error{results.message()};
  return std::move((*results)[0]);
}

Result<Tensor> llq::raise::combine(std::string_view op, const Tensor &a,
                                   const Tensor &b) {
  return compute(op, {&a, &b});
}

Result<Shape> llq::raise::broadcast(const Shape &a, const Shape &b) {
  Shape shape(std::max(a.size(), b.size()), 1);
  for (size_t i = 0; i < shape.size(); ++i) {
    // Dimensions count from the last.
    int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1)
      return Error{"shapes " + toString(a) + " and " + toString(b) +
                   " do not broadcast"};
    shape[shape.size() - 1 - i] = x == 1 ? y : x;
  }
  return shape;
}

Result<Tensor> llq::raise::expand(const Tensor &tensor, const Shape &shape) {
  if (tensor.shape() == shape)
    return tensor;
  Tensor target = Tensor::ofInts(shape);
  return compute("Expand", {&tensor, &target});
}

Result<Tensor> llq::raise::toFloat(const Tensor &tensor) {
  if (tensor.type() == ElementType::Float32)
    return tensor;
  interp::Attributes attributes;
  attributes["to"] = int64_t(interp::toONNXDataType(ElementType::Float32));
  return compute("Cast", {&tensor}, attributes);
}

bool llq::raise::isAll(const Tensor &tensor, float value) {
  const float *data = tensor.data<float>();
  return llvm::all_of(llvm::ArrayRef(data, tensor.numElements()),
                      [&](float element) { return element == value; });
}

std::optional<float> llq::raise::getUniform(const Tensor &tensor) {
  if (tensor.numElements() == 0 || !isAll(tensor, tensor.data<float>()[0]))
    return std::nullopt;
  return tensor.data<float>()[0];
}

template <typename T>
static Tensor makeTensor(ElementType type, Shape shape,
                         llvm::ArrayRef<T> values) {
  Result<Tensor> tensor = Tensor::copyRaw(type, std::move(shape), values.data(),
                                          values.size() * sizeof(T));
  assert(tensor && "values must fill the shape");
  return tensor ? *tensor : Tensor();
}

Tensor llq::raise::makeInts(Shape shape, llvm::ArrayRef<int64_t> values) {
  return makeTensor(ElementType::Int64, std::move(shape), values);
}

Tensor llq::raise::makeFloats(Shape shape, llvm::ArrayRef<float> values) {
  return makeTensor(ElementType::Float32, std::move(shape), values);
}

int64_t llq::raise::countElements(const Shape &shape) {
  return llvm::product_of(shape);
}
