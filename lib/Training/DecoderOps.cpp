//===- DecoderOps.cpp - Operations of a decoder and their gradients -------===//
//
// Products go to BLAS in tiles whose sizes follow from the shapes alone; sums
// over tokens and heads have one order.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Training/DecoderOps.h"

#include "lib/Numerics/BLAS.h"
#include "llq/Numerics/Rotation.h"
#include "llq/Support/ParallelFor.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <vector>

using namespace llq;
using namespace llq::numerics;

/// Rows and columns of a tile of a product.
static constexpr int64_t kTileRows = 128;
static constexpr int64_t kTileColumns = 512;
/// Tokens of a chunk of row-wise work, and elements of an element-wise one.
static constexpr int64_t kChunkTokens = 16;
static constexpr int64_t kChunkElements = 16384;

/// Calls body(row, rows, column, columns) for the tiles of a matrix.
template <typename Body>
static void forTiles(int64_t rows, int64_t columns, ThreadPool &pool,
                     Body body) {
  int64_t across = (columns + kTileColumns - 1) / kTileColumns;
  int64_t down = (rows + kTileRows - 1) / kTileRows;
  pool.parallelFor(0, down * across, 1, [&](int64_t tile, int64_t) {
    int64_t row = tile / across * kTileRows;
    int64_t column = tile % across * kTileColumns;
    body(row, std::min(kTileRows, rows - row), column,
         std::min(kTileColumns, columns - column));
  });
}

void training::add(const float *x, int64_t count, float *y) {
  for (int64_t i = 0; i != count; ++i)
    y[i] += x[i];
}

//===----------------------------------------------------------------------===//
// Linear layers
//===----------------------------------------------------------------------===//

void training::linear(const LinearShape &shape, const float *x, const float *w,
                      const float *bias, float *y, ThreadPool &pool) {
  auto [tokens, inputs, outputs] = shape;
  forTiles(tokens, outputs, pool,
           [&](int64_t t, int64_t rows, int64_t n, int64_t columns) {
             float *tile = y + t * outputs + n;
             blas::multiplyTransposed(rows, columns, inputs, 1.0f,
                                      x + t * inputs, inputs, w + n * inputs,
                                      inputs, 0.0f, tile, outputs);
             for (int64_t i = 0; bias && i != rows; ++i)
               add(bias + n, columns, tile + i * outputs);
           });
}

void training::linearInputGradient(const LinearShape &shape, const float *dy,
                                   const float *w, float *dx,
                                   ThreadPool &pool) {
  auto [tokens, inputs, outputs] = shape;
  forTiles(tokens, inputs, pool,
           [&](int64_t t, int64_t rows, int64_t k, int64_t columns) {
             blas::multiply(rows, columns, outputs, 1.0f, dy + t * outputs,
                            outputs, w + k, inputs, 1.0f, dx + t * inputs + k,
                            inputs);
           });
}

void training::linearWeightGradient(const LinearShape &shape, const float *dy,
                                    const float *x, float *dw,
                                    ThreadPool &pool) {
  auto [tokens, inputs, outputs] = shape;
  forTiles(outputs, inputs, pool,
           [&](int64_t n, int64_t rows, int64_t k, int64_t columns) {
             blas::transposedMultiply(rows, columns, tokens, dy + n, outputs,
                                      x + k, inputs, 1.0f, dw + n * inputs + k,
                                      inputs);
           });
}

//===----------------------------------------------------------------------===//
// Normalization
//===----------------------------------------------------------------------===//

static float getInverseRoot(const float *x, int64_t columns, float epsilon) {
  double sum = 0;
  for (int64_t i = 0; i != columns; ++i)
    sum += double(x[i]) * x[i];
  return float(1.0 / std::sqrt(sum / double(columns) + epsilon));
}

void training::rmsNorm(const NormShape &shape, const float *x,
                       const float *weight, float *y, ThreadPool &pool) {
  int64_t columns = shape.columns;
  pool.parallelFor(0, shape.tokens, kChunkTokens, [&](int64_t t, int64_t end) {
    for (; t != end; ++t) {
      const float *row = x + t * columns;
      float r = getInverseRoot(row, columns, shape.epsilon);
      for (int64_t i = 0; i != columns; ++i)
        y[t * columns + i] = weight[i] * (row[i] * r);
    }
  });
}

void training::rmsNormGradient(const NormShape &shape, const float *x,
                               const float *weight, const float *dy, float *dx,
                               float *dweight, ThreadPool &pool) {
  int64_t columns = shape.columns;
  std::vector<float> roots(shape.tokens);
  pool.parallelFor(0, shape.tokens, kChunkTokens, [&](int64_t t, int64_t end) {
    for (; t != end; ++t) {
      const float *row = x + t * columns, *d = dy + t * columns;
      float r = roots[t] = getInverseRoot(row, columns, shape.epsilon);
      double sum = 0;
      for (int64_t i = 0; i != columns; ++i)
        sum += double(d[i]) * weight[i] * row[i];
      float factor = float(sum * r * r * r / double(columns));
      for (int64_t i = 0; i != columns; ++i)
        dx[t * columns + i] += r * (d[i] * weight[i]) - factor * row[i];
    }
  });
  for (int64_t t = 0; dweight && t != shape.tokens; ++t)
    for (int64_t i = 0; i != columns; ++i)
      dweight[i] += dy[t * columns + i] * (x[t * columns + i] * roots[t]);
}

//===----------------------------------------------------------------------===//
// Rotary positions
//===----------------------------------------------------------------------===//

/// Adds to y the pairs of x, rotated by the angles times `direction`.
static void addRotated(const training::RopeShape &shape, const float *x,
                       const float *cos, const float *sin, float direction,
                       float *y, ThreadPool &pool) {
  int64_t half = shape.headDim / 2, columns = shape.columns;
  int64_t step = shape.interleaved ? 2 : 1,
          other = shape.interleaved ? 1 : half;
  pool.parallelFor(0, shape.tokens, kChunkTokens, [&](int64_t t, int64_t end) {
    for (; t != end; ++t)
      for (int64_t head = 0; head != columns; head += shape.headDim) {
        const float *from = x + t * columns + head;
        float *to = y + t * columns + head;
        for (int64_t i = 0; i != half; ++i) {
          float c = cos[t * half + i], s = direction * sin[t * half + i];
          float a = from[i * step], b = from[i * step + other];
          to[i * step] += a * c - b * s;
          to[i * step + other] += b * c + a * s;
        }
      }
  });
}

void training::rope(const RopeShape &shape, const float *x, const float *cos,
                    const float *sin, float *y, ThreadPool &pool) {
  std::fill(y, y + shape.tokens * shape.columns, 0.0f);
  addRotated(shape, x, cos, sin, 1.0f, y, pool);
}

void training::ropeGradient(const RopeShape &shape, const float *dy,
                            const float *cos, const float *sin, float *dx,
                            ThreadPool &pool) {
  addRotated(shape, dy, cos, sin, -1.0f, dx, pool);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

namespace {
/// Queries [begin, begin + rows) of a head and the positions that they see.
struct QueryTile {
  int64_t head, begin, rows, positions;
};

/// Where heads lie: row t of a head is `stride` floats behind row t - 1.
class Heads {
public:
  explicit Heads(const training::AttentionShape &shape)
      : shape(shape), queryStride(shape.heads * shape.headDim),
        keyStride(shape.kvHeads * shape.headDim) {
    assert(shape.heads % shape.kvHeads == 0);
  }

  int64_t query(int64_t head, int64_t token) const {
    return token * queryStride + head * shape.headDim;
  }
  /// Of the key/value head that query head `head` reads, token 0.
  int64_t key(int64_t head) const {
    return head / (shape.heads / shape.kvHeads) * shape.headDim;
  }

  QueryTile getTile(int64_t head, int64_t begin) const {
    int64_t rows = std::min(kTileRows, shape.tokens - begin);
    return {head, begin, rows, begin + rows};
  }

  /// s[rows, positions] = scale q k^T.
  void multiplyScores(const QueryTile &tile, const float *query,
                      const float *keys, float *scores) const {
    blas::multiplyTransposed(
        tile.rows, tile.positions, shape.headDim, shape.scale,
        query + this->query(tile.head, tile.begin), queryStride,
        keys + key(tile.head), keyStride, 0.0f, scores, tile.positions);
  }

  const training::AttentionShape &shape;
  const int64_t queryStride, keyStride;
};
} // namespace

/// Replaces scores by probabilities; positions behind a query get 0.
static void applySoftmax(const QueryTile &tile, float *scores, float *logSums) {
  for (int64_t i = 0; i != tile.rows; ++i, scores += tile.positions) {
    int64_t seen = tile.begin + i + 1;
    float most = *std::max_element(scores, scores + seen);
    double sum = 0;
    for (int64_t s = 0; s != seen; ++s)
      sum += scores[s] = std::exp(scores[s] - most);
    float factor = float(1.0 / sum);
    for (int64_t s = 0; s != seen; ++s)
      scores[s] *= factor;
    std::fill(scores + seen, scores + tile.positions, 0.0f);
    logSums[tile.begin + i] = most + float(std::log(sum));
  }
}

void training::attention(const AttentionShape &shape, const float *query,
                         const float *key, const float *value, float *y,
                         float *logSums, ThreadPool &pool) {
  Heads heads(shape);
  int64_t down = (shape.tokens + kTileRows - 1) / kTileRows;
  pool.parallelFor(0, shape.heads * down, 1, [&](int64_t item, int64_t) {
    QueryTile tile = heads.getTile(item / down, item % down * kTileRows);
    std::vector<float> scores(tile.rows * tile.positions);
    heads.multiplyScores(tile, query, key, scores.data());
    applySoftmax(tile, scores.data(), logSums + tile.head * shape.tokens);
    blas::multiply(tile.rows, shape.headDim, tile.positions, 1.0f,
                   scores.data(), tile.positions, value + heads.key(tile.head),
                   heads.keyStride, 0.0f,
                   y + heads.query(tile.head, tile.begin), heads.queryStride);
  });
}

namespace {
/// The gradients of one head, which has keys and values of its own here.
class HeadGradient {
public:
  HeadGradient(const Heads &heads, int64_t head)
      : heads(heads), head(head),
        dkey(heads.shape.tokens * heads.shape.headDim), dvalue(dkey.size()) {}

  /// Adds those of a tile.
  void addTile(const QueryTile &tile, const float *query, const float *key,
               const float *value, const float *y, const float *logSums,
               const float *dy, float *dquery);

  /// Adds what the head has to those of its key/value head.
  static void addTo(const Heads &heads, int64_t head,
                    const std::vector<float> &from, float *to) {
    int64_t width = heads.shape.headDim;
    for (int64_t t = 0; t != heads.shape.tokens; ++t)
      training::add(from.data() + t * width, width,
                    to + t * heads.keyStride + heads.key(head));
  }

  const Heads &heads;
  int64_t head;
  std::vector<float> dkey, dvalue; ///< [tokens, headDim]

private:
  std::vector<float> probabilities, dscores; ///< [rows, positions]
};
} // namespace

void HeadGradient::addTile(const QueryTile &tile, const float *query,
                           const float *key, const float *value, const float *y,
                           const float *logSums, const float *dy,
                           float *dquery) {
  int64_t width = heads.shape.headDim, positions = tile.positions;
  int64_t at = heads.query(head, tile.begin), stride = heads.queryStride;
  probabilities.resize(tile.rows * positions);
  dscores.resize(tile.rows * positions);
  heads.multiplyScores(tile, query, key, probabilities.data());
  for (int64_t i = 0; i != tile.rows; ++i) {
    float *row = probabilities.data() + i * positions;
    int64_t seen = tile.begin + i + 1;
    for (int64_t s = 0; s != seen; ++s)
      row[s] = std::exp(row[s] - logSums[tile.begin + i]);
    std::fill(row + seen, row + positions, 0.0f);
  }
  // dv += P^T dy, dP = dy v^T.
  blas::transposedMultiply(positions, width, tile.rows, probabilities.data(),
                           positions, dy + at, stride, 1.0f, dvalue.data(),
                           width);
  blas::multiplyTransposed(tile.rows, positions, width, 1.0f, dy + at, stride,
                           value + heads.key(head), heads.keyStride, 0.0f,
                           dscores.data(), positions);
  // dS = P (dP - sum P dP), and that sum is sum dy y.
  for (int64_t i = 0; i != tile.rows; ++i) {
    double delta = 0;
    for (int64_t c = 0; c != width; ++c)
      delta += double(dy[at + i * stride + c]) * y[at + i * stride + c];
    for (int64_t s = 0; s != positions; ++s)
      dscores[i * positions + s] = probabilities[i * positions + s] *
                                   (dscores[i * positions + s] - float(delta)) *
                                   heads.shape.scale;
  }
  // dq += dS k, dk += dS^T q.
  blas::multiply(tile.rows, width, positions, 1.0f, dscores.data(), positions,
                 key + heads.key(head), heads.keyStride, 1.0f, dquery + at,
                 stride);
  blas::transposedMultiply(positions, width, tile.rows, dscores.data(),
                           positions, query + at, stride, 1.0f, dkey.data(),
                           width);
}

void training::attentionGradient(const AttentionShape &shape,
                                 const float *query, const float *key,
                                 const float *value, const float *y,
                                 const float *logSums, const float *dy,
                                 float *dquery, float *dkey, float *dvalue,
                                 ThreadPool &pool) {
  Heads heads(shape);
  std::vector<HeadGradient> gradients;
  for (int64_t head = 0; head != shape.heads; ++head)
    gradients.emplace_back(heads, head);
  pool.parallelFor(0, shape.heads, 1, [&](int64_t head, int64_t) {
    for (int64_t begin = 0; begin < shape.tokens; begin += kTileRows)
      gradients[head].addTile(heads.getTile(head, begin), query, key, value, y,
                              logSums + head * shape.tokens, dy, dquery);
  });
  for (const HeadGradient &gradient : gradients) {
    HeadGradient::addTo(heads, gradient.head, gradient.dkey, dkey);
    HeadGradient::addTo(heads, gradient.head, gradient.dvalue, dvalue);
  }
}

//===----------------------------------------------------------------------===//
// The gated activation
//===----------------------------------------------------------------------===//

static float getSigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

void training::swiglu(const float *gate, const float *up, int64_t count,
                      float *y, ThreadPool &pool) {
  pool.parallelFor(0, count, kChunkElements, [&](int64_t i, int64_t end) {
    for (; i != end; ++i)
      y[i] = gate[i] * getSigmoid(gate[i]) * up[i];
  });
}

void training::swigluGradient(const float *gate, const float *up,
                              const float *dy, int64_t count, float *dgate,
                              float *dup, ThreadPool &pool) {
  pool.parallelFor(0, count, kChunkElements, [&](int64_t i, int64_t end) {
    for (; i != end; ++i) {
      float a = gate[i], sigmoid = getSigmoid(a);
      dgate[i] += dy[i] * up[i] * sigmoid * (1.0f + a * (1.0f - sigmoid));
      dup[i] += dy[i] * a * sigmoid;
    }
  });
}

//===----------------------------------------------------------------------===//
// Other orders and bases of channels
//===----------------------------------------------------------------------===//

void training::permuteChannels(int64_t tokens, std::span<const int32_t> order,
                               const float *x, float *y) {
  for (int64_t t = 0; t != tokens; ++t, x += order.size())
    for (int32_t from : order)
      *y++ = x[from];
}

void training::permuteChannelsGradient(int64_t tokens,
                                       std::span<const int32_t> order,
                                       const float *dy, float *dx) {
  for (int64_t t = 0; t != tokens; ++t, dx += order.size())
    for (int32_t from : order)
      dx[from] += *dy++;
}

static void scaleRows(const training::RotateShape &shape, const float *scale,
                      float *rows) {
  for (int64_t t = 0; scale && t != shape.tokens; ++t)
    for (int64_t i = 0; i != shape.columns; ++i)
      rows[t * shape.columns + i] *= scale[i];
}

void training::rotate(const RotateShape &shape, const Rotation &rotation,
                      const float *x, const float *scale, float *y,
                      ThreadPool &pool) {
  int64_t count = shape.tokens * shape.columns;
  std::copy(x, x + count, y);
  scaleRows(shape, scale, y);
  if (shape.transposed)
    rotation.applyTransposed(y, count / rotation.size(), pool);
  else
    rotation.apply(y, count / rotation.size(), pool);
}

void training::rotateGradient(const RotateShape &shape,
                              const Rotation &rotation, const float *dy,
                              const float *scale, float *dx, float *scratch,
                              ThreadPool &pool) {
  RotateShape back = shape;
  back.transposed = !shape.transposed;
  rotate(back, rotation, dy, /*scale=*/nullptr, scratch, pool);
  scaleRows(shape, scale, scratch);
  add(scratch, shape.tokens * shape.columns, dx);
}
