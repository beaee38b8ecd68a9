//===- GraphImporter.cpp - GraphProto to onnx ops -------------------------===//
//
// Inputs, initializers, outputs and types of a graph; nodes are in
// NodeImporter.cpp.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "GraphImporter.h"

#include "dialects/LLQ/LLQ.h"
#include "llq/Import/ONNX.h"

#include "mlir/IR/Verifier.h"
#include "llvm/Support/Path.h"

using namespace mlir;

// Inside the namespace `onnx` is the dialect, `::onnx` the protobuf classes.
namespace llq {

GraphImporter::GraphImporter(MLIRContext *context, StringRef path,
                             ::onnx::ModelProto &model)
    : context(context), builder(context),
      fileLocation(FileLineColLoc::get(context, path, 0, 0)), model(model),
      tensors(context, path) {}

InFlightDiagnostic GraphImporter::emitError() {
  return mlir::emitError(fileLocation);
}

Location GraphImporter::getLocation(StringRef name, const Call *call) {
  std::string full = call ? call->prefix + name.str() : name.str();
  if (full.empty())
    return fileLocation;
  return NameLoc::get(builder.getStringAttr(full), fileLocation);
}

Value GraphImporter::Scope::find(StringRef name) const {
  for (const Scope *scope = this; scope; scope = scope->parent)
    if (Value value = scope->values.lookup(name))
      return value;
  return {};
}

LogicalResult GraphImporter::define(Scope &scope, StringRef name, Value value,
                                    const Twine &what) {
  if (name.empty())
    return emitError() << what << " has no name";
  if (!scope.values.try_emplace(name, value).second)
    return emitError() << what << " '" << name
                       << "' has a name that is taken already";
  return success();
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

/// The type that `type` declares, or null if it is not a tensor or names an
/// element type that is not supported.
Type GraphImporter::getValueType(const ::onnx::TypeProto &type) {
  if (!type.has_tensor_type())
    return {};
  Type element = getElementType(context, type.tensor_type().elem_type());
  if (!element)
    return {};
  if (!type.tensor_type().has_shape())
    return UnrankedTensorType::get(element);
  SmallVector<int64_t> shape;
  for (const auto &dim : type.tensor_type().shape().dim())
    shape.push_back(dim.has_dim_value() && dim.dim_value() >= 0
                        ? dim.dim_value()
                        : ShapedType::kDynamic);
  return RankedTensorType::get(shape, element);
}

/// Names or sizes of the dimensions of `type`.
static ArrayAttr getDims(Builder &b, const ::onnx::TypeProto &type) {
  SmallVector<Attribute> dims;
  for (const auto &dim : type.tensor_type().shape().dim()) {
    if (dim.has_dim_value())
      dims.push_back(b.getI64IntegerAttr(dim.dim_value()));
    else
      dims.push_back(b.getStringAttr(dim.dim_param()));
  }
  return b.getArrayAttr(dims);
}

//===----------------------------------------------------------------------===//
// The graph
//===----------------------------------------------------------------------===//

LogicalResult GraphImporter::collectOpsets() {
  for (const auto &opset : model.opset_import()) {
    StringRef domain = opset.domain().empty() ? StringRef(onnx::kStandardDomain)
                                              : StringRef(opset.domain());
    int64_t &version = opsets[domain];
    version = std::max(version, opset.version());
  }
  // Files of the first IR versions do not say; the standard domain began at 1.
  opsets.try_emplace(onnx::kStandardDomain, 1);
  return success();
}

LogicalResult GraphImporter::collectFunctions() {
  for (const ::onnx::FunctionProto &function : model.functions()) {
    std::string key = function.domain() + '\0' + function.name();
    if (!functions.try_emplace(key, &function).second)
      return emitError() << "function '" << function.name()
                         << "' is defined twice";
    // Defaults of attributes came after the schema that libonnx has.
    const auto *reflection = function.GetReflection();
    const auto &unknown = reflection->GetUnknownFields(function);
    for (int i = 0; i < unknown.field_count(); ++i) {
      const auto &field = unknown.field(i);
      if (field.number() != proto::kFunctionAttributeField ||
          field.type() != google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED)
        continue;
      ::onnx::AttributeProto attribute;
      if (!attribute.ParseFromString(field.length_delimited()))
        return emitError() << "function '" << function.name()
                           << "' has a damaged attribute";
      functionDefaults[&function].push_back(std::move(attribute));
    }
  }
  return success();
}

LogicalResult GraphImporter::importInputs(func::FuncOp function, Scope &scope) {
  const ::onnx::GraphProto &graph = model.graph();
  // Files of IR version 3 list initializers among the inputs as well.
  llvm::StringSet<> initializers;
  for (const ::onnx::TensorProto &tensor : graph.initializer())
    initializers.insert(tensor.name());
  for (const ::onnx::ValueInfoProto &input : graph.input()) {
    if (initializers.contains(input.name()))
      continue;
    Type type = getValueType(input.type());
    if (!type)
      return emitError() << "graph input '" << input.name()
                         << "' is not a tensor of a supported type";
    unsigned index = function.getNumArguments();
    DictionaryAttr attrs = builder.getDictionaryAttr(
        {builder.getNamedAttr(onnx::kNameAttr,
                              builder.getStringAttr(input.name())),
         builder.getNamedAttr(onnx::kDimsAttr,
                              getDims(builder, input.type()))});
    if (failed(function.insertArgument(index, type, attrs,
                                       getLocation(input.name(), nullptr))))
      return emitError() << "graph input '" << input.name()
                         << "' cannot be imported";
    if (failed(define(scope, input.name(), function.getArgument(index),
                      "graph input")))
      return failure();
  }
  return success();
}

LogicalResult GraphImporter::importInitializers(::onnx::GraphProto &graph,
                                                Scope &scope) {
  if (graph.sparse_initializer_size())
    return emitError() << "the graph has sparse initializers, which are not "
                          "supported";
  for (::onnx::TensorProto &tensor : *graph.mutable_initializer()) {
    FailureOr<ImportedTensor> imported =
        tensors.import(tensor, "initializer '" + tensor.name() + "'",
                       [&] { return emitError(); });
    if (failed(imported))
      return failure();
    auto constant = onnx::ConstantOp::create(
        builder, getLocation(tensor.name(), nullptr), imported->type,
        builder.getStringAttr(tensor.name()), imported->value);
    if (failed(define(scope, tensor.name(), constant, "initializer")))
      return failure();
  }
  return success();
}

LogicalResult GraphImporter::importOutputs(func::FuncOp function,
                                           Scope &scope) {
  SmallVector<Value> values;
  SmallVector<DictionaryAttr> attrs;
  for (const ::onnx::ValueInfoProto &output : model.graph().output()) {
    Value value = scope.find(output.name());
    if (!value)
      return emitError() << "graph output '" << output.name()
                         << "' is not computed by any node";
    values.push_back(value);
    attrs.push_back(builder.getDictionaryAttr(
        {builder.getNamedAttr(onnx::kNameAttr,
                              builder.getStringAttr(output.name())),
         builder.getNamedAttr(onnx::kDimsAttr,
                              getDims(builder, output.type()))}));
  }
  if (values.empty())
    return emitError() << "the graph has no outputs";
  func::ReturnOp::create(builder, fileLocation, values);
  function.setFunctionType(builder.getFunctionType(
      function.getArgumentTypes(), ValueRange(values).getTypes()));
  function.setAllResultAttrs(attrs);
  return success();
}

FailureOr<OwningOpRef<ModuleOp>> GraphImporter::import() {
  if (!model.has_graph())
    return emitError() << "the file holds no graph: it is not an ONNX model or "
                          "it is damaged";
  ::onnx::GraphProto &graph = *model.mutable_graph();
  if (failed(collectOpsets()) || failed(collectFunctions()))
    return failure();
  for (const auto *values :
       {&graph.value_info(), &graph.output(), &graph.input()})
    for (const ::onnx::ValueInfoProto &value : *values)
      if (Type type = getValueType(value.type()))
        declaredTypes[value.name()] = type;

  OwningOpRef<ModuleOp> module = ModuleOp::create(fileLocation);
  builder.setInsertionPointToStart(module->getBody());
  auto function = func::FuncOp::create(builder, fileLocation, kGraphName,
                                       builder.getFunctionType({}, {}));
  builder.setInsertionPointToStart(function.addEntryBlock());
  Scope scope;
  if (failed(importInputs(function, scope)) ||
      failed(importInitializers(graph, scope)) ||
      failed(importNodes(*graph.mutable_node(), scope, nullptr)) ||
      failed(importOutputs(function, scope)))
    return failure();

  SmallVector<NamedAttribute> versions;
  for (const auto &opset : opsets)
    versions.push_back(builder.getNamedAttr(
        opset.first(), builder.getI64IntegerAttr(opset.second)));
  function->setAttr(onnx::kOpsetsAttr, builder.getDictionaryAttr(versions));
  (*module)->setAttr(
      kSourceAttr,
      builder.getDictionaryAttr(
          {builder.getNamedAttr("format", builder.getStringAttr("onnx")),
           builder.getNamedAttr(
               "producer", builder.getStringAttr(model.producer_name()))}));
  if (failed(mlir::verify(*module)))
    return failure();
  return module;
}

} // namespace llq
