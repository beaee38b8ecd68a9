//===- ContribAttention.cpp - GroupQueryAttention, MultiHeadAttention -----===//
//
// The attention operators of onnxruntime (com.microsoft), as its CPU kernels
// compute them.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "AttentionCore.h"

#include "Broadcast.h"
#include "Indexing.h"
#include "Operators.h"
#include "Rotary.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace llq::interp;

/// Columns [begin, begin + count) of the last dimension of a 3D tensor.
static std::optional<Tensor> sliceColumns(OpContext &context,
                                          const Tensor &tensor, int64_t begin,
                                          int64_t count) {
  std::optional<MutableTensor> out =
      context.allocate(tensor.type(), {tensor.dim(0), tensor.dim(1), count});
  if (!out)
    return std::nullopt;
  size_t size = elementSize(tensor.type());
  for (int64_t row = 0, e = tensor.dim(0) * tensor.dim(1);
       row < e && count != 0; ++row)
    std::memcpy(out->data<std::byte>() + size_t(row * count) * size,
                tensor.data<std::byte>() +
                    size_t(row * tensor.dim(2) + begin) * size,
                size_t(count) * size);
  return std::move(*out).freeze();
}

namespace {

/// An operand added to the scores: [B or 1, heads or 1, S, T].
struct ScoreBias {
  const Tensor *tensor = nullptr;
  std::vector<int64_t> strides; // four
  int64_t keys = 0;

  void addTo(int64_t b, int64_t h, int64_t s, double *row) const {
    for (int64_t j = 0; tensor && j < keys; ++j) {
      double value;
      readDoubles(*tensor,
                  b * strides[0] + h * strides[1] + s * strides[2] +
                      j * strides[3],
                  1, &value);
      row[j] += value;
    }
  }
};

} // namespace

static std::optional<ScoreBias> readBias(OpContext &context, const Tensor *bias,
                                         const Shape &scores) {
  ScoreBias result;
  if (!bias)
    return result;
  if (!context.requireFloat(*bias, "attention_bias") ||
      !context.requireRank(*bias, "attention_bias", 4) ||
      !requireBroadcastTo(context, "attention_bias", bias->shape(), scores))
    return std::nullopt;
  result.tensor = bias;
  result.strides = broadcastStrides(bias->shape(), scores);
  result.keys = scores[3];
  return result;
}

/// Sets output 0 to y[B, H, S, D] as [B, S, H * D].
static void setMerged(OpContext &context, AttentionResult result,
                      ElementType type) {
  Tensor y = std::move(result.y).freeze();
  if (std::optional<MutableTensor> merged = mergeHeads(context, y))
    context.setOutputAs(0, std::move(*merged), type);
}

static void setConverted(OpContext &context, unsigned index,
                         const Tensor &tensor, ElementType type) {
  Result<Tensor> converted = convert(tensor, type);
  if (!converted)
    return context.fail(converted.message());
  context.setOutput(index, std::move(*converted));
}

//===----------------------------------------------------------------------===//
// GroupQueryAttention
//===----------------------------------------------------------------------===//

namespace {

/// How the tokens of a GroupQueryAttention lie in its cache.
struct CacheLayout {
  int64_t batch, queries;
  /// total_sequence_length: most valid keys of any sequence.
  int64_t total;
  /// Length of the present buffers.
  int64_t capacity;
  /// Valid keys before the new ones, and including them, per sequence.
  std::vector<int64_t> past, valid;
};

} // namespace

static std::optional<CacheLayout> readCacheLayout(OpContext &context) {
  const Tensor &query = context.input(0);
  const Tensor *pastKey = context.optionalInput(3);
  const Tensor *pastValue = context.optionalInput(4);
  const Tensor *lengths = context.optionalInput(5);
  const Tensor *total = context.optionalInput(6);
  if (!lengths || !total)
    return context.failure("seqlens_k and total_sequence_length are needed");
  if (bool(pastKey) != bool(pastValue))
    return context.failure("past_key and past_value must come together");
  if (pastKey &&
      (!context.requireRank(*pastKey, "past_key", 4) ||
       !context.requireShape(*pastValue, "past_value", pastKey->shape())))
    return std::nullopt;
  std::optional<int64_t> totalLength =
      context.intOf(*total, "total_sequence_length");
  std::optional<Tensor> lastKeys = readIndices(context, *lengths);
  if (!totalLength || !lastKeys)
    return std::nullopt;
  CacheLayout layout;
  layout.batch = query.dim(0);
  layout.queries = query.dim(1);
  layout.total = *totalLength;
  if (lastKeys->numElements() != layout.batch)
    return context.failure("seqlens_k has shape ", lengths->shape(),
                           " for a batch of ", layout.batch);
  if (layout.total < 1 || layout.total > maxElements ||
      layout.queries > layout.total)
    return context.failure("total_sequence_length = ", layout.total, " for ",
                           layout.queries, " new tokens");
  int64_t pastLength = pastKey ? pastKey->dim(2) : 0;
  layout.capacity = std::max(pastLength, layout.total);
  // A first prompt starts an empty cache, whatever the buffers hold; sequences
  // shorter than the longest are padded at the end.
  bool isPrompt = layout.queries == layout.total;
  for (int64_t b = 0; b < layout.batch; ++b) {
    int64_t last = lastKeys->data<int64_t>()[b];
    if (last < 0 || last >= layout.total)
      return context.failure("seqlens_k = ", last,
                             " with total_sequence_length = ", layout.total);
    int64_t past = isPrompt ? 0 : last + 1 - layout.queries;
    if (past < 0 || past > pastLength)
      return context.failure("seqlens_k = ", last, " with ", layout.queries,
                             " new tokens and a past of ", pastLength);
    layout.past.push_back(past);
    layout.valid.push_back(last + 1);
  }
  return layout;
}

/// RMS norm of every head vector, as some models do before rotation.
static void normalizeHeads(MutableTensor &heads, const Tensor &weight,
                           double epsilon) {
  int64_t size = weight.numElements();
  std::vector<double> factors = weight.toDoubles();
  float *row = heads.data<float>();
  for (int64_t i = 0, e = size ? heads.numElements() / size : 0; i < e;
       ++i, row += size) {
    double square = 0;
    for (int64_t d = 0; d < size; ++d)
      square += double(row[d]) * double(row[d]);
    double inverse = 1.0 / std::sqrt(square / double(size) + epsilon);
    for (int64_t d = 0; d < size; ++d)
      row[d] = float(double(row[d]) * inverse * factors[size_t(d)]);
  }
}

namespace {

/// What happens to new queries and keys before attention.
struct HeadTransform {
  const Tensor *cosTable = nullptr;
  const Tensor *sinTable = nullptr;
  std::optional<Tensor> positions; // i64 [B, S], if given
  bool interleaved = false;
  double normEpsilon = 0;

  bool read(OpContext &context, const CacheLayout &layout, int64_t headSize);
  bool apply(OpContext &context, const CacheLayout &layout,
             const Tensor *normWeight, Tensor &heads) const;
};

bool HeadTransform::read(OpContext &context, const CacheLayout &layout,
                         int64_t headSize) {
  interleaved = context.intAttribute("rotary_interleaved", 0) != 0;
  normEpsilon = context.floatAttribute("qk_norm_epsilon", 1e-6f);
  for (unsigned i : {14u, 15u})
    if (const Tensor *weight = context.optionalInput(i))
      if (!context.requireShape(*weight, "a norm weight", {headSize}) ||
          !context.requireFloat(*weight, "a norm weight"))
        return false;
  if (context.intAttribute("do_rotary", 0) == 0)
    return !context.failed();
  cosTable = context.optionalInput(7);
  sinTable = context.optionalInput(8);
  if (!cosTable || !sinTable) {
    context.fail("do_rotary needs cos_cache and sin_cache");
    return false;
  }
  if (!context.requireRank(*cosTable, "cos_cache", 2) ||
      !context.requireShape(*sinTable, "sin_cache", cosTable->shape()))
    return false;
  if (cosTable->dim(1) > headSize / 2) {
    context.fail("tables of ", cosTable->dim(1), " columns for a head of ",
                 headSize);
    return false;
  }
  if (const Tensor *ids = context.optionalInput(9)) {
    if (!context.requireShape(*ids, "position_ids",
                              {layout.batch, layout.queries}))
      return false;
    positions = readIndices(context, *ids);
  }
  return !context.failed();
}

/// `heads` is [B, H, S, D] in f32.
bool HeadTransform::apply(OpContext &context, const CacheLayout &layout,
                          const Tensor *normWeight, Tensor &heads) const {
  if (!normWeight && !cosTable)
    return true;
  std::optional<MutableTensor> out =
      context.allocate(heads.type(), heads.shape());
  if (!out)
    return false;
  if (heads.numElements() != 0)
    std::memcpy(out->data<std::byte>(), heads.data<std::byte>(),
                heads.sizeInBytes());
  if (normWeight)
    normalizeHeads(*out, *normWeight, normEpsilon);
  if (cosTable) {
    int64_t half = cosTable->dim(1);
    std::vector<double> cosines(static_cast<size_t>(half));
    std::vector<double> sines(static_cast<size_t>(half));
    float *row = out->data<float>();
    for (int64_t b = 0; b < layout.batch; ++b)
      for (int64_t h = 0; h < heads.dim(1); ++h)
        for (int64_t s = 0; s < layout.queries; ++s, row += heads.dim(3)) {
          int64_t position =
              positions ? positions->data<int64_t>()[b * layout.queries + s]
                        : layout.past[size_t(b)] + s;
          if (position < 0 || position >= cosTable->dim(0)) {
            context.fail("position ", position, " is outside tables of ",
                         cosTable->dim(0), " rows");
            return false;
          }
          readDoubles(*cosTable, position * half, half, cosines.data());
          readDoubles(*sinTable, position * half, half, sines.data());
          rotateHead(row, cosines.data(), sines.data(), half, interleaved);
        }
  }
  heads = std::move(*out).freeze();
  return true;
}

} // namespace

/// The present buffer: each sequence's valid rows of the past, the new rows,
/// and zeros to the end.
static std::optional<Tensor> updateCache(OpContext &context, const Tensor *past,
                                         const Tensor &rows,
                                         const CacheLayout &layout) {
  int64_t heads = rows.dim(1);
  int64_t headSize = rows.dim(3);
  if (past &&
      !context.requireShape(*past, "a past buffer",
                            {layout.batch, heads, past->dim(2), headSize}))
    return std::nullopt;
  std::optional<MutableTensor> out = context.allocate(
      rows.type(), {layout.batch, heads, layout.capacity, headSize});
  std::optional<Tensor> widePast;
  if (past)
    widePast = context.widened(*past);
  if (!out || context.failed())
    return std::nullopt;
  for (int64_t b = 0; b < layout.batch; ++b)
    for (int64_t h = 0; h < heads; ++h) {
      int64_t head = b * heads + h;
      float *to = out->data<float>() + head * layout.capacity * headSize;
      if (widePast)
        std::copy_n(widePast->data<float>() + head * past->dim(2) * headSize,
                    layout.past[size_t(b)] * headSize, to);
      std::copy_n(rows.data<float>() + head * layout.queries * headSize,
                  layout.queries * headSize,
                  to + layout.past[size_t(b)] * headSize);
    }
  return std::move(*out).freeze();
}

/// Splits the query operand, and key and value if they are not packed into it,
/// into heads.
static bool readHeads(OpContext &context, int64_t heads, int64_t kvHeads,
                      Tensor &q, Tensor &k, Tensor &v) {
  const Tensor *key = context.optionalInput(1);
  const Tensor *value = context.optionalInput(2);
  std::optional<Tensor> query = context.widened(context.input(0));
  if (!query)
    return false;
  std::optional<Tensor> wideKey, wideValue;
  if (key && value) {
    wideKey = context.widened(*key);
    wideValue = context.widened(*value);
  } else if (key || value) {
    context.fail("key and value must come together");
    return false;
  } else {
    int64_t columns = query->dim(2);
    if (columns % (heads + 2 * kvHeads) != 0) {
      context.fail("cannot make ", heads, " + 2 * ", kvHeads, " heads of ",
                   columns, " columns");
      return false;
    }
    int64_t headSize = columns / (heads + 2 * kvHeads);
    wideKey =
        sliceColumns(context, *query, heads * headSize, kvHeads * headSize);
    wideValue = sliceColumns(context, *query, (heads + kvHeads) * headSize,
                             kvHeads * headSize);
    query = sliceColumns(context, *query, 0, heads * headSize);
  }
  if (!query || !wideKey || !wideValue)
    return false;
  std::optional<Tensor> parts[3] = {
      splitHeads(context, *query, heads, "the queries"),
      splitHeads(context, *wideKey, kvHeads, "the keys"),
      splitHeads(context, *wideValue, kvHeads, "the values")};
  if (!parts[0] || !parts[1] || !parts[2])
    return false;
  q = *parts[0];
  k = *parts[1];
  v = *parts[2];
  for (const Tensor *other : {&k, &v})
    if (other->dim(2) != q.dim(2) || other->dim(3) != q.dim(3) ||
        other->dim(0) != q.dim(0)) {
      context.fail("queries ", q.shape(), " and keys or values ",
                   other->shape(),
                   " do not fit (as batch, heads, length, head size)");
      return false;
    }
  return true;
}

static void evalGroupQueryAttention(OpContext &context) {
  const Tensor &query = context.input(0);
  int64_t heads = context.intAttribute("num_heads", 0);
  int64_t kvHeads = context.intAttribute("kv_num_heads", 0);
  bool isCausal = context.intAttribute("causal", 1) != 0;
  int64_t window = context.intAttribute("local_window_size", -1);
  bool isSmooth = context.intAttribute("smooth_softmax", 0) == 1;
  AttentionJob job;
  job.softcap = context.floatAttribute("softcap", 0.0f);
  job.scale = context.floatAttribute("scale", 0.0f);
  context.requireAttribute("qk_output", 0);
  context.requireAttribute("sliding_window_cache", 0);
  context.ignoreAttribute("kv_cache_bit_width"); // of quantized caches
  for (std::string_view name : {"k_quant_type", "v_quant_type"})
    if (context.stringAttribute(name, "NONE") != "NONE")
      return context.fail("quantized caches are not supported");
  if (context.optionalInput(12) || context.optionalInput(13))
    return context.fail("quantized caches are not supported");
  if (heads < 1 || kvHeads < 1 || heads > maxElements || heads % kvHeads != 0)
    return context.fail("num_heads = ", heads,
                        " is not a multiple of kv_num_heads = ", kvHeads);
  if (!context.requireRank(query, "the queries", 3) ||
      !context.requireType(
          query, "the queries",
          {ElementType::Float32, ElementType::Float16, ElementType::BFloat16}))
    return;
  for (unsigned i : {1u, 2u, 3u, 4u})
    if (const Tensor *other = context.optionalInput(i))
      if (!context.requireSameType(query, "the queries", *other,
                                   "keys, values and past"))
        return;

  std::optional<CacheLayout> layout = readCacheLayout(context);
  HeadTransform transform;
  if (!layout || !readHeads(context, heads, kvHeads, job.q, job.k, job.v) ||
      !transform.read(context, *layout, job.q.dim(3)) ||
      !transform.apply(context, *layout, context.optionalInput(14), job.q) ||
      !transform.apply(context, *layout, context.optionalInput(15), job.k))
    return;
  std::optional<Tensor> presentKey =
      updateCache(context, context.optionalInput(3), job.k, *layout);
  std::optional<Tensor> presentValue =
      updateCache(context, context.optionalInput(4), job.v, *layout);
  std::optional<ScoreBias> bias =
      readBias(context, context.optionalInput(10),
               {layout->batch, heads, layout->queries, layout->total});
  if (!presentKey || !presentValue || !bias)
    return;
  job.k = *presentKey;
  job.v = *presentValue;
  if (job.scale == 0)
    job.scale = 1.0 / std::sqrt(double(job.q.dim(3)));
  if (const Tensor *sink = context.optionalInput(11)) {
    if (!context.requireShape(*sink, "head_sink", {heads}))
      return;
    job.sinks = sink->toDoubles();
  } else if (isSmooth) {
    job.sinks.assign(size_t(heads), 0.0);
  }
  job.addBias = [&](int64_t b, int64_t h, int64_t s, double *row) {
    bias->addTo(b, h, s, row);
    int64_t position = layout->past[size_t(b)] + s;
    // Rows of padding see what causality allows; nobody reads them.
    int64_t end = isCausal ? position + 1 : layout->valid[size_t(b)];
    int64_t begin = window > 0 ? position + 1 - window : 0;
    for (int64_t j = 0; j < layout->capacity; ++j)
      if (j < begin || j >= end)
        row[j] = -INFINITY;
  };
  std::optional<AttentionResult> result = attend(context, job);
  if (!result)
    return;
  setMerged(context, std::move(*result), query.type());
  setConverted(context, 1, *presentKey, query.type());
  setConverted(context, 2, *presentValue, query.type());
}

//===----------------------------------------------------------------------===//
// MultiHeadAttention
//===----------------------------------------------------------------------===//

/// Adds a slice of the projection bias to [B, S, columns].
static std::optional<Tensor> addProjectionBias(OpContext &context,
                                               const Tensor &tensor,
                                               const Tensor *bias,
                                               int64_t begin) {
  if (!bias)
    return tensor;
  std::optional<MutableTensor> out =
      context.allocate(tensor.type(), tensor.shape());
  if (!out)
    return std::nullopt;
  int64_t columns = tensor.dim(2);
  std::vector<double> offsets(static_cast<size_t>(columns));
  readDoubles(*bias, begin, columns, offsets.data());
  for (int64_t i = 0, e = tensor.numElements(); i < e; ++i)
    out->data<float>()[i] =
        float(double(tensor.data<float>()[i]) + offsets[size_t(i % columns)]);
  return std::move(*out).freeze();
}

/// Part `index` of `parts` packed as [B, S, heads, parts, D], as [B, S,
/// heads * D].
static std::optional<Tensor> unpackHeads(OpContext &context,
                                         const Tensor &packed, int64_t index) {
  int64_t headSize = packed.dim(4);
  int64_t parts = packed.dim(3);
  std::optional<MutableTensor> out = context.allocate(
      packed.type(), {packed.dim(0), packed.dim(1), packed.dim(2) * headSize});
  if (!out)
    return std::nullopt;
  for (int64_t i = 0, e = packed.dim(0) * packed.dim(1) * packed.dim(2); i < e;
       ++i)
    std::copy_n(packed.data<float>() + (i * parts + index) * headSize, headSize,
                out->data<float>() + i * headSize);
  return std::move(*out).freeze();
}

/// Reads queries, keys and values in any of the operator's packings, adds the
/// projection bias and splits them into heads.
static bool readMultiHeads(OpContext &context, int64_t heads, Tensor &q,
                           Tensor &k, Tensor &v) {
  const Tensor *key = context.optionalInput(1);
  const Tensor *value = context.optionalInput(2);
  const Tensor *bias = context.optionalInput(3);
  std::optional<Tensor> parts[3] = {context.widened(context.input(0))};
  if (key)
    parts[1] = context.widened(*key);
  if (value)
    parts[2] = context.widened(*value);
  if (context.failed())
    return false;
  auto checkPacked = [&](const Tensor &tensor, int64_t count) {
    if (tensor.rank() == 5 && tensor.dim(2) == heads && tensor.dim(3) == count)
      return true;
    context.fail("a packed operand has shape ", tensor.shape(),
                 ", need [batch, length, ", heads, ", ", count, ", head size]");
    return false;
  };
  if (!key && !value) {
    Tensor packed = *parts[0];
    if (!checkPacked(packed, 3))
      return false;
    for (int64_t i = 0; i < 3; ++i)
      parts[i] = unpackHeads(context, packed, i);
  } else if (key && !value) {
    Tensor packed = *parts[1];
    if (!checkPacked(packed, 2))
      return false;
    for (int64_t i = 0; i < 2; ++i)
      parts[i + 1] = unpackHeads(context, packed, i);
  } else if (!key) {
    context.fail("a value without a key");
    return false;
  }
  if (context.failed() || !context.requireRank(*parts[0], "the queries", 3))
    return false;
  if (bias) {
    int64_t columns = 0;
    for (const std::optional<Tensor> &part : parts) {
      if (!context.requireRank(*part, "an operand with a bias", 3))
        return false;
      columns += part->dim(2);
    }
    if (!context.requireShape(*bias, "the bias", {columns}) ||
        !context.requireFloat(*bias, "the bias"))
      return false;
  }
  int64_t begin = 0;
  Tensor *results[3] = {&q, &k, &v};
  for (int i = 0; i < 3; ++i) {
    if (parts[i]->rank() == 4) { // already [B, heads, S, D]
      *results[i] = *parts[i];
      continue;
    }
    std::optional<Tensor> biased =
        addProjectionBias(context, *parts[i], bias, begin);
    if (!biased)
      return false;
    if (biased->rank() == 3)
      begin += biased->dim(2);
    std::optional<Tensor> split =
        splitHeads(context, *biased, heads, "an operand");
    if (!split)
      return false;
    *results[i] = *split;
  }
  return true;
}

namespace {

/// key_padding_mask: lengths [B], or flags [B, T] or [B, S, T].
struct PaddingMask {
  std::optional<Tensor> values; // i64
  int64_t queries = 0, keys = 0;
  double filter = 0;

  void addTo(int64_t b, int64_t s, double *row) const {
    if (!values)
      return;
    const int64_t *data = values->data<int64_t>();
    for (int64_t j = 0; j < keys; ++j) {
      bool isPadding = values->rank() == 1 ? j >= data[b]
                       : values->rank() == 2
                           ? data[b * keys + j] == 0
                           : data[(b * queries + s) * keys + j] == 0;
      if (isPadding)
        row[j] += filter;
    }
  }
};

} // namespace

static void evalMultiHeadAttention(OpContext &context) {
  const Tensor &query = context.input(0);
  const Tensor *pastKey = context.optionalInput(6);
  const Tensor *pastValue = context.optionalInput(7);
  int64_t heads = context.intAttribute("num_heads", 0);
  bool isCausal = context.intAttribute("unidirectional", 0) != 0;
  double filter = context.floatAttribute("mask_filter_value", -10000.0f);
  AttentionJob job;
  job.scale = context.floatAttribute("scale", 0.0f);
  if (context.optionalInput(8) || context.optionalInput(9))
    return context.fail("shared cache buffers are not supported");
  if (heads < 1)
    return context.fail("num_heads = ", heads);
  for (unsigned i : {0u, 1u, 2u, 6u, 7u})
    if (const Tensor *operand = context.optionalInput(i))
      if (!context.requireType(*operand, "an operand",
                               {ElementType::Float32, ElementType::Float16,
                                ElementType::BFloat16}))
        return;
  if (bool(pastKey) != bool(pastValue))
    return context.fail("past_key and past_value must come together");
  if (!readMultiHeads(context, heads, job.q, job.k, job.v))
    return;
  int64_t past = 0;
  if (pastKey) {
    std::optional<Tensor> wideKey = context.widened(*pastKey);
    std::optional<Tensor> wideValue = context.widened(*pastValue);
    if (!wideKey || !wideValue)
      return;
    std::optional<Tensor> k =
        appendSequence(context, *wideKey, job.k, "past_key");
    std::optional<Tensor> v =
        appendSequence(context, *wideValue, job.v, "past_value");
    if (!k || !v)
      return;
    job.k = *k;
    job.v = *v;
    past = pastKey->dim(2);
  }
  int64_t batch = job.q.dim(0);
  int64_t queries = job.q.dim(2);
  int64_t keys = job.k.dim(2);
  std::optional<ScoreBias> bias = readBias(
      context, context.optionalInput(5), {batch, job.q.dim(1), queries, keys});
  if (!bias)
    return;
  PaddingMask padding{std::nullopt, queries, keys, filter};
  if (const Tensor *mask = context.optionalInput(4)) {
    const Shape &shape = mask->shape();
    if (shape != Shape{batch} && shape != Shape{batch, keys} &&
        shape != Shape{batch, queries, keys})
      return context.fail("key_padding_mask has shape ", shape, ", need [",
                          batch, "], [", batch, ", ", keys, "] or [", batch,
                          ", ", queries, ", ", keys, "]");
    padding.values = readIndices(context, *mask);
    if (!padding.values)
      return;
  }
  if (job.scale == 0)
    job.scale = 1.0 / std::sqrt(double(job.q.dim(3)));
  job.addBias = [&](int64_t b, int64_t h, int64_t s, double *row) {
    bias->addTo(b, h, s, row);
    padding.addTo(b, s, row);
    for (int64_t j = past + s + 1; isCausal && j < keys; ++j)
      row[j] = -INFINITY;
  };
  std::optional<AttentionResult> result = attend(context, job);
  if (!result)
    return;
  setMerged(context, std::move(*result), query.type());
  setConverted(context, 1, job.k, query.type());
  setConverted(context, 2, job.v, query.type());
}

constexpr Operator table[] = {
    {"GroupQueryAttention", 1, 1, 16, 3, evalGroupQueryAttention,
     microsoftDomain},
    {"MultiHeadAttention", 1, 1, 10, 3, evalMultiHeadAttention,
     microsoftDomain},
};

std::span<const Operator> llq::interp::contribAttentionOperators() {
  return table;
}
