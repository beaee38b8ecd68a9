//===- NodeImporter.cpp - NodeProto to onnx ops ---------------------------===//
//
// Nodes, their attributes, branches of If, and calls of model-local functions,
// which are inlined.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "GraphImporter.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;

// Inside the namespace `onnx` is the dialect, `::onnx` the protobuf classes.
namespace llq {

/// Functions can call functions: a small file could describe a huge graph.
static constexpr int64_t kMaxNodes = 4'000'000;
static constexpr int kMaxCallDepth = 64;
/// Version of an operator's domain where it differs from the model's.
static constexpr llvm::StringLiteral kOpsetAttr = "onnx.opset";

static StringRef getDomainOrStandard(StringRef domain) {
  return domain.empty() ? StringRef(onnx::kStandardDomain) : domain;
}

std::string GraphImporter::describe(const ::onnx::NodeProto &node,
                                    const Call *call) {
  StringRef name = node.name();
  if (name.empty())
    for (const std::string &output : node.output())
      if (name.empty())
        name = output;
  return "node '" + (call ? call->prefix : "") + name.str() + "' (" +
         node.op_type() + ")";
}

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

/// Calls `visit` for the names that `graph` takes from the graphs around it.
/// `bound` are those that a graph between them defines: optimum gives values of
/// both branches of an If the names of its results.
static void forEachFreeName(const ::onnx::GraphProto &graph,
                            llvm::StringSet<> bound,
                            llvm::function_ref<void(StringRef)> visit) {
  for (const auto &initializer : graph.initializer())
    bound.insert(initializer.name());
  for (const ::onnx::NodeProto &node : graph.node())
    for (const std::string &output : node.output())
      bound.insert(output);
  auto use = [&](StringRef name) {
    if (!bound.contains(name))
      visit(name);
  };
  for (const auto &output : graph.output())
    use(output.name());
  for (const ::onnx::NodeProto &node : graph.node()) {
    for (const std::string &input : node.input())
      use(input);
    for (const auto &attribute : node.attribute())
      if (attribute.has_g())
        forEachFreeName(attribute.g(), bound, visit);
  }
}

LogicalResult GraphImporter::importNodes(
    ::google::protobuf::RepeatedPtrField<::onnx::NodeProto> &nodes,
    Scope &scope, const Call *call) {
  // The specification asks for sorted nodes, but tools that edit graphs do not
  // always keep to it: count what each node waits for.
  llvm::StringMap<int> producers;
  for (int i = 0; i < nodes.size(); ++i)
    for (const std::string &output : nodes[i].output())
      if (!output.empty())
        producers.try_emplace(output, i);
  std::vector<int> waiting(nodes.size(), 0);
  std::vector<SmallVector<int, 2>> users(nodes.size());
  for (int i = 0; i < nodes.size(); ++i) {
    auto waitFor = [&](StringRef name) {
      auto it = producers.find(name);
      if (it == producers.end())
        return;
      users[it->second].push_back(i);
      ++waiting[i];
    };
    for (const std::string &input : nodes[i].input())
      waitFor(input);
    // Subgraphs use values of this graph without listing them.
    for (const auto &attribute : nodes[i].attribute())
      if (attribute.has_g())
        forEachFreeName(attribute.g(), /*bound=*/{}, waitFor);
  }
  // Always the first node that is ready, so that sorted files keep their order.
  std::set<int> ready;
  for (int i = 0; i < nodes.size(); ++i)
    if (waiting[i] == 0)
      ready.insert(i);
  int done = 0;
  while (!ready.empty()) {
    int index = *ready.begin();
    ready.erase(ready.begin());
    if (failed(importNode(nodes[index], scope, call)))
      return failure();
    ++done;
    for (int user : users[index])
      if (--waiting[user] == 0)
        ready.insert(user);
  }
  if (done == nodes.size())
    return success();
  int stuck =
      llvm::find_if(waiting, [](int n) { return n > 0; }) - waiting.begin();
  return emitError() << describe(nodes[stuck], call) << " is part of a cycle";
}

//===----------------------------------------------------------------------===//
// Inputs, outputs, attributes
//===----------------------------------------------------------------------===//

FailureOr<SmallVector<Value>>
GraphImporter::findInputs(const ::onnx::NodeProto &node, Scope &scope,
                          const Call *call) {
  SmallVector<Value> inputs;
  int count = node.input_size();
  while (count > 0 && node.input(count - 1).empty())
    --count;
  for (int i = 0; i < count; ++i) {
    const std::string &name = node.input(i);
    if (name.empty()) {
      inputs.push_back(onnx::NoneOp::create(builder, fileLocation));
      continue;
    }
    Value value = scope.find(name);
    if (!value)
      return emitError() << describe(node, call) << " uses '" << name
                         << "', which nothing defines";
    inputs.push_back(value);
  }
  return inputs;
}

SmallVector<Type> GraphImporter::getOutputTypes(const ::onnx::NodeProto &node) {
  SmallVector<Type> types;
  for (const std::string &output : node.output()) {
    Type type = declaredTypes.lookup(output);
    types.push_back(
        type ? type : UnrankedTensorType::get(onnx::UnknownType::get(context)));
  }
  while (types.size() > 1 && node.output(types.size() - 1).empty())
    types.pop_back();
  return types;
}

LogicalResult GraphImporter::defineOutputs(const ::onnx::NodeProto &node,
                                           ValueRange values, Scope &scope,
                                           const Call *call) {
  for (auto [name, value] : llvm::zip(node.output(), values))
    if (!name.empty() &&
        failed(define(scope, name, value, describe(node, call) + ": output")))
      return failure();
  return success();
}

const ::onnx::AttributeProto *
GraphImporter::resolve(const ::onnx::AttributeProto &attribute,
                       const Call *call) {
  if (attribute.ref_attr_name().empty())
    return &attribute;
  return call ? call->attributes.lookup(attribute.ref_attr_name()) : nullptr;
}

FailureOr<Attribute>
GraphImporter::importAttribute(const ::onnx::AttributeProto &attribute,
                               StringRef label) {
  using Proto = ::onnx::AttributeProto;
  switch (attribute.type()) {
  case Proto::INT:
    return Attribute(builder.getI64IntegerAttr(attribute.i()));
  case Proto::FLOAT:
    return Attribute(builder.getF32FloatAttr(attribute.f()));
  case Proto::STRING:
    return Attribute(builder.getStringAttr(attribute.s()));
  case Proto::INTS:
    return Attribute(builder.getDenseI64ArrayAttr(
        ArrayRef<int64_t>(attribute.ints().data(), attribute.ints_size())));
  case Proto::FLOATS:
    return Attribute(builder.getDenseF32ArrayAttr(
        ArrayRef<float>(attribute.floats().data(), attribute.floats_size())));
  case Proto::STRINGS: {
    SmallVector<StringRef> strings(attribute.strings().begin(),
                                   attribute.strings().end());
    return Attribute(builder.getStrArrayAttr(strings));
  }
  case Proto::TENSOR: {
    ::onnx::TensorProto tensor = attribute.t();
    FailureOr<ImportedTensor> imported =
        tensors.import(tensor, label, [&] { return emitError(); });
    if (failed(imported))
      return failure();
    if (imported->value.getType() != imported->type)
      return emitError() << label
                         << " has elements narrower than a byte, which "
                            "an attribute cannot have";
    return Attribute(imported->value);
  }
  default:
    return emitError() << label << " is of an unsupported kind "
                       << int(attribute.type());
  }
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

LogicalResult GraphImporter::importNode(::onnx::NodeProto &node, Scope &scope,
                                        const Call *call) {
  if (++numNodes > kMaxNodes)
    return emitError() << "the graph has more than " << kMaxNodes << " nodes";
  StringRef domain = getDomainOrStandard(node.domain());
  auto function = functions.find(node.domain() + '\0' + node.op_type());
  if (function != functions.end())
    return inlineFunction(*function->second, node, scope, call);
  if (node.output_size() == 0)
    return emitError() << describe(node, call) << " has no outputs";
  if (domain == onnx::kStandardDomain && node.op_type() == "Constant")
    return importConstant(node, scope, call);
  if (domain == onnx::kStandardDomain && node.op_type() == "If")
    return importIf(node, scope, call);

  FailureOr<SmallVector<Value>> inputs = findInputs(node, scope, call);
  if (failed(inputs))
    return failure();
  std::string opName = onnx::getOperationName(context, domain, node.op_type());
  bool custom = opName.empty();
  StringRef name = node.name().empty() ? node.output(0) : node.name();
  OperationState state(getLocation(name, call),
                       custom ? StringRef(onnx::CustomOp::getOperationName())
                              : StringRef(opName));
  state.addOperands(*inputs);
  state.addTypes(getOutputTypes(node));
  for (const ::onnx::AttributeProto &attribute : node.attribute()) {
    const ::onnx::AttributeProto *resolved = resolve(attribute, call);
    // Names of attributes that only onnx.Custom has mean nothing there.
    if (!resolved || (custom && (attribute.name() == "domain" ||
                                 attribute.name() == "op_type")))
      continue;
    if (attribute.name().empty())
      return emitError() << describe(node, call)
                         << " has an attribute without a name";
    // Loops and scans are kept as unknown operators, without their bodies.
    if (custom && (resolved->type() == ::onnx::AttributeProto::GRAPH ||
                   resolved->type() == ::onnx::AttributeProto::GRAPHS))
      continue;
    FailureOr<Attribute> value =
        importAttribute(*resolved, describe(node, call) + ": attribute '" +
                                       attribute.name() + "'");
    if (failed(value))
      return failure();
    if (state.attributes.get(attribute.name()))
      return emitError() << describe(node, call) << " has attribute '"
                         << attribute.name() << "' twice";
    state.addAttribute(attribute.name(), *value);
  }
  if (custom) {
    state.addAttribute("domain", builder.getStringAttr(domain));
    state.addAttribute("op_type", builder.getStringAttr(node.op_type()));
  }
  if (call)
    for (const auto &opset : call->function->opset_import())
      if (getDomainOrStandard(opset.domain()) == domain &&
          opsets.lookup(domain) != opset.version())
        state.addAttribute(kOpsetAttr,
                           builder.getI64IntegerAttr(opset.version()));
  Operation *op = builder.create(state);
  return defineOutputs(node, op->getResults(), scope, call);
}

LogicalResult GraphImporter::importConstant(::onnx::NodeProto &node,
                                            Scope &scope, const Call *call) {
  std::string label = describe(node, call);
  if (node.attribute_size() != 1 || node.output_size() != 1)
    return emitError() << label << " needs one attribute and one output";
  const ::onnx::AttributeProto *attribute = resolve(node.attribute(0), call);
  if (!attribute)
    return emitError() << label << " has no value";
  ::onnx::TensorProto tensor;
  StringRef kind = node.attribute(0).name();
  using Proto = ::onnx::TensorProto;
  if (kind == "value") {
    // Large constants of function bodies are kept, others give up their data.
    if (attribute == &node.attribute(0) && !call)
      tensor.Swap(node.mutable_attribute(0)->mutable_t());
    else
      tensor = attribute->t();
  } else if (kind == "value_int" || kind == "value_ints") {
    tensor.set_data_type(Proto::INT64);
    if (kind == "value_int") {
      tensor.add_int64_data(attribute->i());
    } else {
      tensor.add_dims(attribute->ints_size());
      *tensor.mutable_int64_data() = attribute->ints();
    }
  } else if (kind == "value_float" || kind == "value_floats") {
    tensor.set_data_type(Proto::FLOAT);
    if (kind == "value_float") {
      tensor.add_float_data(attribute->f());
    } else {
      tensor.add_dims(attribute->floats_size());
      *tensor.mutable_float_data() = attribute->floats();
    }
  } else {
    return emitError() << label << " has a value of an unsupported kind '"
                       << kind << "'";
  }
  FailureOr<ImportedTensor> imported =
      tensors.import(tensor, label, [&] { return emitError(); });
  if (failed(imported))
    return failure();
  StringRef name = node.name().empty() ? node.output(0) : node.name();
  auto constant =
      onnx::ConstantOp::create(builder, getLocation(name, call), imported->type,
                               StringAttr(), imported->value);
  return defineOutputs(node, constant->getResults(), scope, call);
}

LogicalResult GraphImporter::importIf(::onnx::NodeProto &node, Scope &scope,
                                      const Call *call) {
  FailureOr<SmallVector<Value>> inputs = findInputs(node, scope, call);
  if (failed(inputs))
    return failure();
  std::string label = describe(node, call);
  if (inputs->size() != 1 || !isa<TensorType>((*inputs)[0].getType()))
    return emitError() << label << " needs one condition";
  StringRef name = node.name().empty() ? node.output(0) : node.name();
  Location location = getLocation(name, call);
  OperationState state(location, onnx::IfOp::getOperationName());
  state.addOperands(*inputs);
  state.addTypes(getOutputTypes(node));
  Region *regions[] = {state.addRegion(), state.addRegion()};
  const char *branches[] = {"then_branch", "else_branch"};
  for (auto [region, branch] : llvm::zip(regions, branches)) {
    auto it = llvm::find_if(*node.mutable_attribute(),
                            [name = branch](const ::onnx::AttributeProto &a) {
                              return a.name() == name;
                            });
    if (it == node.mutable_attribute()->end() || !it->has_g())
      return emitError() << label << " lacks its " << branch;
    ::onnx::GraphProto &graph = *it->mutable_g();
    if (graph.input_size())
      return emitError() << label << " has a " << branch << " with inputs";
    if (graph.output_size() != int(state.types.size()))
      return emitError() << label << " has " << state.types.size()
                         << " outputs, its " << branch << " has "
                         << graph.output_size();
    OpBuilder::InsertionGuard guard(builder);
    builder.createBlock(region);
    Scope inner;
    inner.parent = &scope;
    if (failed(importInitializers(graph, inner)) ||
        failed(importNodes(*graph.mutable_node(), inner, call)))
      return failure();
    SmallVector<Value> values;
    for (const ::onnx::ValueInfoProto &output : graph.output()) {
      values.push_back(inner.find(output.name()));
      if (!values.back())
        return emitError() << label << " has a " << branch << " whose output '"
                           << output.name() << "' nothing defines";
    }
    onnx::YieldOp::create(builder, location, values);
  }
  Operation *op = builder.create(state);
  return defineOutputs(node, op->getResults(), scope, call);
}

LogicalResult
GraphImporter::inlineFunction(const ::onnx::FunctionProto &function,
                              ::onnx::NodeProto &node, Scope &scope,
                              const Call *caller) {
  std::string label = describe(node, caller);
  int depth = 0;
  for (const Call *call = caller; call; call = call->parent) {
    if (call->function == &function)
      return emitError() << label << " is a function that calls itself";
    if (++depth > kMaxCallDepth)
      return emitError() << label << " is a call nested too deeply";
  }
  FailureOr<SmallVector<Value>> inputs = findInputs(node, scope, caller);
  if (failed(inputs))
    return failure();
  if (int(inputs->size()) > function.input_size())
    return emitError() << label << " has " << inputs->size()
                       << " inputs, its function has " << function.input_size();
  if (node.output_size() > function.output_size())
    return emitError() << label << " has " << node.output_size()
                       << " outputs, its function has "
                       << function.output_size();

  Call call;
  call.parent = caller;
  call.function = &function;
  call.prefix = (caller ? caller->prefix : "") +
                (node.name().empty() ? node.op_type() : node.name()) + "/";
  for (const ::onnx::AttributeProto &attribute : functionDefaults[&function])
    call.attributes[attribute.name()] = &attribute;
  for (const ::onnx::AttributeProto &attribute : node.attribute())
    if (const ::onnx::AttributeProto *resolved = resolve(attribute, caller))
      call.attributes[attribute.name()] = resolved;

  Scope body;
  for (int i = 0; i < function.input_size(); ++i) {
    Value value = i < int(inputs->size())
                      ? (*inputs)[i]
                      : Value(onnx::NoneOp::create(builder, fileLocation));
    if (failed(define(body, function.input(i), value, label + ": parameter")))
      return failure();
  }
  // Importing takes data out of nodes; another call needs them again. Types
  // that the graph declares are about its own names, not the function's.
  ::onnx::FunctionProto copy = function;
  llvm::StringMap<Type> types;
  std::swap(types, declaredTypes);
  LogicalResult imported = importNodes(*copy.mutable_node(), body, &call);
  std::swap(types, declaredTypes);
  if (failed(imported))
    return failure();
  for (int i = 0; i < node.output_size(); ++i) {
    if (node.output(i).empty())
      continue;
    Value value = body.find(function.output(i));
    if (!value)
      return emitError() << label << " is a function whose output '"
                         << function.output(i) << "' nothing defines";
    if (failed(define(scope, node.output(i), value, label + ": output")))
      return failure();
  }
  return success();
}

} // namespace llq
