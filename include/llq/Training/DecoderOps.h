//===- DecoderOps.h - Operations of a decoder and their gradients -*- C++
//-*-===//
//
// Forward and reverse mode of the operations of a LLaMA decoder in f32, without
// MLIR. Activations are x[tokens, columns], rows without gaps, the tokens those
// of one sequence from position 0 on. Gradients of inputs and weights are added
// to what is there, since a value may be used more than once; `d` stands for
// the derivative of the loss by what follows.
//
// All results are equal bit for bit for any number of threads.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRAINING_DECODEROPS_H
#define LLQ_TRAINING_DECODEROPS_H

#include <cstdint>
#include <span>

namespace llq {
class ThreadPool;
namespace numerics {
class Rotation;
} // namespace numerics
} // namespace llq

namespace llq::training {

/// y[n] += x[n].
void add(const float *x, int64_t count, float *y);

/// y[t,n] = sum_k x[t,k] w[n,k] + bias[n], x[tokens, inputs],
/// w[outputs, inputs]; `bias` may be null.
struct LinearShape {
  int64_t tokens, inputs, outputs;
};
void linear(const LinearShape &shape, const float *x, const float *w,
            const float *bias, float *y, ThreadPool &pool);
/// dx += dy w.
void linearInputGradient(const LinearShape &shape, const float *dy,
                         const float *w, float *dx, ThreadPool &pool);
/// dw += dy^T x.
void linearWeightGradient(const LinearShape &shape, const float *dy,
                          const float *x, float *dw, ThreadPool &pool);

/// y = weight * x r with r = 1 / sqrt(mean(x^2) + epsilon) of each row.
struct NormShape {
  int64_t tokens, columns;
  float epsilon;
};
void rmsNorm(const NormShape &shape, const float *x, const float *weight,
             float *y, ThreadPool &pool);
/// dx += r a - x r^3 / columns sum(a x), a = dy weight; dweight += sum over
/// tokens of dy x r, unless it is null.
void rmsNormGradient(const NormShape &shape, const float *x,
                     const float *weight, const float *dy, float *dx,
                     float *dweight, ThreadPool &pool);

/// Rotates the pairs of each head of `columns / headDim` by the angles whose
/// cosines and sines are given, [tokens, headDim / 2]: (i, i + headDim / 2), or
/// (2i, 2i + 1) if `interleaved`.
struct RopeShape {
  int64_t tokens, columns, headDim;
  bool interleaved = false;
};
void rope(const RopeShape &shape, const float *x, const float *cos,
          const float *sin, float *y, ThreadPool &pool);
/// dx += dy, rotated back.
void ropeGradient(const RopeShape &shape, const float *dy, const float *cos,
                  const float *sin, float *dx, ThreadPool &pool);

/// Causal attention of query[tokens, heads * headDim] over keys and values
/// [tokens, kvHeads * headDim]: head h reads key/value head h / (heads /
/// kvHeads).
struct AttentionShape {
  int64_t tokens, heads, kvHeads, headDim;
  float scale;
};
/// `logSums[heads, tokens]` are the logarithms of the sums of exponentials,
/// from which the gradient recomputes probabilities.
void attention(const AttentionShape &shape, const float *query,
               const float *key, const float *value, float *y, float *logSums,
               ThreadPool &pool);
void attentionGradient(const AttentionShape &shape, const float *query,
                       const float *key, const float *value, const float *y,
                       const float *logSums, const float *dy, float *dquery,
                       float *dkey, float *dvalue, ThreadPool &pool);

/// y = gate / (1 + exp(-gate)) * up.
void swiglu(const float *gate, const float *up, int64_t count, float *y,
            ThreadPool &pool);
void swigluGradient(const float *gate, const float *up, const float *dy,
                    int64_t count, float *dgate, float *dup, ThreadPool &pool);

/// y[t,j] = x[t, order[j]].
void permuteChannels(int64_t tokens, std::span<const int32_t> order,
                     const float *x, float *y);
void permuteChannelsGradient(int64_t tokens, std::span<const int32_t> order,
                             const float *dy, float *dx);

/// y = V (scale * x) for blocks of columns as wide as V, or V^T if
/// `transposed`; `scale[columns]` may be null.
struct RotateShape {
  int64_t tokens, columns;
  bool transposed = false;
};
void rotate(const RotateShape &shape, const numerics::Rotation &rotation,
            const float *x, const float *scale, float *y, ThreadPool &pool);
/// dx += scale * (V^T dy); `scratch[tokens, columns]`.
void rotateGradient(const RotateShape &shape,
                    const numerics::Rotation &rotation, const float *dy,
                    const float *scale, float *dx, float *scratch,
                    ThreadPool &pool);

} // namespace llq::training

#endif // LLQ_TRAINING_DECODEROPS_H
