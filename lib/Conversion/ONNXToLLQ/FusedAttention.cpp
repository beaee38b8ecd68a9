//===- FusedAttention.cpp - Attention operators ---------------------------===//
//
// Attention, GroupQueryAttention and MultiHeadAttention, taken apart into the
// steps that exporters write out otherwise; the checks are those of the steps.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"

#include <cmath>

using namespace mlir;
using namespace llq;
using namespace llq::raise;

/// Queries [B, H, T, D], keys and values [B, KV, S, D], and what is added to
/// the scores.
struct Evaluator::FusedAttention {
  Activation queries, keys, values;
  float scale = 1;
  /// Additive masks that broadcast to [B, H, T, S].
  SmallVector<Tensor> masks;
};

/// [B, T, H * D] as [B, H, T, D].
Result<Activation> Evaluator::splitHeads(const Activation &value,
                                         int64_t heads) {
  if (value.shape.size() == 4)
    return value;
  if (value.shape.size() != 3 || heads <= 0 || value.shape[2] % heads)
    return Error{"cannot make " + std::to_string(heads) + " heads of shape " +
                 toString(value.shape)};
  Result<Activation> split = reshape(
      value, {value.shape[0], value.shape[1], heads, value.shape[2] / heads});
  return split ? transpose(*split, {0, 2, 1, 3}) : split;
}

/// Cached keys or values, input `index` if there is one, followed by `fresh`.
Result<Activation> Evaluator::appendPast(Node &node, size_t index,
                                         const Activation &fresh) {
  if (!node.has(index))
    return fresh;
  const Activation *past = node.activation(index);
  if (!past || past->shape.size() != 4 || fresh.shape.size() != 4)
    return Error{"has a cache that is no input of the graph"};
  // What is appended is rotated for good.
  Result<Activation> rotated = resolveRope(fresh, node.op);
  return rotated ? concat({*past, *rotated}, 2) : rotated;
}

Result<Activation> Evaluator::attend(const FusedAttention &in, Operation *op) {
  if (in.queries.shape.size() != 4 || in.keys.shape.size() != 4 ||
      in.values.shape.size() != 4)
    return Error{"needs queries, keys and values in heads"};
  int64_t heads = in.queries.shape[1], kvHeads = in.keys.shape[1];
  if (kvHeads == 0 || heads % kvHeads || in.values.shape[1] != kvHeads)
    return Error{"has " + std::to_string(heads) + " query heads, " +
                 std::to_string(kvHeads) + " key heads and " +
                 std::to_string(in.values.shape[1]) + " value heads"};
  auto repeat = [&](const Activation &value) -> Result<Activation> {
    Shape grouped = value.shape, repeated = value.shape, all = value.shape;
    grouped.insert(grouped.begin() + 2, 1);
    repeated.insert(repeated.begin() + 2, heads / kvHeads);
    all[1] = heads;
    Result<Activation> result = reshape(value, grouped);
    if (result)
      result = expandTo(*result, repeated);
    return result ? reshape(*result, all) : result;
  };
  Result<Activation> keys = resolveRope(in.keys, op);
  if (keys)
    keys = repeat(*keys);
  if (keys)
    keys = transpose(*keys, {0, 1, 3, 2});
  Result<Activation> values = repeat(in.values);
  if (!keys || !values)
    return keys ? values : keys;
  Result<Activation> result = scores(in.queries, *keys, op);
  if (result)
    result = scale(*result, in.scale);
  for (const Tensor &mask : in.masks)
    if (result)
      result = shift(*result, Known{mask, std::nullopt, false});
  if (result)
    result = softmax(*result, op);
  return result ? weighValues(*result, *values, op) : result;
}

/// 0 for the first `limit(t)` keys of token t, -inf for the rest: [T, S].
static Tensor makeCausalMask(int64_t tokens, int64_t keys,
                             llvm::function_ref<int64_t(int64_t)> limit) {
  std::vector<float> mask;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t s = 0; s < keys; ++s)
      mask.push_back(s < limit(t) ? 0 : -INFINITY);
  return makeFloats({tokens, keys}, mask);
}

/// A mask operand as summands: booleans say what is seen.
static Result<Tensor> asSummands(const Tensor &mask) {
  if (mask.type() != ElementType::Bool)
    return toFloat(mask);
  Tensor zero = Tensor::ofFloat(0), hidden = Tensor::ofFloat(-INFINITY);
  return compute("Where", {&mask, &zero, &hidden});
}

/// [B, H, T, D] as [B, T, H * D].
static Shape mergedShape(const Shape &heads) {
  return {heads[0], heads[2], heads[1] * heads[3]};
}

Result<Evaluator::Values> Evaluator::ruleAttention(Node &node) {
  for (size_t i : {0u, 1u, 2u})
    if (!node.activation(i))
      return Error{"has queries, keys or values that are constant"};
  if (node.getFloat("softcap", 0) != 0)
    return Error{"caps scores (softcap), which is not supported"};
  if (node.getInt("left_window_size", -1) >= 0 ||
      node.getInt("right_window_size", -1) > 0)
    return Error{"uses a sliding window, which is not supported"};
  bool flat = node.activation(0)->shape.size() == 3;
  Result<Activation> q =
      splitHeads(*node.activation(0), node.getInt("q_num_heads", 0));
  Result<Activation> k =
      splitHeads(*node.activation(1), node.getInt("kv_num_heads", 0));
  Result<Activation> v =
      splitHeads(*node.activation(2), node.getInt("kv_num_heads", 0));
  int64_t past = node.activation(4) && node.activation(4)->shape.size() == 4
                     ? node.activation(4)->shape[2]
                     : 0;
  if (k)
    k = appendPast(node, 4, *k);
  if (v)
    v = appendPast(node, 5, *v);
  for (Result<Activation> *part : {&q, &k, &v}) {
    if (!*part)
      return Error{part->message()};
    if ((*part)->shape.size() != 4)
      return Error{"needs queries, keys and values of rank 3 or 4"};
  }
  FusedAttention in{*q, *k, *v, 1, {}};
  in.scale = node.getFloat("scale", 1 / std::sqrt(float(q->shape[3])));
  int64_t tokens = q->shape[2], keys = k->shape[2];
  // Keys behind the valid ones of a cache of fixed size are not seen.
  int64_t valid = keys;
  if (node.has(6)) {
    const Known *lengthsOf = node.known(6);
    Result<std::vector<int64_t>> counts =
        lengthsOf ? lengthsOf->tensor.toInts() : Error{""};
    if (!counts || counts->empty() || !llvm::all_equal(*counts))
      return Error{"has a number of valid keys that is not the same for all "
                   "sequences"};
    valid = counts->front();
    past = valid - tokens;
  }
  bool causal = node.getInt("is_causal", 0);
  in.masks.push_back(makeCausalMask(tokens, keys, [&](int64_t t) {
    return causal ? std::min(valid, past + t + 1) : valid;
  }));
  if (node.has(3)) {
    const Known *mask = node.known(3);
    Result<Tensor> summands = mask ? asSummands(mask->tensor)
                                   : Error{"has a mask that depends on "
                                           "the tokens"};
    if (!summands)
      return Error{summands.message()};
    in.masks.push_back(*summands);
  }
  Result<Activation> y = attend(in, node.op);
  if (y && flat) {
    Shape shape = mergedShape(y->shape);
    y = transpose(*y, {0, 2, 1, 3});
    if (y)
      y = reshape(*y, shape);
  }
  if (!y)
    return Error{y.message()};
  return Values{std::move(*y), std::move(*k), std::move(*v)};
}

Result<Evaluator::Values> Evaluator::ruleGroupQueryAttention(Node &node) {
  const Activation *query = node.activation(0);
  int64_t heads = node.getInt("num_heads", 0);
  int64_t kvHeads = node.getInt("kv_num_heads", 0);
  constexpr int64_t limit = int64_t(1) << 20;
  if (!query || query->shape.size() != 3 || heads <= 0 || kvHeads <= 0 ||
      heads > limit || kvHeads > limit || heads % kvHeads)
    return Error{"needs queries [B, T, H * D] and heads that are a multiple of "
                 "the key heads"};
  if (node.getInt("local_window_size", -1) >= 0)
    return Error{"uses a sliding window (local_window_size), which is not "
                 "supported"};
  if (node.getFloat("softcap", 0) != 0)
    return Error{"caps scores (softcap), which is not supported"};
  if (node.getInt("smooth_softmax", 0) == 1 || node.has(11))
    return Error{"uses a softmax with a sink, which is not supported"};
  if (node.getInt("causal", 1) != 1)
    return Error{"is not causal"};
  for (auto [index, what] :
       {std::pair(12u, "a quantized cache"),
        std::pair(13u, "a quantized cache"), std::pair(14u, "norms of queries"),
        std::pair(15u, "norms of keys")})
    if (node.has(index))
      return Error{std::string("has ") + what + ", which is not supported"};
  for (const char *name : {"k_quant_type", "v_quant_type"})
    if (std::string type = node.getString(name);
        !type.empty() && type != "NONE")
      return Error{"has a quantized cache, which is not supported"};

  // Queries, keys and values, packed or apart.
  Result<Activation> parts[3] = {*query, Error{"lacks its keys"},
                                 Error{"lacks its values"}};
  int64_t batch = query->shape[0], tokens = query->shape[1];
  if (node.has(1) || node.has(2)) {
    for (size_t i : {1u, 2u})
      if (const Activation *part = node.activation(i))
        parts[i] = *part;
  } else {
    int64_t size = query->shape[2] / (heads + 2 * kvHeads);
    if (size * (heads + 2 * kvHeads) != query->shape[2])
      return Error{"has packed queries, keys and values that are no whole "
                   "number of heads"};
    int64_t ends[] = {heads * size, (heads + kvHeads) * size, query->shape[2]};
    for (size_t i = 0; i < 3; ++i)
      parts[i] = slice(*query, 2, i ? ends[i - 1] : 0, ends[i]);
  }
  for (size_t i = 0; i < 3; ++i) {
    if (parts[i])
      parts[i] = splitHeads(*parts[i], i ? kvHeads : heads);
    if (!parts[i])
      return Error{parts[i].message()};
  }
  // All sequences have as many tokens.
  const Known *last = node.known(5), *total = node.known(6);
  Result<std::vector<int64_t>> lastKeys =
      last ? last->tensor.toInts() : Error{""};
  Result<std::vector<int64_t>> totals =
      total ? total->tensor.toInts() : Error{""};
  if (!lastKeys || !totals || totals->size() != 1 ||
      totals->front() != lengths.total() ||
      llvm::any_of(*lastKeys,
                   [&](int64_t n) { return n != lengths.total() - 1; }))
    return Error{"has sequence lengths that are not those of its inputs"};

  if (node.getInt("do_rotary", 0)) {
    if (!node.has(7) || !node.has(8))
      return Error{"lacks its tables of cosines and sines"};
    Tensor positions;
    if (const Known *given = node.known(9)) {
      positions = given->tensor;
    } else {
      std::vector<int64_t> all;
      for (int64_t i = 0; i < batch * tokens; ++i)
        all.push_back(lengths.past + i % tokens);
      positions = makeInts({batch, tokens}, all);
    }
    Result<Tensor> tables[2] = {selectAngles(node.input(7), positions, tokens),
                                selectAngles(node.input(8), positions, tokens)};
    for (const Result<Tensor> &table : tables)
      if (!table)
        return Error{table.message()};
    for (size_t i : {0u, 1u}) {
      parts[i] = rotate(*parts[i], *tables[0], *tables[1],
                        node.getInt("rotary_interleaved", 0));
      if (!parts[i])
        return Error{parts[i].message()};
    }
  }
  Result<Activation> k = appendPast(node, 3, *parts[1]);
  Result<Activation> v = appendPast(node, 4, *parts[2]);
  if (!k || !v)
    return Error{k ? v.message() : k.message()};
  FusedAttention in{*parts[0], *k, *v, node.getFloat("scale", 0), {}};
  if (in.scale == 0)
    in.scale = 1 / std::sqrt(float(parts[0]->shape[3]));
  in.masks.push_back(makeCausalMask(
      tokens, k->shape[2], [&](int64_t t) { return lengths.past + t + 1; }));
  if (node.has(10)) {
    const Known *bias = node.known(10);
    Result<Tensor> summands = bias ? toFloat(bias->tensor)
                                   : Error{"has a bias that depends on the "
                                           "tokens"};
    if (!summands)
      return Error{summands.message()};
    in.masks.push_back(*summands);
  }
  Result<Activation> y = attend(in, node.op);
  if (y)
    y = transpose(*y, {0, 2, 1, 3});
  if (y)
    y = reshape(*y, {batch, tokens, y->shape[2] * y->shape[3]});
  if (!y)
    return Error{y.message()};
  return Values{std::move(*y), std::move(*k), std::move(*v)};
}

Result<Evaluator::Values> Evaluator::ruleMultiHeadAttention(Node &node) {
  int64_t heads = node.getInt("num_heads", 0);
  Result<Activation> parts[3] = {Error{""}, Error{""}, Error{""}};
  for (size_t i : {0u, 1u, 2u}) {
    const Activation *part = node.activation(i);
    if (!part)
      return Error{"needs queries, keys and values apart"};
    parts[i] = splitHeads(*part, heads);
    if (!parts[i])
      return Error{parts[i].message()};
  }
  if (node.has(3) || node.has(8) || node.has(9))
    return Error{"has a bias or a shared cache, which is not supported"};
  Result<Activation> k = appendPast(node, 6, *parts[1]);
  Result<Activation> v = appendPast(node, 7, *parts[2]);
  if (!k || !v)
    return Error{k ? v.message() : k.message()};
  FusedAttention in{*parts[0], *k, *v, node.getFloat("scale", 0), {}};
  if (in.scale == 0)
    in.scale = 1 / std::sqrt(float(parts[0]->shape[3]));
  int64_t tokens = parts[0]->shape[2], keys = k->shape[2];
  if (node.getInt("unidirectional", 0))
    in.masks.push_back(makeCausalMask(
        tokens, keys, [&](int64_t t) { return keys - tokens + t + 1; }));
  if (node.has(4)) {
    // Padding: with full sequences every key counts.
    const Known *mask = node.known(4);
    Result<std::vector<int64_t>> counts =
        mask ? mask->tensor.toInts() : Error{""};
    if (!counts || llvm::is_contained(*counts, 0) || mask->tensor.rank() != 2)
      return Error{"has a padding mask in a form that is not supported"};
  }
  if (node.has(5)) {
    const Known *bias = node.known(5);
    Result<Tensor> summands = bias ? toFloat(bias->tensor)
                                   : Error{"has a bias that depends on the "
                                           "tokens"};
    if (!summands)
      return Error{summands.message()};
    in.masks.push_back(*summands);
  }
  Result<Activation> y = attend(in, node.op);
  if (y)
    y = transpose(*y, {0, 2, 1, 3});
  if (y)
    y = reshape(*y, {y->shape[0], y->shape[1], y->shape[2] * y->shape[3]});
  if (!y)
    return Error{y.message()};
  return Values{std::move(*y), std::move(*k), std::move(*v)};
}
