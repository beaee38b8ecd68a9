//===- ModelTest.cpp - Whole graphs through the interpreter ---------------===//
//
// Runs every LLaMA graph <folder>/<name>/model.onnx with its golden ids and
// compares the logits with golden ones (golden_logits.npy and
// golden_logits_ids.json beside the graph or two folders above). The folder is
// that of the bundled model in the build tree, where the graphs have their
// weights; LLQ_ONNX_MODELS names another one.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "ONNXModel.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace llq::interp;
using namespace llq::interp::test;
namespace fs = std::filesystem;

namespace {

std::vector<fs::path> modelFolders() {
  const char *chosen = std::getenv("LLQ_ONNX_MODELS");
  fs::path root = chosen ? fs::path(chosen)
                         : fs::path(LLQ_TEST_MODELS) / "tiny-llama3" / "onnx";
  std::vector<fs::path> folders;
  std::error_code error;
  for (const auto &entry : fs::directory_iterator(root, error))
    if (fs::exists(entry.path() / "model.onnx"))
      folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  return folders;
}

fs::path findGolden(const fs::path &folder, const std::string &name) {
  for (fs::path place : {folder, folder / ".." / ".."})
    if (fs::exists(place / name))
      return place / name;
  return {};
}

/// A float32 array of NumPy's format, version 1.
std::vector<float> readNpy(const fs::path &path) {
  std::ifstream stream(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  if (bytes.size() < 10 || bytes.compare(0, 8, "\x93NUMPY\x01\x00", 8) != 0 ||
      bytes.find("'<f4'") == std::string::npos)
    return {};
  size_t start = 10 + uint8_t(bytes[8]) + 256u * uint8_t(bytes[9]);
  std::vector<float> values((bytes.size() - start) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + start,
              values.size() * sizeof(float));
  return values;
}

class ModelTest : public testing::TestWithParam<fs::path> {
protected:
  void SetUp() override {
    Result<onnx::ModelProto> parsed = readModel(GetParam() / "model.onnx");
    ASSERT_TRUE(parsed) << parsed.message();
    model = *parsed;
    for (const onnx::TensorProto &tensor : model.graph().initializer())
      for (const auto &entry : tensor.external_data())
        if (entry.key() == "location" &&
            !fs::exists(GetParam() / entry.value()))
          FAIL() << "weights " << entry.value() << " are not here";
    fs::path idsPath = findGolden(GetParam(), "golden_logits_ids.json");
    std::ifstream stream(idsPath);
    nlohmann::json list = nlohmann::json::parse(stream, nullptr, false);
    golden = readNpy(findGolden(GetParam(), "golden_logits.npy"));
    ASSERT_TRUE(list.is_array() && !golden.empty()) << "no golden logits";
    ids = list.get<std::vector<int64_t>>();
  }

  /// Runs tokens [begin, end) with the cache that `values` holds as
  /// present.* outputs of an earlier run; returns all outputs.
  Tensors run(int64_t begin, int64_t end, const Tensors &values) {
    std::set<std::string> initializers;
    for (const onnx::TensorProto &tensor : model.graph().initializer())
      initializers.insert(tensor.name());
    Tensors inputs;
    for (const auto &input : model.graph().input()) {
      const std::string &name = input.name();
      if (initializers.count(name))
        continue;
      if (name.starts_with("past_key_values.")) {
        inputs[name] = pastOf(input, values);
        continue;
      }
      std::vector<int64_t> list;
      bool isMask = name == "attention_mask";
      for (int64_t i = isMask ? 0 : begin; i < end; ++i)
        list.push_back(name == "input_ids" ? ids[size_t(i)] : isMask ? 1 : i);
      inputs[name] = *Tensor::ofInts(list).reshaped({1, int64_t(list.size())});
    }
    EvalOptions options;
    options.widenHalf = true; // goldens are of f32 arithmetic
    Result<Tensors> outputs = runModel(model, GetParam(), inputs, options);
    if (!outputs) {
      ADD_FAILURE() << outputs.message();
      return {};
    }
    return *outputs;
  }

  /// The cache input that belongs to a present.* output, or an empty one.
  static Tensor pastOf(const onnx::ValueInfoProto &input,
                       const Tensors &values) {
    auto it = values.find("present." + input.name().substr(16));
    if (it != values.end())
      return it->second;
    const auto &type = input.type().tensor_type();
    Shape shape;
    for (const auto &dim : type.shape().dim())
      shape.push_back(dim.dim_value());
    shape[0] = 1;
    shape[2] = 0;
    return *Tensor::copyRaw(*fromONNXDataType(type.elem_type()), shape, nullptr,
                            0);
  }

  /// Largest distance of logits[1, S, V] from the golden rows from `begin` on.
  double distance(const Tensors &outputs, int64_t begin) {
    auto it = outputs.find("logits");
    if (it == outputs.end())
      return INFINITY;
    std::vector<double> logits = it->second.toDoubles();
    size_t first = size_t(begin) * size_t(it->second.shape().back());
    if (first + logits.size() > golden.size())
      return INFINITY;
    double largest = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      double error = std::fabs(logits[i] - double(golden[first + i]));
      largest = error <= largest ? largest : error; // NaN is not smaller
    }
    return largest;
  }

  onnx::ModelProto model;
  std::vector<int64_t> ids;
  std::vector<float> golden;
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ModelTest);

TEST_P(ModelTest, LogitsAgreeWithGolden) {
  Tensors outputs = run(0, int64_t(ids.size()), {});
  double error = distance(outputs, 0);
  RecordProperty("max_abs_error", std::to_string(error));
  EXPECT_LE(error, 1e-3);
}

TEST_P(ModelTest, LogitsAgreeWithCache) {
  bool hasCache = false;
  for (const auto &input : model.graph().input())
    hasCache |= input.name().starts_with("past_key_values.");
  if (!hasCache)
    return; // nothing to check
  int64_t end = int64_t(ids.size());
  int64_t middle = end * 2 / 3;
  Tensors first = run(0, middle, {});
  EXPECT_LE(distance(first, 0), 1e-3);
  EXPECT_LE(distance(run(middle, end - 1, first), middle), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Llama, ModelTest, testing::ValuesIn(modelFolders()),
                         [](const auto &info) {
                           std::string name = info.param.filename().string();
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return !std::isalnum(c); }, '_');
                           return name;
                         });

} // namespace
