//===- AttentionCore.cpp - Scaled dot-product attention -------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#include "AttentionCore.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace llq::interp;

/// Softmax in place with an optional sink score in the denominator; a row
/// without any finite score becomes zeros.
static void softmaxRow(double *row, int64_t count, const double *sink) {
  double largest = sink ? *sink : -INFINITY;
  for (int64_t j = 0; j < count; ++j)
    largest = std::max(largest, row[j]);
  if (largest == -INFINITY) {
    std::fill_n(row, count, 0.0);
    return;
  }
  double sum = sink ? std::exp(*sink - largest) : 0.0;
  for (int64_t j = 0; j < count; ++j) {
    row[j] = std::exp(row[j] - largest);
    sum += row[j];
  }
  for (int64_t j = 0; j < count; ++j)
    row[j] /= sum;
}

template <typename T>
static void attendRows(const AttentionJob &job, AttentionResult &result) {
  int64_t batch = job.q.dim(0), heads = job.q.dim(1), queries = job.q.dim(2);
  int64_t headSize = job.q.dim(3), keys = job.k.dim(2);
  int64_t valueSize = job.v.dim(3);
  int64_t group = job.k.dim(1) ? heads / job.k.dim(1) : 1;
  std::vector<double> scores(static_cast<size_t>(keys));
  std::vector<double> mixed(static_cast<size_t>(valueSize));
  std::vector<double> query(static_cast<size_t>(headSize));
  double *row = scores.data();
  auto capture = [&](ScoreStage stage, int64_t position) {
    if (job.captures == stage)
      std::copy_n(row, keys, result.scores->data<T>() + position * keys);
  };
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h) {
      int64_t kvHead = b * job.k.dim(1) + h / group;
      const T *k = job.k.data<T>() + kvHead * keys * headSize;
      const T *v = job.v.data<T>() + kvHead * keys * valueSize;
      for (int64_t s = 0; s < queries; ++s) {
        int64_t position = (b * heads + h) * queries + s;
        std::copy_n(job.q.data<T>() + position * headSize, headSize,
                    query.data());
        for (int64_t j = 0; j < keys; ++j) {
          double dot = 0;
          for (int64_t d = 0; d < headSize; ++d)
            dot += query[size_t(d)] * double(k[j * headSize + d]);
          row[j] = dot * job.scale;
        }
        capture(ScoreStage::Raw, position);
        if (job.softcap != 0)
          for (int64_t j = 0; j < keys; ++j)
            row[j] = job.softcap * std::tanh(row[j] / job.softcap);
        capture(ScoreStage::Capped, position);
        if (job.addBias)
          job.addBias(b, h, s, row);
        capture(ScoreStage::Biased, position);
        softmaxRow(row, keys,
                   job.sinks.empty() ? nullptr : &job.sinks[size_t(h)]);
        capture(ScoreStage::Probabilities, position);
        std::fill(mixed.begin(), mixed.end(), 0.0);
        for (int64_t j = 0; j < keys; ++j) {
          // A key taken out must not contribute even NaN.
          if (row[j] == 0)
            continue;
          for (int64_t d = 0; d < valueSize; ++d)
            mixed[size_t(d)] += row[j] * double(v[j * valueSize + d]);
        }
        std::copy_n(mixed.data(), valueSize,
                    result.y.data<T>() + position * valueSize);
      }
    }
}

std::optional<AttentionResult> llq::interp::attend(OpContext &context,
                                                   const AttentionJob &job) {
  const Shape &q = job.q.shape();
  const Shape &k = job.k.shape();
  const Shape &v = job.v.shape();
  bool fits = q.size() == 4 && k.size() == 4 && v.size() == 4 && k[0] == q[0] &&
              v[0] == q[0] && v[1] == k[1] && v[2] == k[2] && k[3] == q[3] &&
              (k[1] ? q[1] % k[1] == 0 : q[1] == 0);
  if (!fits)
    return context.failure("queries ", q, ", keys ", k, " and values ", v,
                           " do not fit (as batch, heads, length, head size)");
  if (job.q.type() != job.k.type() || job.q.type() != job.v.type())
    return context.failure("queries, keys and values differ in type");
  std::optional<MutableTensor> y =
      context.allocate(job.q.type(), {q[0], q[1], q[2], v[3]});
  if (!y)
    return std::nullopt;
  AttentionResult result{std::move(*y), std::nullopt};
  if (job.captures) {
    result.scores = context.allocate(job.q.type(), {q[0], q[1], q[2], k[2]});
    if (!result.scores)
      return std::nullopt;
  }
  if (job.q.type() == ElementType::Float64)
    attendRows<double>(job, result);
  else
    attendRows<float>(job, result);
  return result;
}

/// Copies [B, outer, inner, D] to [B, inner, outer, D].
static std::optional<MutableTensor>
swapMiddle(OpContext &context, const Tensor &tensor, int64_t batch,
           int64_t outer, int64_t inner, int64_t headSize, Shape shape) {
  std::optional<MutableTensor> out =
      context.allocate(tensor.type(), std::move(shape));
  if (!out || tensor.numElements() == 0)
    return out;
  size_t bytes = size_t(headSize) * elementSize(tensor.type());
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < outer; ++i)
      for (int64_t j = 0; j < inner; ++j)
        std::memcpy(out->data<std::byte>() +
                        size_t((b * inner + j) * outer + i) * bytes,
                    tensor.data<std::byte>() +
                        size_t((b * outer + i) * inner + j) * bytes,
                    bytes);
  return out;
}

std::optional<Tensor> llq::interp::splitHeads(OpContext &context,
                                              const Tensor &tensor,
                                              int64_t heads,
                                              std::string_view what) {
  if (!context.requireRank(tensor, what, 3))
    return std::nullopt;
  if (heads < 1 || tensor.dim(2) % heads != 0)
    return context.failure("cannot make ", heads, " heads of ", what,
                           " of shape ", tensor.shape());
  int64_t headSize = tensor.dim(2) / heads;
  std::optional<MutableTensor> out =
      swapMiddle(context, tensor, tensor.dim(0), tensor.dim(1), heads, headSize,
                 {tensor.dim(0), heads, tensor.dim(1), headSize});
  if (!out)
    return std::nullopt;
  return std::move(*out).freeze();
}

std::optional<MutableTensor> llq::interp::mergeHeads(OpContext &context,
                                                     const Tensor &tensor) {
  int64_t heads = tensor.dim(1);
  int64_t length = tensor.dim(2);
  int64_t headSize = tensor.dim(3);
  return swapMiddle(context, tensor, tensor.dim(0), heads, length, headSize,
                    {tensor.dim(0), length, heads * headSize});
}

std::optional<Tensor> llq::interp::appendSequence(OpContext &context,
                                                  const Tensor &past,
                                                  const Tensor &next,
                                                  std::string_view what) {
  Shape expected = next.shape();
  if (past.rank() == 4)
    expected[2] = past.dim(2);
  if (!context.requireShape(past, what, expected) ||
      !context.requireSameType(past, what, next, "what is appended"))
    return std::nullopt;
  Shape shape = next.shape();
  shape[2] += past.dim(2);
  std::optional<MutableTensor> out =
      context.allocate(next.type(), std::move(shape));
  if (!out)
    return std::nullopt;
  size_t rowBytes = size_t(next.dim(3)) * elementSize(next.type());
  size_t pastBytes = size_t(past.dim(2)) * rowBytes;
  size_t nextBytes = size_t(next.dim(2)) * rowBytes;
  std::byte *to = out->data<std::byte>();
  for (int64_t i = 0, e = next.dim(0) * next.dim(1); i < e; ++i) {
    if (pastBytes)
      std::memcpy(to, past.data<std::byte>() + size_t(i) * pastBytes,
                  pastBytes);
    to += pastBytes;
    if (nextBytes)
      std::memcpy(to, next.data<std::byte>() + size_t(i) * nextBytes,
                  nextBytes);
    to += nextBytes;
  }
  return std::move(*out).freeze();
}
