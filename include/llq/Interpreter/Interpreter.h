//===- Interpreter.h - Evaluate ONNX operators -----------------*- C++ -*-===//
//
// The reference interpreter of ONNX operators: the judge of numbers for tests
// and cross-checks, and the engine that folds shape arithmetic during import.
// It favours exactness over speed, but a 135 M parameter graph over a few
// dozen tokens takes seconds.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_INTERPRETER_INTERPRETER_H
#define LLQ_INTERPRETER_INTERPRETER_H

#include "llq/Interpreter/Tensor.h"

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace llq::interp {

/// The value of a node attribute. Graph-valued attributes do not exist here.
using Attribute =
    std::variant<int64_t, float, std::string, Tensor, std::vector<int64_t>,
                 std::vector<float>, std::vector<std::string>>;

/// Attributes by name.
using Attributes = std::map<std::string, Attribute, std::less<>>;

/// One node to evaluate.
struct Node {
  /// "" and "ai.onnx" are the standard operators.
  std::string_view domain;
  std::string_view opType;
  /// Version of the operator set of `domain` that the model imports.
  int64_t opset = 0;
  /// Operands in order; null where an optional one is absent.
  std::span<const Tensor *const> inputs;
  const Attributes *attributes = nullptr;
  /// Outputs that the node declares, counted up to the last one with a name.
  unsigned numOutputs = 1;
};

/// How to evaluate.
struct EvalOptions {
  /// A result (each output on its own) above this is an error. Constant
  /// folding sets it low, so that a splat is not blown up.
  int64_t maxResultBytes = int64_t(16) << 30;
  /// Treat f16 and bf16 as f32 throughout: inputs are widened, and operators
  /// asked for a half-precision result give an f32 one. This is the reference
  /// for a half-precision graph that a compiler runs in f32.
  bool widenHalf = false;
};

/// Evaluates one node. Otherwise half-precision operators compute in f32 or
/// better and round once to the type of the result. Integers wrap around;
/// conversions from floating point to integers saturate, NaN gives 0. An
/// output that the operator does not produce in inference is a null tensor.
///
/// Errors name the operator and what was found and needed: an unknown
/// operator, version, attribute or attribute value, an absent input, types or
/// shapes that do not fit, an index out of range, an oversized result.
///
/// Operators of the standard domain:
///   elementwise     Abs Acos Acosh Add And Asin Asinh Atan Atanh BitwiseAnd
///                   BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Clip
///                   Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater
///                   GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu
///                   Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or
///                   Pow Reciprocal Relu Round Sigmoid Sign Sin Sinh Softplus
///                   Sqrt Sub Sum Swish Tan Tanh Where Xor
///   shape           Constant ConstantOfShape Dropout (inference) Expand
///                   Flatten Identity Range Reshape Shape Size Squeeze
///                   Unsqueeze
///   movement        Concat Gather GatherElements GatherND OneHot NonZero Pad
///                   Scatter ScatterElements ScatterND Slice Split
///                   TensorScatter Tile Transpose Trilu
///   reduction       ArgMax ArgMin CumSum LogSoftmax ReduceL1 ReduceL2
///                   ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
///                   ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax
///                   TopK
///   linear algebra  Einsum Gemm MatMul MatMulInteger
///   transformer     Attention LayerNormalization RMSNormalization
///                   RotaryEmbedding SimplifiedLayerNormalization
///   quantization    DequantizeLinear DynamicQuantizeLinear QuantizeLinear
/// and of com.microsoft: BiasGelu DequantizeLinear FastGelu FusedMatMul
/// GatherBlockQuantized Gelu GroupQueryAttention MatMulNBits
/// MultiHeadAttention QuantizeLinear QuickGelu RotaryEmbedding
/// SimplifiedLayerNormalization SkipLayerNormalization
/// SkipSimplifiedLayerNormalization TransposeMatMul Trilu.
/// Not covered: strings, sequences, complex, float8 and float4 types, control
/// flow, and operators that no LLaMA-family export uses.
Result<std::vector<Tensor>> evalNode(const Node &node,
                                     const EvalOptions &options = {});

/// Whether evalNode knows the operator in this version.
bool isSupported(std::string_view domain, std::string_view opType,
                 int64_t opset);

/// An operator of the interpreter and the operator set versions it covers.
struct OperatorInfo {
  std::string_view domain;
  std::string_view opType;
  int64_t firstOpset;
  int64_t lastOpset;
};

/// All operators, sorted by domain and name.
std::vector<OperatorInfo> supportedOperators();

} // namespace llq::interp

#endif // LLQ_INTERPRETER_INTERPRETER_H
