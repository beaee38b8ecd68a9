//===- CPULayoutInterface.td - Packed form of a format -----*- tablegen -*-===//
//
// What a weight format must answer to be stored for the CPU target. Attached to
// format attributes as an external model, so that the dialect knows no target.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CPU_LAYOUT_INTERFACE_TD
#define LLQ_CPU_LAYOUT_INTERFACE_TD

include "mlir/IR/OpBase.td"

def LLQ_CPULayoutInterface : AttrInterface<"CPULayoutInterface"> {
  let cppNamespace = "::llq";
  let description = [{
    The packed form of a weight `w[n,k]`: tiles of 16 rows, each a multiple of 64
    bytes, one after another. What is not as long in all tiles is in a tail behind
    all tiles of the buffer.
  }];
  let methods = [
    InterfaceMethod<"Error if the CPU target cannot hold this format.",
      "::llvm::LogicalResult", "verifyCPULayout",
      (ins "::llvm::function_ref<::mlir::InFlightDiagnostic()>":$emitError,
           "int64_t":$k)>,
    InterfaceMethod<"Bytes of one tile of rows of `k` weights.",
      "int64_t", "getTileBytes", (ins "int64_t":$k)>,
    InterfaceMethod<[{
        Packs the tile of rows `[rowBegin, rowBegin + 16)` to `out`, which holds
        `getTileBytes(k)` zero bytes. Rows from `n` on are padding and decode to
        zero. `data` holds the component arrays of the format; the weight's tail
        begins `tail` bytes behind `out`.
      }],
      "void", "packTile",
      (ins "::llvm::ArrayRef<::llvm::ArrayRef<char>>":$data, "int64_t":$n,
           "int64_t":$k, "int64_t":$rowBegin, "int64_t":$tail, "char *":$out)>,
    InterfaceMethod<"Bytes of the tail, a multiple of 64.",
      "int64_t", "getTailBytes", (ins "int64_t":$n, "int64_t":$k), "",
      [{ return 0; }]>,
    InterfaceMethod<[{
        Packs what the tile of rows `[rowBegin, rowBegin + 16)` has in the tail at
        `tail`, which holds zero bytes. Several tiles at a time.
      }],
      "void", "packTail",
      (ins "::llvm::ArrayRef<::llvm::ArrayRef<char>>":$data, "int64_t":$n,
           "int64_t":$k, "int64_t":$rowBegin, "char *":$tail), "", [{ return; }]>,
  ];
}

#endif // LLQ_CPU_LAYOUT_INTERFACE_TD
