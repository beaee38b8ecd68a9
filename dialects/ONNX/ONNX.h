//===- ONNX.h - The onnx dialect --------------------------------*- C++ -*-===//
//
// The one header that users of the dialect include.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef DIALECTS_ONNX_ONNX_H
#define DIALECTS_ONNX_ONNX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace llq::onnx {

/// Function attribute: dictionary of domain to the version that the model
/// imports. The standard domain is "ai.onnx".
inline constexpr llvm::StringLiteral kOpsetsAttr = "onnx.opsets";
/// Argument and result attributes: the name of a graph input or output, and an
/// array of the names (strings) or sizes (integers) of its dimensions.
inline constexpr llvm::StringLiteral kNameAttr = "onnx.name";
inline constexpr llvm::StringLiteral kDimsAttr = "onnx.dims";

/// The standard domain and that of onnxruntime's operators.
inline constexpr llvm::StringLiteral kStandardDomain = "ai.onnx";
inline constexpr llvm::StringLiteral kContribDomain = "com.microsoft";

/// Domain of the operator that `op` stands for; "ai.onnx" for standard ones.
llvm::StringRef getDomain(mlir::Operation *op);
/// Name of the operator, e.g. "MatMul".
llvm::StringRef getOperatorName(mlir::Operation *op);
/// Name of the operation for an operator, or "" if the dialect has none.
std::string getOperationName(mlir::MLIRContext *context, llvm::StringRef domain,
                             llvm::StringRef operatorName);
/// Name of the ONNX node that `op` was imported from; "" if it has none.
llvm::StringRef getNodeName(mlir::Operation *op);
/// Name of the ONNX node in a location; "" if it has none.
llvm::StringRef getNodeName(mlir::Location location);

} // namespace llq::onnx

#include "dialects/ONNX/ONNXDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/ONNX/ONNXTypes.h.inc"

#define GET_OP_CLASSES
#include "dialects/ONNX/ONNXOps.h.inc"

#endif // DIALECTS_ONNX_ONNX_H
