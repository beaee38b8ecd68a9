//===- MutationTest.cpp - Damaged nodes are errors, never crashes ---------===//
//
// Takes the nodes of the shipped vectors, damages operands, attributes and
// versions at random (with a fixed seed) and evaluates them. Any result or
// error will do; the sanitizers watch for the rest.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "ONNXModel.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <random>

using namespace llq::interp;
using namespace llq::interp::test;
namespace fs = std::filesystem;

namespace {

class Mutator {
public:
  explicit Mutator(uint64_t seed) : random(seed) {}

  size_t below(size_t bound) { return size_t(random() % bound); }

  int64_t extreme() {
    static constexpr int64_t values[] = {INT64_MIN,
                                         INT64_MAX,
                                         INT64_MIN + 1,
                                         -1,
                                         0,
                                         1,
                                         2,
                                         3,
                                         -2,
                                         int64_t(1) << 31,
                                         int64_t(1) << 40,
                                         -(int64_t(1) << 62),
                                         64,
                                         100};
    return values[below(std::size(values))];
  }

  Shape shape() {
    Shape shape(below(6));
    for (int64_t &dim : shape)
      dim = int64_t(below(5));
    return shape;
  }

  /// A tensor of any type and shape with random bytes.
  Tensor tensor() {
    ElementType type = ElementType(below(17));
    Shape dims = shape();
    size_t count = size_t(*countElements(dims));
    std::string bytes((count * elementBits(type) + 7) / 8, '\0');
    for (char &byte : bytes)
      byte = char(random());
    return *Tensor::copyRaw(type, dims, bytes.data(), bytes.size());
  }

  /// A damaged copy of an operand.
  Tensor damaged(const Tensor &original) {
    switch (below(5)) {
    case 0:
      return tensor();
    case 1: // other contents
      return fillRandom(original.type(), original.shape());
    case 2: { // another shape with one dimension changed
      Shape dims = original.shape();
      if (dims.empty())
        dims.push_back(2);
      else
        dims[below(dims.size())] = int64_t(below(5));
      return fillRandom(original.type(), dims);
    }
    case 3: // another type
      return fillRandom(ElementType(below(17)), original.shape());
    default: // indices and shapes far out
      std::vector<int64_t> values(size_t(original.numElements()));
      for (int64_t &value : values)
        value = below(2) ? extreme() : int64_t(below(4));
      return *Tensor::ofInts(values).reshaped(original.shape());
    }
  }

  Attribute damaged(const Attribute &original) {
    if (const auto *list = std::get_if<std::vector<int64_t>>(&original)) {
      std::vector<int64_t> copy = *list;
      if (copy.empty() || below(4) == 0)
        copy.push_back(extreme());
      else
        copy[below(copy.size())] = extreme();
      return copy;
    }
    switch (below(8)) {
    case 0:
      return std::string("other");
    case 1:
      return 1e30f;
    case 2:
      return tensor();
    default:
      return extreme();
    }
  }

private:
  Tensor fillRandom(ElementType type, const Shape &dims) {
    size_t count = size_t(*countElements(dims));
    std::string bytes((count * elementBits(type) + 7) / 8, '\0');
    for (char &byte : bytes)
      byte = below(3) ? char(below(4)) : char(random());
    return *Tensor::copyRaw(type, dims, bytes.data(), bytes.size());
  }

  std::mt19937_64 random;
};

/// A node with operands that can be evaluated and damaged.
struct Sample {
  std::string domain, opType;
  int64_t opset;
  std::vector<Tensor> inputs; // null: absent
  Attributes attributes;
  unsigned numOutputs;
};

/// The first node of a vector, if its operands are inputs of the graph.
std::optional<Sample> readSample(const fs::path &folder) {
  Result<onnx::ModelProto> model = readModel(folder / "model.onnx");
  if (!model || model->graph().node_size() != 1)
    return std::nullopt;
  const onnx::NodeProto &node = model->graph().node(0);
  Result<Attributes> attributes = readAttributes(node);
  if (!attributes)
    return std::nullopt;
  Sample sample{node.domain(),
                node.op_type(),
                opsetOf(*model, node.domain()),
                {},
                *attributes,
                unsigned(node.output_size())};
  Tensors values;
  for (int i = 0; i < model->graph().input_size(); ++i) {
    std::string name;
    Result<Tensor> tensor = readTensor(
        folder / "test_data_set_0" / ("input_" + std::to_string(i) + ".pb"),
        name);
    if (!tensor)
      return std::nullopt;
    values[model->graph().input(i).name()] = *tensor;
  }
  for (const std::string &input : node.input())
    sample.inputs.push_back(input.empty() ? Tensor() : values[input]);
  return sample;
}

void evaluate(const Sample &sample, bool widenHalf) {
  std::vector<const Tensor *> operands;
  for (const Tensor &tensor : sample.inputs)
    operands.push_back(tensor ? &tensor : nullptr);
  Node node;
  node.domain = sample.domain;
  node.opType = sample.opType;
  node.opset = sample.opset;
  node.inputs = operands;
  node.attributes = &sample.attributes;
  node.numOutputs = sample.numOutputs;
  EvalOptions options;
  options.maxResultBytes = 1 << 20;
  options.widenHalf = widenHalf;
  Result<std::vector<Tensor>> results = evalNode(node, options);
  if (!results) {
    EXPECT_FALSE(results.message().empty());
    return;
  }
  EXPECT_EQ(results->size(), sample.numOutputs);
  for (const Tensor &tensor : *results)
    EXPECT_LE(tensor.sizeInBytes(), size_t(options.maxResultBytes));
}

TEST(MutationTest, DamagedNodesAreErrors) {
  // A longer search, with other damage each time.
  const char *chosen = std::getenv("LLQ_MUTATION_ROUNDS");
  unsigned rounds = chosen ? unsigned(std::atoi(chosen)) : 60;
  Mutator mutator{rounds};
  int samples = 0;
  for (const char *set : {"node-tests", "onnxruntime"})
    for (const auto &entry :
         fs::directory_iterator(fs::path(LLQ_ONNX_TEST_DATA) / set)) {
      std::optional<Sample> sample = readSample(entry.path());
      if (!sample)
        continue;
      ++samples;
      SCOPED_TRACE(entry.path().filename().string());
      for (unsigned round = 0; round < rounds; ++round) {
        Sample copy = *sample;
        for (size_t damage = 1 + mutator.below(3); damage > 0; --damage) {
          switch (mutator.below(8)) {
          case 0:
            copy.opset = int64_t(1 + mutator.below(30));
            break;
          case 1:
            copy.numOutputs = unsigned(mutator.below(5));
            break;
          case 2:
            if (!copy.inputs.empty())
              copy.inputs[mutator.below(copy.inputs.size())] = Tensor();
            break;
          case 3:
          case 4:
            if (!copy.attributes.empty()) {
              auto it = copy.attributes.begin();
              std::advance(it, mutator.below(copy.attributes.size()));
              it->second = mutator.damaged(it->second);
            }
            break;
          default:
            if (!copy.inputs.empty()) {
              Tensor &input = copy.inputs[mutator.below(copy.inputs.size())];
              input = input ? mutator.damaged(input) : mutator.tensor();
            }
          }
        }
        evaluate(copy, mutator.below(2) == 0);
      }
    }
  EXPECT_GT(samples, 100);
}

} // namespace
