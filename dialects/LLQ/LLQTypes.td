//===- LLQTypes.td - Quantized matrices --------------------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TYPES_TD
#define LLQ_TYPES_TD

include "LLQAttrs.td"

def LLQ_QuantizedType : TypeDef<LLQ_Dialect, "Quantized"> {
  let mnemonic = "quantized";
  let summary = "A matrix stored in a quantized format";
  let description = [{
    `shape` is the logical shape: `[N, K]` for a weight, `[?, K]` for activations
    of a dynamic number of tokens. `format` says how it is stored: a weight format
    (an attribute with `WeightFormatInterface`), `#llq.dynamic` or `#llq.static`.

    ```mlir
    !llq.quantized<4096x14336, #llq.uniform<bits = 4, group = 128, zero = int, scale = f16>>
    !llq.quantized<?x4096, #llq.dynamic<bits = 8, group = 32>>
    ```
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape,
                        "::mlir::Attribute":$format);
  let assemblyFormat = "`<` custom<Shape>($shape) `,` $format `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Output features of a weight, or kDynamic for activations.
    int64_t getRows() const { return getShape()[0]; }
    /// Input features, the dimension that groups run along.
    int64_t getColumns() const { return getShape()[1]; }
    bool isActivation() const {
      return ::mlir::ShapedType::isDynamic(getShape()[0]);
    }
  }];
}

#endif // LLQ_TYPES_TD
