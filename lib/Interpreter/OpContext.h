//===- OpContext.h - What an operator sees of its node ---------*- C++ -*-===//
//
// Operators are functions `void(OpContext &)`: they read operands and
// attributes here, and either set all outputs or fail once with a message.
// Helpers that can fail record the failure and return nullopt or a harmless
// value, so that operators stay short; the driver looks at failed() at the end.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_INTERPRETER_OPCONTEXT_H
#define LLQ_LIB_INTERPRETER_OPCONTEXT_H

#include "llq/Interpreter/Interpreter.h"

#include <set>

namespace llq::interp {

/// Pieces of a message.
inline void append(std::string &out, std::string_view text) { out += text; }
inline void append(std::string &out, int64_t value) {
  out += std::to_string(value);
}
inline void append(std::string &out, const Shape &shape) {
  out += toString(shape);
}
inline void append(std::string &out, ElementType type) {
  out += elementTypeName(type);
}

class OpContext {
public:
  OpContext(const Node &node, const EvalOptions &options)
      : node(node), options(options), outputs(node.numOutputs) {}

  // --- operands -----------------------------------------------------------

  unsigned numInputs() const { return unsigned(node.inputs.size()); }
  /// The operand, or null if it is absent.
  const Tensor *optionalInput(unsigned index) const {
    return index < numInputs() ? node.inputs[index] : nullptr;
  }
  /// An operand that the operator table requires (the driver has checked).
  const Tensor &input(unsigned index) const { return *node.inputs[index]; }

  /// The operand with half precision widened to f32.
  std::optional<Tensor> widened(const Tensor &tensor);

  /// A small integer operand (shape, axes, ...) of rank 0 or 1.
  std::optional<std::vector<int64_t>> intsOf(const Tensor &tensor,
                                             std::string_view what);
  /// An integer operand of exactly one element.
  std::optional<int64_t> intOf(const Tensor &tensor, std::string_view what);

  // --- attributes ---------------------------------------------------------
  // Reading an attribute also marks it as understood; the driver refuses a
  // node with attributes that the operator has not asked for.

  bool hasAttribute(std::string_view name) const;
  int64_t intAttribute(std::string_view name, int64_t otherwise);
  float floatAttribute(std::string_view name, float otherwise);
  std::string stringAttribute(std::string_view name,
                              std::string_view otherwise);
  /// None if the attribute is absent.
  std::optional<std::vector<int64_t>> intsAttribute(std::string_view name);
  /// Null if the attribute is absent.
  const Attribute *attribute(std::string_view name);
  /// An attribute that has no influence on values.
  void ignoreAttribute(std::string_view name) { understood.emplace(name); }
  /// Fails if an integer attribute has any other value than `required`.
  void requireAttribute(std::string_view name, int64_t required);
  /// An element type attribute such as Cast's `to`.
  std::optional<ElementType> typeAttribute(std::string_view name);
  /// The first attribute that nobody has asked for; null if there is none.
  const std::string *unknownAttribute() const;

  /// `axis` counted from the front, in [0, rank); fails otherwise.
  std::optional<int64_t> normalizeAxis(int64_t axis, int64_t rank);
  /// Several axes, normalized and without duplicates, ascending.
  std::optional<std::vector<int64_t>>
  normalizeAxes(const std::vector<int64_t> &axes, int64_t rank);

  int64_t opset() const { return node.opset; }

  // --- failure ------------------------------------------------------------

  template <typename... Pieces> void fail(const Pieces &...pieces) {
    if (failed())
      return; // the first failure is the cause
    (append(error, pieces), ...);
  }
  /// fail() for functions that return an optional.
  template <typename... Pieces>
  std::nullopt_t failure(const Pieces &...pieces) {
    fail(pieces...);
    return std::nullopt;
  }
  bool failed() const { return !error.empty(); }
  const std::string &message() const { return error; }

  /// Fails unless `tensor` has one of the types; `what` names the operand.
  bool requireType(const Tensor &tensor, std::string_view what,
                   std::initializer_list<ElementType> types);
  bool requireFloat(const Tensor &tensor, std::string_view what);
  bool requireSameType(const Tensor &a, std::string_view nameA, const Tensor &b,
                       std::string_view nameB);
  bool requireShape(const Tensor &tensor, std::string_view what,
                    const Shape &shape);
  bool requireRank(const Tensor &tensor, std::string_view what, int64_t rank);

  // --- results ------------------------------------------------------------

  unsigned numOutputs() const { return node.numOutputs; }
  bool wantsOutput(unsigned index) const { return index < numOutputs(); }
  /// Zeroed storage for a result; fails above the size limit.
  std::optional<MutableTensor> allocate(ElementType type, Shape shape);
  /// Ignored if the output is not asked for.
  void setOutput(unsigned index, Tensor tensor);
  void setOutput(unsigned index, MutableTensor tensor) {
    setOutput(index, std::move(tensor).freeze());
  }
  /// Rounds a result computed in f32 to the type of the output.
  void setOutputAs(unsigned index, MutableTensor tensor, ElementType type);
  /// The input under another shape.
  void setReshaped(unsigned index, const Tensor &tensor, Shape shape);
  std::vector<Tensor> takeOutputs() { return std::move(outputs); }

private:
  const Node &node;
  const EvalOptions &options;
  std::vector<Tensor> outputs;
  std::set<std::string, std::less<>> understood;
  std::string error;
};

/// f32 for half precision, else the type itself.
inline ElementType computeType(ElementType type) {
  return type == ElementType::Float16 || type == ElementType::BFloat16
             ? ElementType::Float32
             : type;
}

} // namespace llq::interp

#endif // LLQ_LIB_INTERPRETER_OPCONTEXT_H
