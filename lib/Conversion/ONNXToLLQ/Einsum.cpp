//===- Einsum.cpp - Products written as equations -------------------------===//
//
// Every equation of two operands that a decoder has is one matrix product of
// operands with their dimensions in another order.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"

using namespace mlir;
using namespace llq;
using namespace llq::raise;

namespace {
/// "ab,bc->ac": the letters of both operands and of the result, and by what
/// they are: dimensions of all three, those summed over, those of one operand.
struct Equation {
  std::string operands[2], result;
  std::string batch, summed, rows, columns;
};
} // namespace

static bool isUnique(StringRef letters) {
  for (size_t i = 0; i < letters.size(); ++i)
    if (!llvm::isLower(letters[i]) ||
        letters.find(letters[i], i + 1) != StringRef::npos)
      return false;
  return true;
}

static std::optional<Equation> parse(StringRef text) {
  std::string plain = text.lower();
  llvm::erase(plain, ' ');
  auto [left, result] = StringRef(plain).split("->");
  auto [a, b] = left.split(',');
  if (!isUnique(a) || !isUnique(b) || !isUnique(result) || result.empty())
    return std::nullopt;
  Equation equation{{a.str(), b.str()}, result.str(), "", "", "", ""};
  for (char letter : a) {
    bool inB = b.contains(letter), inResult = result.contains(letter);
    if (!inB && !inResult)
      return std::nullopt;
    (inB ? inResult ? equation.batch : equation.summed : equation.rows) +=
        letter;
  }
  for (char letter : b) {
    if (a.contains(letter))
      continue;
    if (!result.contains(letter))
      return std::nullopt;
    equation.columns += letter;
  }
  if (result.size() !=
      equation.batch.size() + equation.rows.size() + equation.columns.size())
    return std::nullopt;
  return equation;
}

/// The permutation that takes dimensions `from` to the order `to`.
static Shape getPermutation(StringRef from, StringRef to) {
  Shape permutation;
  for (char letter : to)
    permutation.push_back(int64_t(from.find(letter)));
  return permutation;
}

Result<Evaluator::Values> Evaluator::ruleEinsum(Node &node) {
  std::optional<Equation> equation = parse(node.getString("equation"));
  const Activation *a = node.activation(0);
  if (!equation || !a || node.inputs.size() != 2 ||
      a->shape.size() != equation->operands[0].size())
    return Error{"has an equation that is no product of matrices with "
                 "activations on its left"};
  const auto &[operands, result, batch, summed, rows, columns] = *equation;
  llvm::DenseMap<char, int64_t> sizes;
  for (auto [letter, size] : llvm::zip_equal(operands[0], a->shape))
    sizes[letter] = size;
  auto asSizes = [&](StringRef letters) {
    Shape shape;
    for (char letter : letters)
      shape.push_back(sizes[letter]);
    return shape;
  };
  auto flatten = [&](StringRef letters) {
    return countElements(asSizes(letters));
  };

  // [batch..., rows, summed] times [batch..., summed, columns].
  Result<Activation> x =
      transpose(*a, getPermutation(operands[0], batch + rows + summed));
  if (!x)
    return Error{x.message()};
  AbstractValue y;
  std::string order = batch + summed + columns;
  Shape permutation = getPermutation(operands[1], order);
  auto setSizes = [&](const Shape &shape) {
    if (shape.size() != operands[1].size())
      return false;
    for (auto [letter, size] : llvm::zip_equal(operands[1], shape))
      if (!sizes.try_emplace(letter, size).second && sizes[letter] != size)
        return false;
    return true;
  };
  auto getShape = [&] {
    Shape shape = asSizes(batch);
    shape.insert(shape.end(), {flatten(summed), flatten(columns)});
    return shape;
  };
  const Error sizesDiffer{"has operands that do not fit its equation"};
  if (const Activation *b = node.activation(1)) {
    if (!setSizes(b->shape))
      return sizesDiffer;
    Result<Activation> moved = transpose(*b, permutation);
    if (moved)
      moved = reshape(*moved, getShape());
    if (!moved)
      return Error{moved.message()};
    y = std::move(*moved);
  } else {
    const WeightView *view = nullptr;
    if (auto *unread = std::get_if<Unread>(&node.input(1)))
      view = &unread->view;
    else if (const Known *known = node.known(1); known && known->view)
      view = &*known->view;
    if (!view || !batch.empty())
      return Error{"multiplies by something else than a constant matrix"};
    if (!setSizes(view->shape))
      return sizesDiffer;
    std::optional<WeightView> moved =
        view->transposed(permutation).reshaped(getShape());
    if (!moved)
      return Error{"has a weight whose dimensions cannot be merged"};
    y = Unread{std::move(*moved)};
  }
  Shape shape = asSizes(batch);
  shape.insert(shape.end(), {flatten(rows), flatten(summed)});
  x = reshape(*x, shape);
  if (x)
    x = matMul(AbstractValue(std::move(*x)), y, node.op);
  std::string given = batch + rows + columns;
  if (x)
    x = reshape(*x, asSizes(given));
  if (x)
    x = transpose(*x, getPermutation(given, result));
  if (!x)
    return Error{x.message()};
  return Values{std::move(*x)};
}
