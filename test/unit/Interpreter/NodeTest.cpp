//===- NodeTest.cpp - The ONNX backend node tests -------------------------===//
//
// Every folder of test/data/onnx/node-tests is a model with inputs and outputs
// from the ONNX project's backend tests; those of test/data/onnx/onnxruntime
// are in the same form, with outputs of onnxruntime. The environment variable
// LLQ_ONNX_NODE_TESTS names a folder with more of them (the full set of an
// ONNX release); models outside the interpreter's scope are then skipped with
// the reason, and a table per operator is printed at the end.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "ONNXModel.h"

#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>
#include <iostream>

using namespace llq::interp;
using namespace llq::interp::test;
namespace fs = std::filesystem;

namespace {

const char *fullSet() { return std::getenv("LLQ_ONNX_NODE_TESTS"); }

std::vector<fs::path> testFolders() {
  std::vector<fs::path> roots = {fs::path(LLQ_ONNX_TEST_DATA) / "node-tests",
                                 fs::path(LLQ_ONNX_TEST_DATA) / "onnxruntime"};
  if (fullSet())
    roots = {fs::path(fullSet())};
  std::vector<fs::path> folders;
  std::error_code error;
  for (const fs::path &root : roots)
    for (const auto &entry : fs::directory_iterator(root, error))
      if (fs::exists(entry.path() / "model.onnx"))
        folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  return folders;
}

/// Passes, failures and reasons for skips per operator.
struct Tally {
  int passed = 0;
  int failed = 0;
  std::map<std::string, int> skipped;
};
std::map<std::string, Tally> tallies;

class PrintTallies : public testing::Environment {
  void TearDown() override {
    if (!fullSet())
      return;
    std::cout << "operator (of the last node): passed, failed, skipped\n";
    for (const auto &[name, tally] : tallies) {
      std::cout << "  " << name << ": " << tally.passed << ", " << tally.failed;
      for (const auto &[reason, count] : tally.skipped)
        std::cout << ", " << count << " skipped (" << reason << ")";
      std::cout << "\n";
    }
  }
};
[[maybe_unused]] testing::Environment *const environment =
    testing::AddGlobalTestEnvironment(new PrintTallies);

/// Vectors that predate ONNX 1.23, which corrected the text of Attention in
/// place: the soft cap now comes before the mask, and modes 1 and 2 of
/// qk_matmul_output changed places. onnxruntime agrees with the correction.
bool isSuperseded(const std::string &test, const std::string &output) {
  bool isExpanded = test.ends_with("_expanded");
  if (isExpanded || !test.starts_with("test_attention_"))
    return false;
  if (test.ends_with("qk_matmul_softcap"))
    return output == "Y" || output == "qk_matmul_output";
  return test.find("qk_matmul_bias") != std::string::npos &&
         output == "qk_matmul_output";
}

class NodeTest : public testing::TestWithParam<fs::path> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(NodeTest);

/// Reads input_0.pb, input_1.pb, ... under the names of the graph's values.
template <typename Values>
Tensors readTensors(const fs::path &folder, const std::string &prefix,
                    const Values &values) {
  Tensors tensors;
  for (int i = 0; i < values.size(); ++i) {
    fs::path path = folder / (prefix + std::to_string(i) + ".pb");
    std::string name;
    Result<Tensor> tensor = readTensor(path, name);
    if (!tensor) {
      ADD_FAILURE() << path << ": " << tensor.message();
      continue;
    }
    tensors[values[i].name()] = *tensor;
  }
  return tensors;
}

TEST_P(NodeTest, Agrees) {
  Result<onnx::ModelProto> model = readModel(GetParam() / "model.onnx");
  ASSERT_TRUE(model) << model.message();
  int nodes = model->graph().node_size();
  ASSERT_GT(nodes, 0);
  Tally &tally = tallies[model->graph().node(nodes - 1).op_type()];
  if (std::string reason = unsupportedReason(*model); !reason.empty()) {
    ASSERT_TRUE(fullSet()) << "a shipped test needs " << reason;
    ++tally.skipped[reason];
    GTEST_SKIP() << reason;
  }
  ++tally.failed; // taken back at the end
  int compared = 0;
  for (int set = 0;; ++set) {
    fs::path folder = GetParam() / ("test_data_set_" + std::to_string(set));
    if (!fs::exists(folder)) {
      ASSERT_GT(set, 0) << "no test data";
      break;
    }
    Tensors inputs = readTensors(folder, "input_", model->graph().input());
    Tensors expected = readTensors(folder, "output_", model->graph().output());
    Result<Tensors> actual = runModel(*model, GetParam(), inputs);
    ASSERT_TRUE(actual) << actual.message();
    for (const auto &[name, tensor] : expected) {
      if (isSuperseded(GetParam().filename().string(), name)) {
        ++tally.skipped["output " + name + " superseded by ONNX 1.23"];
        continue;
      }
      // The vectors of 16-bit types come from arithmetic that rounds every
      // intermediate result; those of f32 from sums in f32.
      bool isHalf = elementSize(tensor.type()) == 2;
      std::string difference = compare(
          (*actual)[name], tensor, isHalf ? 2e-3 : 1e-5, isHalf ? 1e-3 : 1e-5);
      EXPECT_EQ(difference, "") << "output " << name;
      ++compared;
    }
  }
  if (HasFailure())
    return;
  --tally.failed;
  if (compared == 0)
    GTEST_SKIP() << "superseded by ONNX 1.23";
  ++tally.passed;
}

INSTANTIATE_TEST_SUITE_P(ONNX, NodeTest, testing::ValuesIn(testFolders()),
                         [](const auto &info) {
                           return info.param.filename().string();
                         });

} // namespace
