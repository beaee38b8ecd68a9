//===- ONNXDialect.td - The import boundary ----------------*- tablegen -*-===//
//
// Name and overview of the onnx dialect; opens the generated reference.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef ONNX_DIALECT_TD
#define ONNX_DIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"

def ONNX_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::llq::onnx";
  let summary = "ONNX graphs as they are imported";
  let description = [{
    The `onnx` dialect holds an ONNX graph one to one, before it is raised to the
    `llq` dialect. An operation is named for its ONNX operator (`onnx.MatMul`,
    those of onnxruntime's `com.microsoft` domain `onnx.contrib.MatMulNBits`); an
    operator that is not listed here becomes `onnx.Custom`, so that an error about
    it can name it. The dialect knows how many inputs and outputs an operator has;
    what it computes is defined by the ONNX specification and by the reference
    interpreter.

    - ONNX attributes are attributes of the operation under their own names:
      integers are `i64`, floats `f32`, lists `array<i64: ...>` and
      `array<f32: ...>`, tensors `dense` or `dense_resource`.
    - An absent optional input is the result of `onnx.None`.
    - The name of a node is the name of its location; initializers carry theirs.
    - `onnx.opsets` on the function says which version of each domain the model
      imports; `onnx.name` and `onnx.dims` on arguments and results are the names
      of the graph's inputs and outputs and of their dimensions.
  }];
  let useDefaultTypePrinterParser = 1;
  let extraClassDeclaration = [{
    void registerTypes();
  }];
}

def ONNX_UnknownType : TypeDef<ONNX_Dialect, "Unknown"> {
  let mnemonic = "unknown";
  let summary = "Element type of a tensor about which the graph says nothing";
  let description = [{
    ONNX graphs need not state the types of intermediate values.

    ```mlir
    tensor<*x!onnx.unknown>
    ```
  }];
}

#endif // ONNX_DIALECT_TD
