//===- OrtOpTest.cpp - Operator vectors of onnxruntime --------------------===//
//
// Runs the JSON (with comments) operator tests of onnxruntime's web tests:
// a list of {operator, opset, attributes, cases of inputs and outputs}. A
// tensor whose data is null is an absent operand.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "ONNXModel.h"

#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace llq::interp;
using namespace llq::interp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::vector<fs::path> testFiles() {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto &entry : fs::directory_iterator(
           fs::path(LLQ_ONNX_TEST_DATA) / "ort-js-op-tests", error))
    if (entry.path().extension() == ".jsonc")
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

const std::map<std::string, ElementType> &typeNames() {
  static const std::map<std::string, ElementType> names = {
      {"float32", ElementType::Float32}, {"float16", ElementType::Float16},
      {"int32", ElementType::Int32},     {"int64", ElementType::Int64},
      {"uint8", ElementType::UInt8},     {"int4", ElementType::Int4},
      {"uint4", ElementType::UInt4},     {"bool", ElementType::Bool},
  };
  return names;
}

/// A tensor from JSON numbers, by way of Cast; null if the data is null.
/// Integers wrap around, as in JavaScript's typed arrays.
Tensor readTensor(const json &value) {
  const json &data = value.at("data");
  if (data.is_null())
    return {};
  ElementType type = typeNames().at(value.at("type").get<std::string>());
  Shape shape = value.at("dims").get<Shape>();
  Result<Tensor> tensor = Error{};
  if (isFloat(type)) {
    auto numbers = data.get<std::vector<float>>();
    tensor = Tensor::copyRaw(ElementType::Float32, shape, numbers.data(),
                             numbers.size() * sizeof(float));
  } else {
    tensor = Tensor::ofInts(data.get<std::vector<int64_t>>()).reshaped(shape);
  }
  if (!tensor) {
    ADD_FAILURE() << tensor.message();
    return {};
  }
  Attributes attributes;
  attributes["to"] = int64_t(toONNXDataType(type));
  Node cast;
  cast.opType = "Cast";
  cast.opset = 21;
  const Tensor *operand = &*tensor;
  cast.inputs = {&operand, 1};
  cast.attributes = &attributes;
  return (*evalNode(cast))[0];
}

Attributes readAttributes(const json &list) {
  Attributes attributes;
  for (const json &entry : list) {
    std::string type = entry.at("type");
    Attribute &value = attributes[entry.at("name")];
    if (type == "int")
      value = entry.at("data").get<int64_t>();
    else if (type == "float")
      value = entry.at("data").get<float>();
    else
      ADD_FAILURE() << "attribute type " << type;
  }
  return attributes;
}

/// Vectors in which a past without present outputs is ignored: so do some
/// kernels of onnxruntime (reading out of bounds if there is a bias), but not
/// the operator's description.
bool contradictsDescription(const json &test, const json &data) {
  return test.at("operator") == "MultiHeadAttention" &&
         data.at("inputs").size() == 8 && data.at("outputs").size() == 1 &&
         data.at("inputs")[5].at("data").is_null();
}

void runCase(const json &test, const json &data) {
  std::vector<Tensor> tensors;
  for (const json &input : data.at("inputs"))
    tensors.push_back(readTensor(input));
  std::vector<const Tensor *> operands;
  for (const Tensor &tensor : tensors)
    operands.push_back(tensor ? &tensor : nullptr);
  Attributes attributes = readAttributes(test.at("attributes"));
  std::string opType = test.at("operator");
  std::string domain = test.at("opset").at("domain");
  Node node;
  node.domain = domain;
  node.opType = opType;
  node.opset = test.at("opset").at("version");
  node.inputs = operands;
  node.attributes = &attributes;
  const json &outputs = data.at("outputs");
  node.numOutputs = unsigned(outputs.size());
  Result<std::vector<Tensor>> results = evalNode(node);
  ASSERT_TRUE(results) << results.message();
  for (size_t i = 0; i < outputs.size(); ++i)
    if (Tensor expected = readTensor(outputs[i]))
      // The files round to as little as three digits.
      EXPECT_EQ(compare((*results)[i], expected, 1e-5, 1e-3), "")
          << "output " << i;
}

class OrtOpTest : public testing::TestWithParam<fs::path> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OrtOpTest);

TEST_P(OrtOpTest, Agrees) {
  std::ifstream stream(GetParam());
  json tests = json::parse(stream, nullptr, /*allow_exceptions=*/false,
                           /*ignore_comments=*/true);
  ASSERT_TRUE(tests.is_array());
  int cases = 0;
  int skipped = 0;
  for (const json &test : tests)
    for (const json &data : test.at("cases")) {
      SCOPED_TRACE(test.at("name").get<std::string>() + ": " +
                   data.at("name").get<std::string>());
      if (contradictsDescription(test, data)) {
        ++skipped;
        continue;
      }
      runCase(test, data);
      ++cases;
    }
  EXPECT_GT(cases, 0);
  RecordProperty("cases", cases);
  RecordProperty("skipped", skipped);
}

INSTANTIATE_TEST_SUITE_P(ONNXRuntime, OrtOpTest, testing::ValuesIn(testFiles()),
                         [](const auto &info) {
                           std::string name = info.param.stem().string();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

} // namespace
