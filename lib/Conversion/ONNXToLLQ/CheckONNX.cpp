//===- CheckONNX.cpp - Compare a raised model with its graph --------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Conversion/CheckONNX.h"

#include "Decoder.h"

#include "llq/Reference/Forward.h"

#include <cmath>
#include <random>

using namespace mlir;
using namespace llq;
using namespace llq::raise;

namespace {
/// The graph and the model side by side.
class Comparison {
public:
  Comparison(func::FuncOp graph, ModuleOp raised, uint64_t seed)
      : graph(graph), raised(raised), random(seed) {}
  llvm::Expected<ONNXCheck> run();

private:
  llvm::Error call(const Lengths &lengths);
  void compare(ArrayRef<float> expected, ArrayRef<float> found,
               int64_t columns);

  func::FuncOp graph;
  ModuleOp raised;
  std::mt19937_64 random;
  WeightReader reader;
  Decoder decoder;
  Scenario scenario;
  /// By sequence of the batch.
  std::vector<std::unique_ptr<ReferenceModel>> models;
  /// Values of caches by argument, from the call before.
  std::map<unsigned, Tensor> caches;
  ONNXCheck check;
};
} // namespace

void Comparison::compare(ArrayRef<float> expected, ArrayRef<float> found,
                         int64_t columns) {
  for (size_t begin = 0; begin < expected.size(); begin += size_t(columns)) {
    size_t top = begin, otherTop = begin;
    for (size_t i = begin; i < begin + size_t(columns); ++i) {
      // A NaN on either side is an infinite difference.
      double error = std::abs(double(expected[i]) - double(found[i]));
      check.maxError =
          std::max(check.maxError, std::isnan(error) ? INFINITY : error);
      check.maxValue = std::max(check.maxValue, std::abs(double(expected[i])));
      top = expected[i] > expected[top] ? i : top;
      otherTop = found[i] > found[otherTop] ? i : otherTop;
    }
    ++check.rows;
    check.topMismatches += top != otherTop;
  }
}

llvm::Error Comparison::call(const Lengths &lengths) {
  int64_t vocab = decoder.embedding.getShape()[0];
  std::vector<std::vector<int32_t>> ids(lengths.batch);
  std::vector<int64_t> allIds;
  for (std::vector<int32_t> &sequence : ids)
    for (int64_t t = 0; t < lengths.tokens; ++t) {
      sequence.push_back(int32_t(random() % uint64_t(vocab)));
      allIds.push_back(sequence.back());
    }
  std::vector<Tensor> inputs;
  for (BlockArgument argument : graph.getArguments()) {
    unsigned index = argument.getArgNumber();
    Shape shape = scenario.getShape(argument, lengths);
    Result<Tensor> value = Tensor();
    switch (scenario.roles[index].kind) {
    case InputRole::Kind::Tokens: {
      Tensor tensor = makeInts(shape, allIds);
      interp::Attributes attributes;
      std::optional<ElementType> type = getInterpreterType(
          cast<ShapedType>(argument.getType()).getElementType());
      attributes["to"] =
          int64_t(interp::toONNXDataType(type.value_or(ElementType::Int64)));
      value = compute("Cast", {&tensor}, attributes);
      break;
    }
    case InputRole::Kind::Past:
      if (auto it = caches.find(index); it != caches.end())
        value = it->second;
      else
        value = makeFloats(shape, std::vector<float>(countElements(shape)));
      break;
    default:
      value = scenario.getValue(argument, lengths);
    }
    if (!value)
      return llvm::createStringError(value.message());
    inputs.push_back(std::move(*value));
  }
  Result<std::vector<Tensor>> outputs =
      evaluateGraph(graph, reader, inputs, /*widenHalf=*/true);
  if (!outputs)
    return llvm::createStringError(outputs.message());

  Result<Tensor> expected = toFloat((*outputs)[decoder.output]);
  if (!expected)
    return llvm::createStringError(expected.message());
  int64_t columns = expected->shape().empty() ? 0 : expected->shape().back();
  if (columns <= 0 || expected->numElements() % (columns * lengths.batch))
    return llvm::createStringError("the graph's output has an unexpected "
                                   "shape " +
                                   toString(expected->shape()));
  // A graph may give only the last rows.
  int64_t rows = expected->numElements() / columns / lengths.batch;
  for (int64_t b = 0; b < lengths.batch; ++b) {
    llvm::Expected<std::vector<float>> found = models[b]->forward(ids[b]);
    if (!found)
      return found.takeError();
    if (int64_t(found->size()) != lengths.tokens * columns ||
        rows > lengths.tokens)
      return llvm::createStringError("the graph's output has an unexpected "
                                     "shape " +
                                     toString(expected->shape()));
    compare(
        ArrayRef(expected->data<float>() + b * rows * columns, rows * columns),
        ArrayRef(*found).take_back(rows * columns), columns);
  }
  for (auto [argument, output] : decoder.caches)
    caches[argument] = (*outputs)[output];
  return llvm::Error::success();
}

llvm::Expected<ONNXCheck> Comparison::run() {
  RaisedGraph graphs = raiseDecoder(graph, reader);
  if (!graphs.result.decoder)
    return llvm::createStringError(graphs.result.reason.message);
  decoder = std::move(*graphs.result.decoder);
  scenario = std::move(graphs.scenario);
  Lengths lengths = scenario.lengths.front();
  for (int64_t b = 0; b < lengths.batch; ++b)
    models.push_back(std::make_unique<ReferenceModel>(raised));
  // Caches of a fixed size are full of tokens that nobody knows.
  bool canStart = llvm::any_of(
      scenario.lengths, [](const Lengths &other) { return other.past == 0; });
  if (!canStart)
    return llvm::createStringError("a graph with a cache of fixed size cannot "
                                   "be checked from its first token");
  lengths.past = 0;
  if (llvm::Error error = call(lengths))
    return std::move(error);
  bool canContinue = scenario.hasPast &&
                     llvm::any_of(scenario.lengths, [](const Lengths &other) {
                       return other.past != 0;
                     });
  if (canContinue) {
    int64_t before = check.rows;
    Lengths next = lengths;
    next.past = lengths.tokens;
    // Another length, where it is free.
    for (const Lengths &other : scenario.lengths)
      next.tokens = std::min(next.tokens, other.tokens);
    if (llvm::Error error = call(next))
      return std::move(error);
    check.cachedRows = check.rows - before;
  }
  return check;
}

llvm::Expected<ONNXCheck>
llq::checkRaisedModel(func::FuncOp graph, ModuleOp raised, uint64_t seed) {
  return Comparison(graph, raised, seed).run();
}
