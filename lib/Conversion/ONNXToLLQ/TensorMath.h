//===- TensorMath.h - Small calculations with tensors -----------*- C++ -*-===//
//
// Thin wrappers over the interpreter for the known parts of a graph.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CONVERSION_ONNXTOLLQ_TENSORMATH_H
#define LLQ_LIB_CONVERSION_ONNXTOLLQ_TENSORMATH_H

#include "llq/Interpreter/Interpreter.h"

#include "llvm/ADT/ArrayRef.h"

#include <initializer_list>

namespace llq::raise {

using interp::ElementType;
using interp::Error;
using interp::Result;
using interp::Shape;
using interp::Tensor;

/// A standard operator of opset 18 with one output.
Result<Tensor> compute(std::string_view opType,
                       std::initializer_list<const Tensor *> inputs,
                       const interp::Attributes &attributes = {});

/// `a op b` with broadcasting; `op` is "Add", "Mul", ...
Result<Tensor> combine(std::string_view op, const Tensor &a, const Tensor &b);

/// The shape of an elementwise operation on both, if they broadcast.
Result<Shape> broadcast(const Shape &a, const Shape &b);

/// `tensor` repeated to `shape`.
Result<Tensor> expand(const Tensor &tensor, const Shape &shape);

/// As f32.
Result<Tensor> toFloat(const Tensor &tensor);

/// Whether all elements of an f32 tensor are `value`.
bool isAll(const Tensor &tensor, float value);

/// The value of an f32 tensor whose elements are all the same.
std::optional<float> getUniform(const Tensor &tensor);

/// An i64 tensor of `shape`; the values must fill it.
Tensor makeInts(Shape shape, llvm::ArrayRef<int64_t> values);
Tensor makeFloats(Shape shape, llvm::ArrayRef<float> values);

/// Product of the dimensions.
int64_t countElements(const Shape &shape);

/// `[2, 3]`.
using interp::toString;

} // namespace llq::raise

#endif // LLQ_LIB_CONVERSION_ONNXTOLLQ_TENSORMATH_H
