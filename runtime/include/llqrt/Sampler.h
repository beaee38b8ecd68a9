//===- Sampler.h - Choosing the next token ----------------------*- C++ -*-===//
//
// Turns logits into a token: greedily, or by drawing from the distribution that
// temperature, top-k, top-p and min-p leave. Probabilities are integers inside,
// so that the same logits, options and seed give the same tokens with every
// compiler, C library and machine.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_SAMPLER_H
#define LLQRT_SAMPLER_H

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace llqrt {

/// In the order in which they are applied.
struct SamplerOptions {
  /// Divides positive logits of tokens that occurred before, and multiplies
  /// negative ones: above 1 they become less likely. 1: no change. In (0, inf).
  float repeatPenalty = 1.0f;
  /// 0: greedy, the options below have no effect. In [0, inf).
  float temperature = 0.0f;
  /// Keeps the k most likely tokens; 0: all.
  uint32_t topK = 0;
  /// Keeps the most likely tokens whose probabilities first reach this sum, at
  /// least one. In (0, 1]; 1: all.
  float topP = 1.0f;
  /// Keeps tokens with at least this share of the best one's probability. In
  /// [0, 1]; 0: all.
  float minP = 0.0f;
  uint64_t seed = 0;

  /// False, with `error` naming the option, if one is out of its range.
  bool check(std::string &error) const;
};

/// Draws tokens, one after the other. Belongs to one thread at a time.
class Sampler {
public:
  /// `options` must have passed check().
  explicit Sampler(const SamplerOptions &options);

  /// The next token for `logits` [vocabulary]. `history` are the tokens that
  /// the repeat penalty counts; ids outside of the vocabulary are ignored.
  /// Among equal logits the lowest id wins, a NaN never does. -1 if no logit is
  /// a number.
  int32_t sample(std::span<const float> logits,
                 std::span<const int32_t> history = {});

private:
  struct Candidate {
    float logit;
    int32_t id;
    uint64_t weight;
  };
  static bool isBetter(const Candidate &a, const Candidate &b);

  int32_t draw(std::span<const float> logits, int32_t best);
  void keepTopK();
  void keepTopP();
  uint64_t nextRandom();

  SamplerOptions options;
  uint64_t state;
  /// Reused from token to token.
  std::vector<float> penalized;
  std::vector<Candidate> candidates;
};

} // namespace llqrt

#endif // LLQRT_SAMPLER_H
