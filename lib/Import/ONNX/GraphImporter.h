//===- GraphImporter.h - GraphProto to onnx ops -----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_IMPORT_ONNX_GRAPHIMPORTER_H
#define LLQ_LIB_IMPORT_ONNX_GRAPHIMPORTER_H

#include "TensorImporter.h"

#include "dialects/ONNX/ONNX.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringSet.h"

namespace llq {

/// Builds the function of a model. Every method that can fail has reported
/// exactly one error when it does.
class GraphImporter {
public:
  GraphImporter(mlir::MLIRContext *context, llvm::StringRef path,
                ::onnx::ModelProto &model);

  /// The whole model as a module.
  mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>> import();

private:
  /// Names of values of one graph; inner graphs see those of outer ones.
  struct Scope {
    Scope *parent = nullptr;
    llvm::StringMap<mlir::Value> values;
    mlir::Value find(llvm::StringRef name) const;
  };
  using AttributeMap = llvm::StringMap<const ::onnx::AttributeProto *>;
  /// A function body that is being inlined.
  struct Call {
    const Call *parent = nullptr;
    const ::onnx::FunctionProto *function = nullptr;
    /// Attributes of the call, by name.
    AttributeMap attributes;
    /// Prefix of the names of its nodes.
    std::string prefix;
  };

  mlir::InFlightDiagnostic emitError();
  mlir::Location getLocation(llvm::StringRef name, const Call *call);
  mlir::LogicalResult define(Scope &scope, llvm::StringRef name,
                             mlir::Value value, const llvm::Twine &what);

  mlir::LogicalResult collectFunctions();
  mlir::LogicalResult collectOpsets();
  mlir::Type getValueType(const ::onnx::TypeProto &type);
  mlir::LogicalResult importInputs(mlir::func::FuncOp function, Scope &scope);
  mlir::LogicalResult importInitializers(::onnx::GraphProto &graph,
                                         Scope &scope);
  mlir::LogicalResult importOutputs(mlir::func::FuncOp function, Scope &scope);

  /// Imports nodes in an order in which inputs come before their uses.
  mlir::LogicalResult
  importNodes(::google::protobuf::RepeatedPtrField<::onnx::NodeProto> &nodes,
              Scope &scope, const Call *call);
  mlir::LogicalResult importNode(::onnx::NodeProto &node, Scope &scope,
                                 const Call *call);
  mlir::LogicalResult importConstant(::onnx::NodeProto &node, Scope &scope,
                                     const Call *call);
  mlir::LogicalResult importIf(::onnx::NodeProto &node, Scope &scope,
                               const Call *call);
  mlir::LogicalResult inlineFunction(const ::onnx::FunctionProto &function,
                                     ::onnx::NodeProto &node, Scope &scope,
                                     const Call *call);
  mlir::FailureOr<llvm::SmallVector<mlir::Value>>
  findInputs(const ::onnx::NodeProto &node, Scope &scope, const Call *call);
  llvm::SmallVector<mlir::Type> getOutputTypes(const ::onnx::NodeProto &node);
  mlir::LogicalResult defineOutputs(const ::onnx::NodeProto &node,
                                    mlir::ValueRange values, Scope &scope,
                                    const Call *call);
  /// The attribute that `attribute` stands for within `call`, or null if it
  /// refers to one that the caller does not give.
  const ::onnx::AttributeProto *resolve(const ::onnx::AttributeProto &attribute,
                                        const Call *call);
  mlir::FailureOr<mlir::Attribute>
  importAttribute(const ::onnx::AttributeProto &attribute,
                  llvm::StringRef label);
  std::string describe(const ::onnx::NodeProto &node, const Call *call);

  mlir::MLIRContext *context;
  mlir::OpBuilder builder;
  mlir::Location fileLocation;
  ::onnx::ModelProto &model;
  TensorImporter tensors;
  /// Types that the graph declares for values.
  llvm::StringMap<mlir::Type> declaredTypes;
  /// Model-local functions by "domain\0name" and their attributes' defaults.
  llvm::StringMap<const ::onnx::FunctionProto *> functions;
  llvm::DenseMap<const ::onnx::FunctionProto *,
                 std::vector<::onnx::AttributeProto>>
      functionDefaults;
  llvm::StringMap<int64_t> opsets;
  int64_t numNodes = 0;
};

} // namespace llq

#endif // LLQ_LIB_IMPORT_ONNX_GRAPHIMPORTER_H
