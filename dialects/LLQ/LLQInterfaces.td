//===- LLQInterfaces.td - What a storage format must answer -*- tablegen -*-===//
//
// The seam between methods, formats and targets: a method produces components,
// a format says which they are and decodes them in plain loops, a target packs
// and decodes them in kernels through interfaces of its own.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_INTERFACES_TD
#define LLQ_INTERFACES_TD

include "mlir/IR/OpBase.td"

def LLQ_WeightFormatInterface : AttrInterface<"WeightFormatInterface"> {
  let cppNamespace = "::llq";
  let description = [{
    A way to store a weight matrix `w[N,K]` in few bits: which component arrays
    there are, what they cost, and how a value is recovered from them. The
    decode here is the reference: plain loops, used to judge every kernel.
  }];
  let methods = [
    InterfaceMethod<[{
        Checks that a matrix of `n` rows and `k` columns can be stored; emits one
        error otherwise.
      }],
      "::llvm::LogicalResult", "verifyShape",
      (ins "::llvm::function_ref<::mlir::InFlightDiagnostic()>":$emitError,
           "int64_t":$n, "int64_t":$k)>,
    InterfaceMethod<[{
        The component arrays of a matrix `w[n,k]`, in storage order: name, shape
        and element type of each. Every stored byte is in one of them, so that
        bits per weight can be computed from them alone.
      }],
      "::llvm::SmallVector<::llq::WeightComponent>", "getComponents",
      (ins "int64_t":$n, "int64_t":$k)>,
    InterfaceMethod<[{
        Whether arrays of the right sizes can be decoded; the error continues a
        sentence that names the weight. `data` is in the order of
        `getComponents`.
      }],
      "::llvm::Error", "verifyContents",
      (ins "::llvm::ArrayRef<::llvm::ArrayRef<char>>":$data, "int64_t":$n,
           "int64_t":$k), "", [{ return ::llvm::Error::success(); }]>,
    InterfaceMethod<[{
        Decodes rows `[rowBegin, rowEnd)` to `out[rowEnd - rowBegin, k]`. `data`
        holds the bytes of each component, in the order of `getComponents`, and
        has been verified.
      }],
      "void", "dequantizeRows",
      (ins "::llvm::ArrayRef<::llvm::ArrayRef<char>>":$data, "int64_t":$n,
           "int64_t":$k, "int64_t":$rowBegin, "int64_t":$rowEnd, "float *":$out)>,
    InterfaceMethod<[{
        Whether row `i` of the matrix is decoded from row `i` of each component
        that has rows, and those that have none, so that rows may be put in
        another order.
      }],
      "bool", "hasIndependentRows", (ins), "", [{ return false; }]>,
    InterfaceMethod<[{
        The format without numbers that the contents of one matrix decide and that
        no kernel has to know: matrices for which it is the same can share a
        kernel.
      }],
      "::mlir::Attribute", "getKernelFormat", (ins), "", [{ return $_attr; }]>,
    InterfaceMethod<[{
        The format that a matrix of `to` rows has if one of `from` rows of its kind
        has this one.
      }],
      "::mlir::Attribute", "withRows", (ins "int64_t":$from, "int64_t":$to), "",
      [{ return $_attr; }]>,
    InterfaceMethod<[{
        Whether its numbers, the components of floating-point type, can be
        trained. If so, adds derivatives to `gradients`, an array as long as the
        component for each of these components: those that follow from
        `gradient[rowEnd - rowBegin, k]`, the derivatives of the same function by
        the weights of rows `[rowBegin, rowEnd)`. Numbers of other rows are left
        alone. Codes count as constants; but if `source` is not null, they are
        those of encodeRows for the weights `source[rowEnd - rowBegin, k]`, and
        grids of equal steps may take rounding for the identity (straight-through).
      }],
      "bool", "differentiateRows",
      (ins "::llvm::ArrayRef<::llvm::ArrayRef<char>>":$data, "int64_t":$n,
           "int64_t":$k, "int64_t":$rowBegin, "int64_t":$rowEnd,
           "const float *":$gradient, "const float *":$source,
           "::llvm::ArrayRef<::llvm::MutableArrayRef<float>>":$gradients), "",
      [{ return false; }]>,
    InterfaceMethod<[{
        Whether codes can be chosen for given numbers. If so, writes those of rows
        `[rowBegin, rowEnd)` to `codes`, an array as long as component 0: what
        decodes to the nearest of `weights[rowEnd - rowBegin, k]`. Other components
        are those of `data`.
      }],
      "bool", "encodeRows",
      (ins "::llvm::ArrayRef<::llvm::ArrayRef<char>>":$data, "int64_t":$n,
           "int64_t":$k, "int64_t":$rowBegin, "int64_t":$rowEnd,
           "const float *":$weights, "::llvm::MutableArrayRef<char>":$codes), "",
      [{ return false; }]>,
  ];
  let extraClassDeclaration = [{
    /// Bytes of all components of a matrix w[n,k].
    int64_t getBytes(int64_t n, int64_t k);
  }];
  let extraSharedClassDeclaration = [{
    /// Stored bits per weight of a matrix w[n,k], from its bytes.
    double getBitsPerWeight(int64_t n, int64_t k) {
      return 8.0 * $_attr.getBytes(n, k) / (double(n) * double(k));
    }
  }];
}

#endif // LLQ_INTERFACES_TD
