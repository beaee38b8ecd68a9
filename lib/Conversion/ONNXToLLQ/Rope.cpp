//===- Rope.cpp - Rotary position embeddings ------------------------------===//
//
// A rotated element is a sum of two elements of one row, times a cosine and a
// sine. Which two, and which of the pair it replaces, follows from the numbers:
// rotate-half by slices, interleaved pairs, complex products and the operators
// that do it at once all end here.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"

#include <cmath>

using namespace mlir;
using namespace llq;
using namespace llq::raise;

/// Cosine and sine of one pair come from the same tables: equal up to rounding
/// of a common factor.
static bool isClose(float a, float b) {
  return std::abs(a - b) <= 1e-6f * std::max(1.0f, std::abs(a));
}

/// How far the length of a cosine and sine may be from that of others: tables
/// in bf16 are rounded to 8 bits.
static constexpr float kLengthTolerance = 1e-2f;

namespace {
/// Both rotated elements that come from one pair, as factors of the lower and
/// the higher column.
struct Pair {
  int64_t high = 0;
  SmallVector<std::pair<float, float>, 2> outputs;
  float cosine = 0, sine = 0;
  /// Which of the outputs replaces the lower element.
  unsigned low = 0;
};
} // namespace

Result<Activation> Evaluator::resolveRope(const Activation &value,
                                          Operation *op) {
  if (value.terms.size() == 1)
    return value;
  if (value.terms.size() != 2 || value.constant)
    return Error{"uses a sum of " + std::to_string(value.terms.size()) +
                 " terms of " + describe(value) +
                 " where queries, keys or values are needed"};
  int64_t count = countElements(value.shape);
  std::array<std::vector<int64_t>, 2> addresses;
  std::array<std::vector<float>, 2> factors;
  for (size_t t = 0; t < 2; ++t) {
    const Term &term = value.terms[t];
    addresses[t].resize(count);
    for (int64_t i = 0; i < count; ++i)
      addresses[t][i] = term.addresses ? term.addresses.data<int64_t>()[i]
                                       : makeAddress(term.root, i);
    factors[t].assign(count, 1);
    if (!term.coefficients)
      continue;
    Result<Tensor> full = expand(term.coefficients, value.shape);
    if (!full)
      return Error{full.message()};
    std::copy_n(full->data<float>(), count, factors[t].begin());
  }

  // Collect the pairs of the one root that is rotated.
  llvm::DenseMap<int64_t, Pair> pairs;
  std::optional<RootId> rotated;
  for (int64_t i = 0; i < count; ++i) {
    int64_t a = addresses[0][i], b = addresses[1][i];
    if (a == kNoElement || b == kNoElement)
      continue;
    if (!rotated)
      rotated = getRootOf(a);
    const Root &root = getRoot(*rotated);
    if (root.kind == Root::Kind::Past ||
        getRoot(getRootOf(a)).kind == Root::Kind::Past)
      return Error{"rotates cached keys; LLQ caches keys that are rotated"};
    if (getRootOf(a) != *rotated || getRootOf(b) != *rotated ||
        root.shape.size() != 2 || a == b ||
        getIndexOf(a) / root.shape[1] != getIndexOf(b) / root.shape[1])
      return Error{"adds elements of different activations where queries, keys "
                   "or values are needed"};
    std::pair<float, float> output(factors[0][i], factors[1][i]);
    if (a > b) {
      std::swap(a, b);
      std::swap(output.first, output.second);
    }
    Pair &pair = pairs[a];
    if (pair.outputs.empty())
      pair.high = b;
    if (pair.high != b)
      return Error{"combines an element of a query or key with more than one "
                   "other, which no rotary embedding does"};
    if (!llvm::is_contained(pair.outputs, output))
      pair.outputs.push_back(output);
  }
  if (!rotated)
    return Error{"uses a sum that rotates nothing"};
  const Root &source = getRoot(*rotated);

  // Each pair is a rotation, all by the same length.
  std::optional<float> length;
  for (auto &[low, pair] : pairs) {
    if (pair.outputs.size() != 2)
      return Error{"is no rotation of pairs of elements"};
    for (unsigned first : {0u, 1u}) {
      auto [lowCosine, minusSine] = pair.outputs[first];
      auto [sine, highCosine] = pair.outputs[1 - first];
      if (!isClose(lowCosine, highCosine) || !isClose(sine, -minusSine))
        continue;
      pair.low = first;
      pair.cosine = lowCosine;
      pair.sine = sine;
    }
    float norm = std::hypot(pair.cosine, pair.sine);
    if (!length)
      length = std::abs(norm - 1) < kLengthTolerance ? 1.0f : norm;
    if (!(norm > 0) || std::abs(norm - *length) > kLengthTolerance * *length)
      return Error{"is no rotation of pairs of elements"};
  }

  Root root(Root::Kind::Rope);
  root.shape = source.shape;
  root.rows = source.rows;
  root.op = op;
  root.inputs = {{*rotated, 0, source.shape[1]}};
  size_t size = size_t(countElements(source.shape));
  root.cosines.assign(size, 0);
  root.sines.assign(size, 0);
  root.partners.assign(size, -1);
  for (auto &[low, pair] : pairs)
    for (auto [index, other] : {std::pair(getIndexOf(low), pair.high),
                                std::pair(getIndexOf(pair.high), low)}) {
      root.cosines[index] = pair.cosine / *length;
      root.sines[index] = pair.sine / *length;
      root.partners[index] = int32_t(getIndexOf(other) % source.shape[1]);
    }
  RootId id = findOrAddRoot(std::move(root)).terms[0].root;

  std::vector<int64_t> result(count);
  std::vector<float> rest(count, 1);
  for (int64_t i = 0; i < count; ++i) {
    int64_t a = addresses[0][i], b = addresses[1][i];
    std::pair<float, float> output(factors[0][i], factors[1][i]);
    if (a == kNoElement || b == kNoElement) {
      // An element that is not rotated, such as a cached key.
      result[i] = a == kNoElement ? b : a;
      rest[i] = a == kNoElement ? output.second : output.first;
      continue;
    }
    if (a > b) {
      std::swap(a, b);
      std::swap(output.first, output.second);
    }
    const Pair &pair = pairs[a];
    bool isLow = pair.outputs[pair.low] == output;
    result[i] = makeAddress(id, getIndexOf(isLow ? a : b));
    rest[i] = *length;
  }
  Activation resolved;
  resolved.shape = value.shape;
  Term &term = resolved.terms.emplace_back();
  term.addresses = makeInts(value.shape, result);
  term.coefficients = makeFloats(value.shape, rest);
  simplify(resolved);
  return resolved;
}

//===----------------------------------------------------------------------===//
// Operators
//===----------------------------------------------------------------------===//

/// Rotates the last dimension of `value` by tables that broadcast to half of
/// it.
Result<Activation> Evaluator::rotate(const Activation &value,
                                     const Tensor &cosines, const Tensor &sines,
                                     bool interleaved) {
  int64_t size = value.shape.back(), half = size / 2;
  if (size % 2 || cosines.shape() != sines.shape() || cosines.shape().empty() ||
      cosines.shape().back() != half)
    return Error{"rotates only part of each head, which is not supported"};
  Activation input = value;
  auto axis = int64_t(value.shape.size()) - 1;
  if (interleaved) {
    // [..., half, 2] to [..., 2, half].
    Shape pairs = value.shape;
    pairs.back() = half;
    pairs.push_back(2);
    Result<Activation> split = reshape(value, pairs);
    if (!split)
      return split;
    Shape permutation;
    for (int64_t i = 0; i < axis; ++i)
      permutation.push_back(i);
    permutation.push_back(axis + 1);
    permutation.push_back(axis);
    split = transpose(*split, permutation);
    if (!split)
      return split;
    split = reshape(*split, value.shape);
    if (!split)
      return split;
    input = *split;
  }
  Known cosine{cosines, std::nullopt, false}, sine{sines, std::nullopt, false};
  Result<Activation> low = slice(input, axis, 0, half);
  Result<Activation> high = slice(input, axis, half, size);
  if (!low || !high)
    return low ? high : low;
  auto combineHalves = [&](const Activation &x, const Activation &y,
                           float sign) -> Result<Activation> {
    Result<Activation> a = scale(x, cosine), b = scale(y, sine);
    if (!a || !b)
      return a ? b : a;
    for (Activation *part : {&*a, &*b})
      for (Term &term : part->terms)
        if (!term.coefficients)
          term.coefficients = Tensor::ofFloat(1);
    b = scale(*b, sign);
    if (!b)
      return b;
    return add(*a, *b, nullptr);
  };
  Result<Activation> first = combineHalves(*low, *high, -1);
  Result<Activation> second = combineHalves(*high, *low, 1);
  if (!first || !second)
    return first ? second : first;
  Result<Activation> both = concat({*first, *second}, axis);
  if (!both || !interleaved)
    return both;
  Shape pairs = value.shape;
  pairs.back() = 2;
  pairs.push_back(half);
  Result<Activation> split = reshape(*both, pairs);
  if (!split)
    return split;
  Shape permutation;
  for (int64_t i = 0; i < axis; ++i)
    permutation.push_back(i);
  permutation.push_back(axis + 1);
  permutation.push_back(axis);
  split = transpose(*split, permutation);
  return split ? reshape(*split, value.shape) : split;
}

/// Rows of a matrix of constants, as f32. Of one that has not been read only
/// these are: a table for 131072 positions is as large as a layer.
Result<Tensor> Evaluator::gatherRows(const AbstractValue &table,
                                     const Tensor &indices) {
  auto *unread = std::get_if<Unread>(&table);
  auto type = unread ? dyn_cast<RankedTensorType>(unread->view.data.getType())
                     : RankedTensorType();
  bool isWhole = type && unread->view.shape.size() == 2 &&
                 ArrayRef(unread->view.shape) == type.getShape() &&
                 unread->view.offset == 0 && unread->view.isContiguous();
  if (!isWhole) {
    Result<Known> known = getKnown(table);
    Result<Tensor> all =
        known ? toFloat(known->tensor) : Error{known.message()};
    if (!all)
      return all;
    if (all->rank() != 2)
      return Error{"has cosines of rank " + std::to_string(all->rank()) +
                   ", needed is [positions, half a head]"};
    return compute("Gather", {&*all, &indices});
  }
  Result<std::vector<int64_t>> rows = indices.toInts();
  if (!rows)
    return Error{rows.message()};
  size_t width = size_t(type.getDimSize(1));
  std::vector<float> values(rows->size() * width);
  for (auto [i, row] : llvm::enumerate(*rows)) {
    if (row < 0 || row >= type.getDimSize(0))
      return Error{"needs position " + std::to_string(row) +
                   " of a table that has " +
                   std::to_string(type.getDimSize(0))};
    if (llvm::Error error =
            reader.readRows(unread->view.data, row, row + 1,
                            MutableArrayRef(values).slice(i * width, width)))
      return Error{llvm::toString(std::move(error))};
  }
  Shape shape = indices.shape();
  shape.push_back(int64_t(width));
  return makeFloats(shape, values);
}

/// Rows of a table [C, half] at `positions` as [batch, 1, tokens, half].
Result<Tensor> Evaluator::selectAngles(const AbstractValue &table,
                                       const Tensor &positions,
                                       int64_t tokens) {
  Tensor indices = positions;
  if (positions.numElements() == 1 && tokens > 1) {
    // One number is the position of the first token.
    Result<std::vector<int64_t>> first = positions.toInts();
    if (!first)
      return Error{first.message()};
    std::vector<int64_t> all;
    for (int64_t t = 0; t < tokens; ++t)
      all.push_back((*first)[0] + t);
    indices = makeInts({1, tokens}, all);
  }
  if (indices.numElements() % tokens)
    return Error{"has " + std::to_string(indices.numElements()) +
                 " positions for " + std::to_string(tokens) + " tokens"};
  Result<Tensor> rows = gatherRows(table, indices);
  if (!rows)
    return rows;
  return rows->reshaped(
      {indices.numElements() / tokens, 1, tokens, rows->shape().back()});
}

/// Applies `rotate` to [B, H, T, D], or to [B, T, H * D] with the given heads.
Result<Evaluator::Values> Evaluator::ruleRotaryEmbedding(Node &node) {
  const Activation *value = node.activation(0);
  if (!value || node.activation(1) || node.activation(2))
    return Error{"has angles that depend on the tokens"};
  if (node.getInt("rotary_embedding_dim", 0) != 0 &&
      node.getInt("rotary_embedding_dim", 0) != value->shape.back())
    return Error{"rotates only part of each head, which is not supported"};
  bool flat = value->shape.size() == 3;
  if (!flat && value->shape.size() != 4)
    return Error{"needs an input of rank 3 or 4"};
  int64_t tokens = value->shape[flat ? 1 : 2];
  auto getAngles = [&](size_t index) -> Result<Tensor> {
    if (node.has(3)) {
      Result<Known> positions = getKnown(node.input(3));
      if (!positions)
        return Error{positions.message()};
      return selectAngles(node.input(index), positions->tensor, tokens);
    }
    Result<Known> known = getKnown(node.input(index));
    Result<Tensor> rows =
        known ? toFloat(known->tensor) : Error{known.message()};
    if (!rows || rows->rank() != 3)
      return rows;
    return rows->reshaped({rows->dim(0), 1, rows->dim(1), rows->dim(2)});
  };
  Result<Tensor> cosine = getAngles(1), sine = getAngles(2);
  if (!cosine || !sine)
    return Error{cosine ? sine.message() : cosine.message()};
  Result<Activation> heads = *value;
  if (flat) {
    int64_t count = node.getInt("num_heads", 0);
    if (count == 0 && cosine->shape().back() > 0)
      count = value->shape[2] / (2 * cosine->shape().back());
    heads = splitHeads(*value, count);
  }
  if (heads)
    heads = rotate(*heads, *cosine, *sine, node.getInt("interleaved", 0));
  if (heads && flat) {
    heads = transpose(*heads, {0, 2, 1, 3});
    if (heads)
      heads = reshape(*heads, value->shape);
  }
  if (!heads)
    return Error{heads.message()};
  return Values{std::move(*heads)};
}

/// onnxruntime's operator has the positions before the tables.
Result<Evaluator::Values> Evaluator::ruleContribRotaryEmbedding(Node &node) {
  if (node.getFloat("scale", 1) != 1 || node.getInt("is_packed_batching", 0))
    return Error{"scales positions or packs batches, which is not supported"};
  Node standard = node;
  standard.inputs = {node.input(0), node.input(2), node.input(3),
                     node.input(1)};
  return ruleRotaryEmbedding(standard);
}
