//===- Attention.cpp - The standard Attention operator --------------------===//
//
// Semantics are those of the ONNX 1.23 text, whose corrections hold for
// versions 23 and 24 too: the causal mask is aligned with the last key, the
// soft cap comes before the mask, a fully masked row gives zeros.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "AttentionCore.h"

#include "Broadcast.h"
#include "Indexing.h"
#include "Operators.h"

#include <cmath>

using namespace llq::interp;

namespace {

/// The attn_mask operand: bool, or a float added to the scores; broadcast to
/// [B, Hq, S, L], where keys from L on are masked.
struct AttentionMask {
  const Tensor *tensor = nullptr;
  std::vector<int64_t> strides; // four
  int64_t length = 0;           // L

  void addTo(int64_t b, int64_t h, int64_t s, double *row, int64_t keys) const {
    if (!tensor)
      return;
    int64_t first = b * strides[0] + h * strides[1] + s * strides[2];
    for (int64_t j = 0; j < keys; ++j) {
      double value = -INFINITY;
      if (j < length) {
        readDoubles(*tensor, first + j * strides[3], 1, &value);
        if (tensor->type() == ElementType::Bool)
          value = value != 0 ? 0.0 : -INFINITY;
      }
      row[j] += value;
    }
  }
};

} // namespace

static std::optional<AttentionMask> readMask(OpContext &context,
                                             const Tensor *mask,
                                             const Tensor &query,
                                             const Shape &full) {
  AttentionMask result;
  if (!mask)
    return result;
  if (mask->type() != ElementType::Bool &&
      !context.requireSameType(query, "the queries", *mask, "a float mask"))
    return std::nullopt;
  Shape target = full;
  if (mask->rank() > 0) {
    int64_t last = mask->dim(mask->rank() - 1);
    if (last != 1 && last < target[3])
      target[3] = last;
  }
  if (!requireBroadcastTo(context, "the mask", mask->shape(), target))
    return std::nullopt;
  result.tensor = mask;
  result.strides = broadcastStrides(mask->shape(), target);
  result.length = target[3];
  return result;
}

/// An operand as [B, H, S, D], widened.
static std::optional<Tensor> asHeads(OpContext &context, const Tensor &tensor,
                                     int64_t heads, std::string_view what) {
  std::optional<Tensor> wide = context.widened(tensor);
  if (!wide || tensor.rank() == 4)
    return wide;
  return splitHeads(context, *wide, heads, what);
}

/// Number of valid keys per sequence, for a cache kept outside the operator.
static std::optional<std::vector<int64_t>> validKeys(OpContext &context,
                                                     const Tensor &lengths,
                                                     int64_t batch,
                                                     int64_t keys) {
  if (!context.requireShape(lengths, "nonpad_kv_seqlen", {batch}))
    return std::nullopt;
  std::optional<Tensor> wide = readIndices(context, lengths);
  if (!wide)
    return std::nullopt;
  std::vector<int64_t> values = *wide->toInts();
  for (int64_t value : values)
    if (value < 0 || value > keys)
      return context.failure("nonpad_kv_seqlen = ", value, " of ", keys,
                             " keys");
  return values;
}

static void evalAttention(OpContext &context) {
  const Tensor &query = context.input(0);
  const Tensor *pastKey = context.optionalInput(4);
  const Tensor *pastValue = context.optionalInput(5);
  const Tensor *lengths = context.optionalInput(6);
  bool isCausal = context.intAttribute("is_causal", 0) != 0;
  int64_t queryHeads = context.intAttribute("q_num_heads", 0);
  int64_t kvHeads = context.intAttribute("kv_num_heads", 0);
  double softcap = context.floatAttribute("softcap", 0.0f);
  int64_t mode = context.intAttribute("qk_matmul_output_mode", 0);
  context.ignoreAttribute("softmax_precision"); // double is above any
  int64_t left = -1;
  int64_t right = -1;
  if (context.opset() >= 25) {
    left = context.intAttribute("left_window_size", -1);
    right = context.intAttribute("right_window_size", -1);
  }
  for (unsigned i : {0u, 1u, 2u})
    if (!context.requireFloat(context.input(i), "an operand"))
      return;
  if (mode < 0 || mode > 3)
    return context.fail("'qk_matmul_output_mode' = ", mode,
                        " is not in 0 to 3");
  if (bool(pastKey) != bool(pastValue))
    return context.fail("past_key and past_value must come together");
  if (lengths && pastKey)
    return context.fail("nonpad_kv_seqlen and a past exclude each other");

  AttentionJob job;
  std::optional<Tensor> q = asHeads(context, query, queryHeads, "the queries");
  std::optional<Tensor> k =
      asHeads(context, context.input(1), kvHeads, "the keys");
  std::optional<Tensor> v =
      asHeads(context, context.input(2), kvHeads, "the values");
  if (!q || !k || !v || !context.requireRank(*q, "the queries", 4) ||
      !context.requireRank(*k, "the keys", 4) ||
      !context.requireRank(*v, "the values", 4))
    return;
  int64_t past = 0;
  if (pastKey) {
    std::optional<Tensor> wideKey = context.widened(*pastKey);
    std::optional<Tensor> wideValue = context.widened(*pastValue);
    if (!wideKey || !wideValue)
      return;
    k = appendSequence(context, *wideKey, *k, "past_key");
    v = appendSequence(context, *wideValue, *v, "past_value");
    if (!k || !v)
      return;
    past = pastKey->dim(2);
  }
  job.q = *q;
  job.k = *k;
  job.v = *v;
  job.softcap = softcap;
  double headSize = double(job.q.dim(3));
  job.scale = context.hasAttribute("scale")
                  ? context.floatAttribute("scale", 1.0f)
                  : 1.0 / std::sqrt(headSize);
  if (context.wantsOutput(3))
    job.captures = ScoreStage(mode);

  int64_t queries = job.q.dim(2);
  int64_t keys = job.k.dim(2);
  std::optional<AttentionMask> mask =
      readMask(context, context.optionalInput(3), query,
               {job.q.dim(0), job.q.dim(1), queries, keys});
  std::optional<std::vector<int64_t>> valid =
      std::vector<int64_t>(size_t(job.q.dim(0)), keys);
  if (lengths)
    valid = validKeys(context, *lengths, job.q.dim(0), keys);
  if (!mask || !valid)
    return;
  job.addBias = [&](int64_t b, int64_t h, int64_t s, double *row) {
    mask->addTo(b, h, s, row, keys);
    int64_t present = (*valid)[size_t(b)];
    // Position of the query among the keys.
    int64_t position = s + (lengths ? present - queries : past);
    for (int64_t j = 0; j < keys; ++j)
      if (j >= present || (isCausal && j > position) ||
          (left >= 0 && position - j > left) ||
          (right >= 0 && j - position > right))
        row[j] = -INFINITY;
  };
  std::optional<AttentionResult> result = attend(context, job);
  if (!result)
    return;
  if (query.rank() == 4) {
    context.setOutputAs(0, std::move(result->y), query.type());
  } else {
    Tensor y = std::move(result->y).freeze();
    if (std::optional<MutableTensor> merged = mergeHeads(context, y))
      context.setOutputAs(0, std::move(*merged), query.type());
  }
  for (auto [index, tensor] : {std::pair(1u, &job.k), std::pair(2u, &job.v)}) {
    Result<Tensor> present = convert(*tensor, context.input(index).type());
    if (!present)
      return context.fail(present.message());
    context.setOutput(index, std::move(*present));
  }
  if (result->scores)
    context.setOutputAs(3, std::move(*result->scores), query.type());
}

constexpr Operator table[] = {
    {"Attention", 23, 3, 6, 4, evalAttention, "", 23},
    {"Attention", 24, 3, 7, 4, evalAttention},
};

std::span<const Operator> llq::interp::attentionOperators() { return table; }
