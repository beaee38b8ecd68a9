//===- Sampler.cpp - Choosing the next token ------------------------------===//
//
// Floating point enters only where IEEE 754 leaves no choice: one subtraction,
// one multiplication, one comparison. exp() is computed with integers, weights
// are integers, and so are their sums, which therefore depend on no order.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llqrt/Sampler.h"

#include <algorithm>
#include <cmath>

using namespace llqrt;

/// The weight of the best token. Weights below 1 vanish: such tokens would be
/// drawn once in 10^12 times. The sum of 2^22 weights fits in 63 bits.
static constexpr unsigned kWeightBits = 40;

/// 2^fraction - 1 for a fraction in [0, 1) with 32 bits behind the point, and
/// with as many, to about 1e-9. The Taylor series of 2^x, whose coefficients
/// are ln(2)^k / k!.
static uint64_t exp2Fraction(uint64_t fraction) {
  static constexpr uint64_t coefficients[] = {
      2,       30,       437,       5676,       65510,     661577,
      5726720, 41309550, 238388332, 1031764991, 2977044472};
  uint64_t sum = 0;
  for (uint64_t coefficient : coefficients)
    sum = coefficient + (sum * fraction >> 32);
  return sum * fraction >> 32;
}

/// 2^exponent for an exponent of at most 0, as a weight.
static uint64_t weightOf(double exponent) {
  if (!(exponent > -static_cast<double>(kWeightBits) - 1))
    return 0;
  // 32 bits behind the point; multiplying by a power of two is exact.
  auto fixed = static_cast<int64_t>(std::floor(exponent * 4294967296.0));
  auto shift = static_cast<unsigned>(-(fixed >> 32));
  uint64_t mantissa =
      (uint64_t(1) << 32) + exp2Fraction(static_cast<uint32_t>(fixed));
  return mantissa << (kWeightBits - 32) >> shift;
}

/// The upper half of the product of two 64-bit numbers.
static uint64_t multiplyHigh(uint64_t a, uint64_t b) {
  uint64_t aLow = static_cast<uint32_t>(a), aHigh = a >> 32;
  uint64_t bLow = static_cast<uint32_t>(b), bHigh = b >> 32;
  uint64_t middle = aHigh * bLow + (aLow * bLow >> 32);
  uint64_t carry = static_cast<uint32_t>(middle) + aLow * bHigh;
  return aHigh * bHigh + (middle >> 32) + (carry >> 32);
}

bool SamplerOptions::check(std::string &error) const {
  auto fail = [&](const char *what) {
    error = what;
    return false;
  };
  if (!(repeatPenalty > 0) || !std::isfinite(repeatPenalty))
    return fail("the repeat penalty must be above 0");
  if (!(temperature >= 0) || !std::isfinite(temperature))
    return fail("the temperature must be 0 or more");
  if (!(topP > 0 && topP <= 1))
    return fail("top-p must be above 0 and at most 1");
  if (!(minP >= 0 && minP <= 1))
    return fail("min-p must be between 0 and 1");
  return true;
}

Sampler::Sampler(const SamplerOptions &options)
    : options(options), state(options.seed) {}

/// SplitMix64: a counter, hashed.
uint64_t Sampler::nextRandom() {
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/// The first of the largest logits, or -1.
static int32_t findBest(std::span<const float> logits) {
  int32_t best = -1;
  for (size_t i = 0; i < logits.size(); ++i) {
    bool wins = best < 0 ? !std::isnan(logits[i])
                         : logits[i] > logits[static_cast<size_t>(best)];
    if (wins)
      best = static_cast<int32_t>(i);
  }
  return best;
}

int32_t Sampler::sample(std::span<const float> logits,
                        std::span<const int32_t> history) {
  if (options.repeatPenalty != 1.0f && !history.empty()) {
    penalized.assign(logits.begin(), logits.end());
    for (int32_t id : history) {
      if (id < 0 || static_cast<size_t>(id) >= logits.size())
        continue;
      // From the original, so that a token pays once however often it occurs.
      auto i = static_cast<size_t>(id);
      penalized[i] = logits[i] > 0 ? logits[i] / options.repeatPenalty
                                   : logits[i] * options.repeatPenalty;
    }
    logits = penalized;
  }
  int32_t best = findBest(logits);
  if (best < 0 || options.temperature == 0)
    return best;
  return draw(logits, best);
}

/// A total order: no two candidates are equal.
bool Sampler::isBetter(const Candidate &a, const Candidate &b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

void Sampler::keepTopK() {
  if (options.topK == 0 || options.topK >= candidates.size())
    return;
  auto end = candidates.begin() + options.topK;
  std::nth_element(candidates.begin(), end, candidates.end(), isBetter);
  candidates.erase(end, candidates.end());
  // Whatever order the library left them in must not decide what is drawn.
  std::sort(candidates.begin(), candidates.end(), isBetter);
}

void Sampler::keepTopP() {
  if (!(options.topP < 1))
    return;
  uint64_t total = 0;
  for (const Candidate &candidate : candidates)
    total += candidate.weight;
  double wanted =
      static_cast<double>(options.topP) * static_cast<double>(total);
  // Few tokens are kept of many: a heap finds them without sorting the rest.
  auto isWorse = [](const Candidate &a, const Candidate &b) {
    return isBetter(b, a);
  };
  std::make_heap(candidates.begin(), candidates.end(), isWorse);
  auto kept = candidates.end();
  uint64_t sum = 0;
  do {
    std::pop_heap(candidates.begin(), kept, isWorse);
    --kept;
    sum += kept->weight;
  } while (kept != candidates.begin() && static_cast<double>(sum) < wanted);
  candidates.erase(candidates.begin(), kept);
}

int32_t Sampler::draw(std::span<const float> logits, int32_t best) {
  constexpr double kLog2E = 1.4426950408889634;
  double scale = kLog2E / static_cast<double>(options.temperature);
  auto top = static_cast<double>(logits[static_cast<size_t>(best)]);
  candidates.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    // Equal logits get equal weights even if they are infinite.
    auto logit = static_cast<double>(logits[i]);
    uint64_t weight = logit == top ? uint64_t(1) << kWeightBits
                                   : weightOf((logit - top) * scale);
    if (weight)
      candidates.push_back({logits[i], static_cast<int32_t>(i), weight});
  }
  keepTopK();
  keepTopP();
  double least = static_cast<double>(options.minP) *
                 static_cast<double>(uint64_t(1) << kWeightBits);
  std::erase_if(candidates, [&](const Candidate &candidate) {
    return static_cast<double>(candidate.weight) < least;
  });

  uint64_t total = 0;
  for (const Candidate &candidate : candidates)
    total += candidate.weight;
  uint64_t drawn = multiplyHigh(nextRandom(), total);
  for (const Candidate &candidate : candidates) {
    if (drawn < candidate.weight)
      return candidate.id;
    drawn -= candidate.weight;
  }
  return best;
}
