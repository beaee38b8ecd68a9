//===- AttentionCore.h - Scaled dot-product attention ----------*- C++ -*-===//
//
// What the attention operators share. They bring their operands into the form
// [batch, heads, length, head size] and describe their masks by a function.
//
// SPDX-License-Identifier: Apache-2.0
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_INTERPRETER_ATTENTIONCORE_H
#define LLQ_LIB_INTERPRETER_ATTENTIONCORE_H

#include "OpContext.h"

#include <functional>

namespace llq::interp {

/// Stages at which scores can be captured.
enum class ScoreStage { Raw, Capped, Biased, Probabilities };

struct AttentionJob {
  /// f32 or f64, all alike: q[B, Hq, S, D], k[B, Hkv, T, D], v[B, Hkv, T, Dv];
  /// Hq is a multiple of Hkv. Query head h uses key head h / (Hq / Hkv).
  Tensor q, k, v;
  double scale = 1.0;
  /// 0: none; otherwise scores become softcap * tanh(score / softcap).
  double softcap = 0.0;
  /// Adds the mask of query row (b, h, s) to `row`[T]; minus infinity takes a
  /// key out. May be empty.
  std::function<void(int64_t b, int64_t h, int64_t s, double *row)> addBias;
  /// Scores of sinks: one more term in each softmax denominator per head;
  /// empty for none.
  std::vector<double> sinks;
  /// Scores to return.
  std::optional<ScoreStage> captures;
};

struct AttentionResult {
  MutableTensor y;                     // [B, Hq, S, Dv]
  std::optional<MutableTensor> scores; // [B, Hq, S, T]
};

/// A row with every key taken out gives zeros. Fails if shapes do not fit.
std::optional<AttentionResult> attend(OpContext &context,
                                      const AttentionJob &job);

/// [B, S, heads * D] to [B, heads, S, D].
std::optional<Tensor> splitHeads(OpContext &context, const Tensor &tensor,
                                 int64_t heads, std::string_view what);

/// [B, heads, S, D] to [B, S, heads * D].
std::optional<MutableTensor> mergeHeads(OpContext &context,
                                        const Tensor &tensor);

/// Appends along the sequence dimension: past[B, H, P, D] and next[B, H, S, D]
/// give [B, H, P + S, D].
std::optional<Tensor> appendSequence(OpContext &context, const Tensor &past,
                                     const Tensor &next, std::string_view what);

} // namespace llq::interp

#endif // LLQ_LIB_INTERPRETER_ATTENTIONCORE_H
