//===- ONNXEvaluator.h - Run onnx ops in the interpreter --------*- C++ -*-===//
//
// The bridge between the onnx dialect and the reference interpreter: constants
// become tensors, operations become interpreter nodes, whole graphs run.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_REFERENCE_ONNXEVALUATOR_H
#define LLQ_REFERENCE_ONNXEVALUATOR_H

#include "dialects/ONNX/ONNX.h"
#include "llq/Interpreter/Interpreter.h"
#include "llq/Support/WeightData.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llq {

/// The interpreter's name of an element type; none if it has none.
std::optional<interp::ElementType> getInterpreterType(mlir::Type type);

/// The value of a constant. Its bytes are borrowed from `reader`, which must
/// outlive the tensor, unless they had to be unpacked or widened.
interp::Result<interp::Tensor> readConstant(WeightReader &reader,
                                            onnx::ConstantOp constant);

/// Runs single operations of one imported graph.
class ONNXEvaluator {
public:
  /// Tensors are evaluated with half precision widened to f32 if `widenHalf`.
  ONNXEvaluator(mlir::func::FuncOp graph, bool widenHalf);

  /// Version of the operator set that `op` belongs to; 0 if the model does not
  /// import its domain.
  int64_t getOpset(mlir::Operation *op) const;

  /// The attributes of `op` as the interpreter takes them.
  interp::Result<interp::Attributes> getAttributes(mlir::Operation *op) const;

  /// Evaluates `op`; null inputs are absent ones. The result has a tensor for
  /// each result of `op`.
  interp::Result<std::vector<interp::Tensor>>
  evaluate(mlir::Operation *op,
           llvm::ArrayRef<const interp::Tensor *> inputs) const;

private:
  llvm::StringMap<int64_t> opsets;
  interp::EvalOptions options;
};

/// Runs a whole imported graph: `inputs` by argument, the result by output. The
/// message of an error names the node.
interp::Result<std::vector<interp::Tensor>>
evaluateGraph(mlir::func::FuncOp graph, WeightReader &reader,
              llvm::ArrayRef<interp::Tensor> inputs, bool widenHalf);

} // namespace llq

#endif // LLQ_REFERENCE_ONNXEVALUATOR_H
