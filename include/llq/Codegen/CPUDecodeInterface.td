//===- CPUDecodeInterface.td - Decode recipe of a format ---*- tablegen -*-===//
//
// Attached to format attributes as an external model by the CPU code generator.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CPU_DECODE_INTERFACE_TD
#define LLQ_CPU_DECODE_INTERFACE_TD

include "mlir/IR/OpBase.td"

def LLQ_CPUDecodeInterface : AttrInterface<"CPUDecodeInterface"> {
  let cppNamespace = "::llq";
  let description = [{
    A weight format whose packed tiles CPU kernels can decode.
  }];
  let methods = [
    InterfaceMethod<"The decode recipe for rows of `k` weights.",
      "::std::unique_ptr<::llq::CPUDecoder>", "createDecoder",
      (ins "int64_t":$k)>,
  ];
}

#endif // LLQ_CPU_DECODE_INTERFACE_TD
