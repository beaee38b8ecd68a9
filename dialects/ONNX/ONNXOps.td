//===- ONNXOps.td - ONNX operators ------------------------*- tablegen -*-===//
//
// The operators that exports of LLaMA-family models use, by family. Adding one
// is adding its name to a list.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ONNX_OPS_TD
#define ONNX_OPS_TD

include "ONNXDialect.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def ONNX_Value : AnyTypeOf<[AnyTensor, NoneType]>;

//===----------------------------------------------------------------------===//
// Ops with a meaning of their own
//===----------------------------------------------------------------------===//

def ONNX_NoneOp : Op<ONNX_Dialect, "None", [Pure]> {
  let summary = "An absent optional input";
  let description = [{
    ```mlir
    %none = onnx.None
    ```
  }];
  let results = (outs NoneType:$result);
  let assemblyFormat = "attr-dict";
  let builders = [OpBuilder<(ins), [{
    build($_builder, $_state, $_builder.getNoneType());
  }]>];
}

def ONNX_ConstantOp : Op<ONNX_Dialect, "Constant", [Pure]> {
  let summary = "An initializer or the value of a Constant node";
  let description = [{
    `value` is a `dense` attribute (few elements), a resource blob or, for
    external data, `#llq.external`. Elements narrower than a byte are stored as
    ONNX stores them, two or four to a byte in row-major order, low bits first:
    `value` is then a vector of bytes.

    ```mlir
    %w = onnx.Constant "norm.weight" dense<1.0> : tensor<4xf32> -> tensor<4xf32>
    ```
  }];
  let arguments = (ins OptionalAttr<StrAttr>:$name, TypedAttrInterface:$value);
  let results = (outs AnyStaticShapeTensor:$result);
  let assemblyFormat = "($name^)? attr-dict $value `->` type($result)";
  let hasVerifier = 1;
}

def ONNX_CustomOp : Op<ONNX_Dialect, "Custom", [MemoryEffects<[]>]> {
  let summary = "An operator that the dialect does not know";
  let description = [{
    Keeps the operator's name so that an error can say what cannot be raised.

    ```mlir
    %y = onnx.Custom "my.domain" "Rotary" (%x) : (tensor<?xf32>) -> tensor<?xf32>
    ```
  }];
  let arguments = (ins StrAttr:$domain, StrAttr:$op_type,
                       Variadic<ONNX_Value>:$inputs);
  let results = (outs Variadic<ONNX_Value>:$outputs);
  let assemblyFormat = [{
    $domain $op_type `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs)
  }];
}

def ONNX_IfOp : Op<ONNX_Dialect, "If", [RecursiveMemoryEffects,
    NoRegionArguments, SingleBlock]> {
  let summary = "One of two subgraphs";
  let description = [{
    The branches use values of the surrounding graph directly.

    ```mlir
    %y = onnx.If %c : (tensor<i1>) -> tensor<?xf32> {
      onnx.Yield %a : tensor<?xf32>
    } else {
      onnx.Yield %b : tensor<?xf32>
    }
    ```
  }];
  let arguments = (ins AnyTensor:$condition);
  let results = (outs Variadic<ONNX_Value>:$outputs);
  let regions = (region SizedRegion<1>:$thenBranch, SizedRegion<1>:$elseBranch);
  let assemblyFormat = [{
    $condition attr-dict `:` functional-type($condition, $outputs) $thenBranch `else` $elseBranch
  }];
  let hasVerifier = 1;
}

def ONNX_YieldOp : Op<ONNX_Dialect, "Yield", [Pure, Terminator, ReturnLike,
    ParentOneOf<["IfOp"]>]> {
  let summary = "Outputs of a subgraph";
  let arguments = (ins Variadic<ONNX_Value>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
}

//===----------------------------------------------------------------------===//
// Operators
//===----------------------------------------------------------------------===//

/// An ONNX operator with `minInputs` to `maxInputs` inputs and at most
/// `maxOutputs` outputs.
class ONNX_Operator<string operator, int minInputs, int maxInputs,
                    int maxOutputs = 1, string prefix = "">
    : Op<ONNX_Dialect, prefix # operator, [Pure]> {
  let summary = "The " # !if(!empty(prefix), "ONNX", "onnxruntime") #
                " operator " # operator;
  let arguments = (ins Variadic<ONNX_Value>:$inputs);
  let results = (outs Variadic<ONNX_Value>:$outputs);
  let assemblyFormat = [{
    `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs)
  }];
  let hasVerifier = 1;
  let extraClassDefinition = [{
    ::llvm::LogicalResult $cppClass::verify() {
      return verifyOperator(*this, }] # minInputs # ", " # maxInputs # ", " #
                                        maxOutputs # [{);
    }
  }];
}

/// Bound for operators that take any number of inputs or outputs.
defvar any = 1024;

// One input, elementwise.
foreach name = ["Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh",
    "BitwiseNot", "Cast", "Ceil", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
    "LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg", "Not", "Reciprocal",
    "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus",
    "Sqrt", "Swish", "Tan", "Tanh"] in
  def ONNX_#name#Op : ONNX_Operator<name, 1, 1>;

// Two inputs, elementwise with broadcasting.
foreach name = ["Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
    "CastLike", "Div", "Equal", "Greater", "GreaterOrEqual", "Less",
    "LessOrEqual", "Mod", "Mul", "Or", "Pow", "Sub", "Xor"] in
  def ONNX_#name#Op : ONNX_Operator<name, 2, 2>;

// Any number of inputs, elementwise.
foreach name = ["Max", "Mean", "Min", "Sum"] in
  def ONNX_#name#Op : ONNX_Operator<name, 1, any>;
def ONNX_WhereOp : ONNX_Operator<"Where", 3, 3>;
def ONNX_ClipOp : ONNX_Operator<"Clip", 1, 3>;

// Shapes.
foreach name = ["ConstantOfShape", "Flatten", "NonZero", "Shape", "Size",
    "Transpose"] in
  def ONNX_#name#Op : ONNX_Operator<name, 1, 1>;
foreach name = ["Expand", "Gather", "GatherElements", "GatherND", "Reshape",
    "Tile"] in
  def ONNX_#name#Op : ONNX_Operator<name, 2, 2>;
foreach name = ["Squeeze", "Unsqueeze", "Trilu"] in
  def ONNX_#name#Op : ONNX_Operator<name, 1, 2>;
foreach name = ["OneHot", "Range", "Scatter", "ScatterElements", "ScatterND"] in
  def ONNX_#name#Op : ONNX_Operator<name, 3, 3>;
def ONNX_ConcatOp : ONNX_Operator<"Concat", 1, any>;
def ONNX_DropoutOp : ONNX_Operator<"Dropout", 1, 3, 2>;
def ONNX_PadOp : ONNX_Operator<"Pad", 1, 4>;
def ONNX_SliceOp : ONNX_Operator<"Slice", 1, 5>;
def ONNX_SplitOp : ONNX_Operator<"Split", 1, 2, any>;
def ONNX_TensorScatterOp : ONNX_Operator<"TensorScatter", 2, 3>;

// Reductions.
foreach name = ["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare"] in
  def ONNX_#name#Op : ONNX_Operator<name, 1, 2>;
foreach name = ["ArgMax", "ArgMin"] in
  def ONNX_#name#Op : ONNX_Operator<name, 1, 1>;
def ONNX_CumSumOp : ONNX_Operator<"CumSum", 2, 2>;
def ONNX_TopKOp : ONNX_Operator<"TopK", 1, 2, 2>;

// Linear algebra and transformers.
def ONNX_EinsumOp : ONNX_Operator<"Einsum", 1, any>;
def ONNX_GemmOp : ONNX_Operator<"Gemm", 2, 3>;
def ONNX_MatMulOp : ONNX_Operator<"MatMul", 2, 2>;
def ONNX_MatMulIntegerOp : ONNX_Operator<"MatMulInteger", 2, 4>;
def ONNX_AttentionOp : ONNX_Operator<"Attention", 3, 7, 4>;
def ONNX_LayerNormalizationOp : ONNX_Operator<"LayerNormalization", 2, 3, 3>;
def ONNX_RMSNormalizationOp : ONNX_Operator<"RMSNormalization", 2, 2>;
def ONNX_RotaryEmbeddingOp : ONNX_Operator<"RotaryEmbedding", 3, 4>;
// Of onnxruntime, although in the standard domain.
def ONNX_SimplifiedLayerNormalizationOp
    : ONNX_Operator<"SimplifiedLayerNormalization", 2, 3, 3>;

// Quantization.
def ONNX_DequantizeLinearOp : ONNX_Operator<"DequantizeLinear", 2, 3>;
def ONNX_DynamicQuantizeLinearOp
    : ONNX_Operator<"DynamicQuantizeLinear", 1, 1, 3>;
def ONNX_QuantizeLinearOp : ONNX_Operator<"QuantizeLinear", 2, 3>;

// Domain com.microsoft.
class ONNX_Contrib<string operator, int minInputs, int maxInputs,
                   int maxOutputs = 1>
    : ONNX_Operator<operator, minInputs, maxInputs, maxOutputs, "contrib.">;
foreach name = ["Gelu", "QuickGelu"] in
  def ONNX_Contrib#name#Op : ONNX_Contrib<name, 1, 1>;
foreach name = ["BiasGelu", "FastGelu", "Trilu"] in
  def ONNX_Contrib#name#Op : ONNX_Contrib<name, 1, 2>;
foreach name = ["FusedMatMul", "TransposeMatMul"] in
  def ONNX_Contrib#name#Op : ONNX_Contrib<name, 2, 2>;
def ONNX_ContribDequantizeLinearOp : ONNX_Contrib<"DequantizeLinear", 2, 3>;
def ONNX_ContribQuantizeLinearOp : ONNX_Contrib<"QuantizeLinear", 2, 3>;
def ONNX_ContribGatherBlockQuantizedOp
    : ONNX_Contrib<"GatherBlockQuantized", 3, 4>;
def ONNX_ContribGroupQueryAttentionOp
    : ONNX_Contrib<"GroupQueryAttention", 7, 16, 4>;
def ONNX_ContribMatMulNBitsOp : ONNX_Contrib<"MatMulNBits", 3, 6>;
def ONNX_ContribMultiHeadAttentionOp
    : ONNX_Contrib<"MultiHeadAttention", 1, 10, 4>;
def ONNX_ContribRotaryEmbeddingOp : ONNX_Contrib<"RotaryEmbedding", 4, 4>;
def ONNX_ContribSimplifiedLayerNormalizationOp
    : ONNX_Contrib<"SimplifiedLayerNormalization", 2, 3, 3>;
foreach name = ["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"] in
  def ONNX_Contrib#name#Op : ONNX_Contrib<name, 3, 5, 4>;

#endif // ONNX_OPS_TD
