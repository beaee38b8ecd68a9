//===- ONNXModel.cpp - Run ONNX files in tests ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "ONNXModel.h"

#include <cmath>
#include <fcntl.h>
#include <fstream>
#include <set>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace llq::interp;
using namespace llq::interp::test;
namespace fs = std::filesystem;

namespace {

/// A read-only mapping of a whole file; null on failure.
std::shared_ptr<const void> mapFile(const fs::path &path, size_t &size) {
  int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return nullptr;
  struct stat status;
  void *memory = MAP_FAILED;
  if (fstat(descriptor, &status) == 0 && status.st_size > 0) {
    size = size_t(status.st_size);
    memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  }
  close(descriptor);
  if (memory == MAP_FAILED)
    return nullptr;
  return std::shared_ptr<const void>(
      memory, [size](const void *p) { munmap(const_cast<void *>(p), size); });
}

/// Files of external data, mapped once per model.
using Mappings =
    std::map<std::string, std::pair<std::shared_ptr<const void>, size_t>>;

Result<Tensor> externalTensor(const onnx::TensorProto &proto, ElementType type,
                              Shape shape, const fs::path &folder,
                              Mappings &mappings) {
  std::string location;
  size_t offset = 0;
  size_t length = 0;
  for (const auto &entry : proto.external_data()) {
    if (entry.key() == "location")
      location = entry.value();
    else if (entry.key() == "offset")
      offset = std::stoull(entry.value());
    else if (entry.key() == "length")
      length = std::stoull(entry.value());
  }
  auto [it, isNew] = mappings.try_emplace(location);
  auto &[owner, size] = it->second;
  if (isNew)
    owner = mapFile(folder / location, size);
  if (!owner || offset > size || length > size - offset)
    return Error{"external data '" + location + "' is missing or too short"};
  return Tensor::fromRaw(type, std::move(shape),
                         static_cast<const char *>(owner.get()) + offset,
                         length, owner);
}

/// Typed repeated fields hold small types in wider integers.
template <typename T, typename Field>
Result<Tensor> fromField(ElementType type, Shape shape, const Field &field) {
  std::vector<T> values;
  for (auto value : field)
    values.push_back(T(value));
  return Tensor::copyRaw(type, std::move(shape), values.data(),
                         values.size() * sizeof(T));
}

Result<Tensor> toTensor(const onnx::TensorProto &proto, const fs::path &folder,
                        Mappings &mappings) {
  std::optional<ElementType> type = fromONNXDataType(proto.data_type());
  if (!type)
    return Error{"element type " + std::to_string(proto.data_type())};
  Shape shape(proto.dims().begin(), proto.dims().end());
  if (proto.data_location() == onnx::TensorProto::EXTERNAL)
    return externalTensor(proto, *type, std::move(shape), folder, mappings);
  if (proto.has_raw_data())
    return Tensor::copyRaw(*type, std::move(shape), proto.raw_data().data(),
                           proto.raw_data().size());
  switch (*type) {
  case ElementType::Float32:
    return fromField<float>(*type, shape, proto.float_data());
  case ElementType::Float64:
    return fromField<double>(*type, shape, proto.double_data());
  case ElementType::Int64:
    return fromField<int64_t>(*type, shape, proto.int64_data());
  case ElementType::UInt64:
    return fromField<uint64_t>(*type, shape, proto.uint64_data());
  case ElementType::UInt32:
    return fromField<uint32_t>(*type, shape, proto.uint64_data());
  case ElementType::Int32:
    return fromField<int32_t>(*type, shape, proto.int32_data());
  default:
    // One value per entry for 8 and 16 bits, one packed byte below.
    if (elementSize(*type) == 2)
      return fromField<uint16_t>(*type, shape, proto.int32_data());
    return fromField<uint8_t>(*type, shape, proto.int32_data());
  }
}

Result<Attributes> toAttributes(const onnx::NodeProto &node,
                                const fs::path &folder, Mappings &mappings) {
  Attributes attributes;
  for (const onnx::AttributeProto &proto : node.attribute()) {
    Attribute &value = attributes[proto.name()];
    switch (proto.type()) {
    case onnx::AttributeProto::INT:
      value = int64_t(proto.i());
      break;
    case onnx::AttributeProto::FLOAT:
      value = proto.f();
      break;
    case onnx::AttributeProto::STRING:
      value = proto.s();
      break;
    case onnx::AttributeProto::INTS:
      value = std::vector<int64_t>(proto.ints().begin(), proto.ints().end());
      break;
    case onnx::AttributeProto::FLOATS:
      value = std::vector<float>(proto.floats().begin(), proto.floats().end());
      break;
    case onnx::AttributeProto::STRINGS:
      value = std::vector<std::string>(proto.strings().begin(),
                                       proto.strings().end());
      break;
    case onnx::AttributeProto::TENSOR: {
      Result<Tensor> tensor = toTensor(proto.t(), folder, mappings);
      if (!tensor)
        return Error{tensor.message()};
      value = *tensor;
      break;
    }
    default:
      return Error{"attribute '" + proto.name() + "' is a graph or sparse"};
    }
  }
  return attributes;
}

} // namespace

int64_t llq::interp::test::opsetOf(const onnx::ModelProto &model,
                                   const std::string &domain) {
  for (const auto &import : model.opset_import())
    if (import.domain() == domain ||
        (domain.empty() && import.domain() == "ai.onnx"))
      return import.version();
  return 1; // onnxruntime's own operators are often not imported
}

Result<Attributes>
llq::interp::test::readAttributes(const onnx::NodeProto &node) {
  Mappings mappings;
  return toAttributes(node, {}, mappings);
}

Result<onnx::ModelProto> llq::interp::test::readModel(const fs::path &path) {
  onnx::ModelProto model;
  std::ifstream stream(path, std::ios::binary);
  if (!stream || !model.ParseFromIstream(&stream))
    return Error{"cannot read " + path.string()};
  return model;
}

Result<Tensor> llq::interp::test::readTensor(const fs::path &path,
                                             std::string &name) {
  onnx::TensorProto proto;
  std::ifstream stream(path, std::ios::binary);
  if (!stream || !proto.ParseFromIstream(&stream))
    return Error{"cannot read " + path.string()};
  name = proto.name();
  Mappings mappings;
  return toTensor(proto, path.parent_path(), mappings);
}

std::string
llq::interp::test::unsupportedReason(const onnx::ModelProto &model) {
  auto checkValue = [](const onnx::ValueInfoProto &value) -> std::string {
    if (!value.type().has_tensor_type())
      return "sequence or optional '" + value.name() + "'";
    int32_t type = value.type().tensor_type().elem_type();
    if (!fromONNXDataType(type))
      return "element type " + std::to_string(type);
    return "";
  };
  for (const auto *values : {&model.graph().input(), &model.graph().output()})
    for (const auto &value : *values)
      if (std::string reason = checkValue(value); !reason.empty())
        return reason;
  for (const onnx::NodeProto &node : model.graph().node())
    if (!isSupported(node.domain(), node.op_type(),
                     opsetOf(model, node.domain())))
      return "operator " + node.op_type();
  return "";
}

Result<Tensors> llq::interp::test::runModel(const onnx::ModelProto &model,
                                            const fs::path &folder,
                                            Tensors inputs,
                                            const EvalOptions &options) {
  const onnx::GraphProto &graph = model.graph();
  Mappings mappings;
  Tensors values = std::move(inputs);
  for (const onnx::TensorProto &proto : graph.initializer()) {
    Result<Tensor> tensor = toTensor(proto, folder, mappings);
    if (!tensor)
      return Error{"initializer '" + proto.name() + "': " + tensor.message()};
    values.try_emplace(proto.name(), *tensor);
  }
  // Last user of each value, so that memory is given back.
  std::map<std::string, int> lastUse;
  for (int i = 0; i < graph.node_size(); ++i)
    for (const std::string &input : graph.node(i).input())
      lastUse[input] = i;
  for (const auto &output : graph.output())
    lastUse.erase(output.name());

  for (int i = 0; i < graph.node_size(); ++i) {
    const onnx::NodeProto &proto = graph.node(i);
    Result<Attributes> attributes = toAttributes(proto, folder, mappings);
    if (!attributes)
      return Error{proto.op_type() + ": " + attributes.message()};
    std::vector<const Tensor *> operands;
    for (const std::string &input : proto.input()) {
      if (input.empty()) {
        operands.push_back(nullptr);
        continue;
      }
      auto it = values.find(input);
      if (it == values.end())
        return Error{proto.op_type() + ": no value '" + input + "'"};
      operands.push_back(&it->second);
    }
    Node node;
    node.domain = proto.domain();
    node.opType = proto.op_type();
    node.opset = opsetOf(model, proto.domain());
    node.inputs = operands;
    node.attributes = &*attributes;
    node.numOutputs = unsigned(proto.output_size());
    Result<std::vector<Tensor>> results = evalNode(node, options);
    if (!results)
      return Error{"node '" + proto.name() + "': " + results.message()};
    for (int o = 0; o < proto.output_size(); ++o) {
      if (proto.output(o).empty())
        continue;
      if (!(*results)[size_t(o)])
        return Error{proto.op_type() + ": output " + std::to_string(o) +
                     " was not produced"};
      values[proto.output(o)] = (*results)[size_t(o)];
    }
    for (const std::string &input : proto.input())
      if (auto it = lastUse.find(input); it != lastUse.end() && it->second == i)
        values.erase(input);
  }
  Tensors outputs;
  for (const auto &output : graph.output()) {
    auto it = values.find(output.name());
    if (it == values.end())
      return Error{"no output '" + output.name() + "'"};
    outputs[output.name()] = it->second;
  }
  return outputs;
}

std::string llq::interp::test::compare(const Tensor &actual,
                                       const Tensor &expected, double relative,
                                       double absolute) {
  if (actual.type() != expected.type())
    return "type " + std::string(elementTypeName(actual.type())) +
           ", expected " + std::string(elementTypeName(expected.type()));
  if (actual.shape() != expected.shape())
    return "shape " + toString(actual.shape()) + ", expected " +
           toString(expected.shape());
  if (!isFloat(actual.type())) {
    std::vector<int64_t> a = *actual.toInts();
    std::vector<int64_t> b = *expected.toInts();
    for (size_t i = 0; i < a.size(); ++i)
      if (a[i] != b[i])
        return "element " + std::to_string(i) + " is " + std::to_string(a[i]) +
               ", expected " + std::to_string(b[i]);
    return "";
  }
  std::vector<double> a = actual.toDoubles();
  std::vector<double> b = expected.toDoubles();
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i]))
      continue;
    if (a[i] == b[i]) // also infinities
      continue;
    if (!(std::fabs(a[i] - b[i]) <= absolute + relative * std::fabs(b[i])))
      return "element " + std::to_string(i) + " is " + std::to_string(a[i]) +
             ", expected " + std::to_string(b[i]);
  }
  return "";
}
