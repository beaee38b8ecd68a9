//===- Interpreter.cpp - Evaluate ONNX operators --------------------------===//
//
// The driver: finds the operator, checks what its table entry promises, runs
// it and prefixes its error with the operator's name.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "llq/Interpreter/Interpreter.h"

#include "Convert.h"
#include "Operators.h"

#include <algorithm>
#include <deque>

using namespace llq::interp;

using Key = std::pair<std::string_view, std::string_view>;

/// All operators by domain and name; built once, then read only. Versions of
/// one operator with different signatures are separate entries.
static const std::multimap<Key, const Operator *> &operatorTable() {
  static const auto table = [] {
    std::multimap<Key, const Operator *> all;
    for (auto group :
         {mathOperators(), arithmeticOperators(), castOperators(),
          shapeOperators(), layoutOperators(), gatherOperators(),
          scatterOperators(), reduceOperators(), selectionOperators(),
          matMulOperators(), einsumOperators(), normalizationOperators(),
          rotaryOperators(), attentionOperators(), contribAttentionOperators(),
          quantizeOperators(), blockQuantizedOperators()})
      for (const Operator &op : group)
        all.emplace(Key(op.domain, op.name), &op);
    return all;
  }();
  return table;
}

static std::string_view canonicalDomain(std::string_view domain) {
  return domain == "ai.onnx" ? "" : domain;
}

static int64_t lastOpset(const Operator &op) {
  if (op.until != 0)
    return op.until;
  return op.domain.empty() ? newestOpset : 1;
}

static std::string qualifiedName(std::string_view domain,
                                 std::string_view opType) {
  std::string name(domain);
  if (!name.empty())
    name += '.';
  return name.append(opType);
}

/// The table entry that covers the version, or an error that says which
/// versions are covered.
static Result<const Operator *>
findOperator(std::string_view domain, std::string_view opType, int64_t opset) {
  auto [begin, end] =
      operatorTable().equal_range({canonicalDomain(domain), opType});
  if (begin == end)
    return Error{"operator '" + qualifiedName(domain, opType) +
                 "' is not supported by the interpreter"};
  int64_t first = begin->second->since;
  int64_t last = lastOpset(*begin->second);
  for (auto it = begin; it != end; ++it) {
    const Operator &op = *it->second;
    if (op.since <= opset && opset <= lastOpset(op))
      return it->second;
    first = std::min(first, op.since);
    last = std::max(last, lastOpset(op));
  }
  return Error{"operator '" + qualifiedName(domain, opType) +
               "' is supported for operator set versions " +
               std::to_string(first) + " to " + std::to_string(last) +
               ", found " + std::to_string(opset)};
}

/// Checks numbers of operands and outputs against the table.
static void checkArity(const Operator &op, OpContext &context) {
  if (context.numInputs() > op.maxInputs)
    return context.fail("has ", int64_t(context.numInputs()),
                        " operands, at most ", int64_t(op.maxInputs),
                        " expected");
  for (unsigned i = 0; i < op.minInputs; ++i)
    if (!context.optionalInput(i))
      return context.fail("operand ", int64_t(i), " is missing");
  for (unsigned i = 0; i < context.numInputs(); ++i)
    if (const Tensor *tensor = context.optionalInput(i); tensor && !*tensor)
      return context.fail("operand ", int64_t(i), " is a null tensor");
  if (context.numOutputs() > op.maxOutputs)
    context.fail("has ", int64_t(context.numOutputs()), " outputs, at most ",
                 int64_t(op.maxOutputs), " expected");
}

static bool isHalf(const Tensor &tensor) {
  return tensor && computeType(tensor.type()) != tensor.type();
}

namespace {

/// A copy of a node whose half-precision tensors are f32.
class WidenedNode {
public:
  explicit WidenedNode(const Node &node) : copy(node) {
    for (const Tensor *input : node.inputs)
      pointers.push_back(input && isHalf(*input) ? widen(*input) : input);
    copy.inputs = pointers;
    if (!node.attributes)
      return;
    attributes = *node.attributes;
    for (auto &[name, value] : attributes)
      if (const auto *tensor = std::get_if<Tensor>(&value);
          tensor && isHalf(*tensor))
        value = Tensor(*widen(*tensor));
    copy.attributes = &attributes;
  }

  const Node &node() const { return copy; }
  const std::string &message() const { return error; }

private:
  const Tensor *widen(const Tensor &tensor) {
    Result<Tensor> wide = convert(tensor, ElementType::Float32);
    if (!wide) {
      error = wide.message();
      return &tensor;
    }
    return &tensors.emplace_back(std::move(*wide));
  }

  Node copy;
  std::deque<Tensor> tensors; // grows without moving
  std::vector<const Tensor *> pointers;
  Attributes attributes;
  std::string error;
};

} // namespace

static Result<std::vector<Tensor>> run(const Node &node,
                                       const EvalOptions &options) {
  Result<const Operator *> op =
      findOperator(node.domain, node.opType, node.opset);
  if (!op)
    return Error{op.message()};
  OpContext context(node, options);
  checkArity(**op, context);
  if (!context.failed())
    (*op)->eval(context);
  if (!context.failed())
    if (const std::string *name = context.unknownAttribute())
      context.fail("attribute '", *name, "' is not supported");
  if (context.failed())
    return Error{qualifiedName(node.domain, node.opType) + ": " +
                 context.message()};
  return context.takeOutputs();
}

Result<std::vector<Tensor>> llq::interp::evalNode(const Node &node,
                                                  const EvalOptions &options) {
  if (!options.widenHalf)
    return run(node, options);
  WidenedNode wide(node);
  if (!wide.message().empty())
    return Error{qualifiedName(node.domain, node.opType) + ": " +
                 wide.message()};
  return run(wide.node(), options);
}

bool llq::interp::isSupported(std::string_view domain, std::string_view opType,
                              int64_t opset) {
  return bool(findOperator(domain, opType, opset));
}

std::vector<OperatorInfo> llq::interp::supportedOperators() {
  std::vector<OperatorInfo> infos;
  for (const auto &[key, op] : operatorTable())
    infos.push_back({op->domain, op->name, op->since, lastOpset(*op)});
  return infos;
}
