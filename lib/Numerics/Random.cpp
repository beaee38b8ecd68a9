//===- Random.cpp - Counter-based random numbers --------------------------===//
//
// Philox and what is made of its words. Logarithm, sine and cosine are short
// series in basic arithmetic, because the C library's differ between machines
// in the last bit. The loops run over blocks of words so that they vectorise.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/Random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

using namespace llq::numerics;

namespace {
/// Words made at a time; a multiple of the four words of a counter.
constexpr size_t kBlock = 256;
} // namespace

/// Ten rounds on the four words of a counter, in place.
static inline void scramble(uint32_t &c0, uint32_t &c1, uint32_t &c2,
                            uint32_t &c3, uint32_t key0, uint32_t key1) {
  for (int round = 0; round != 10; ++round) {
    uint64_t product0 = uint64_t(0xd2511f53u) * c0;
    uint64_t product1 = uint64_t(0xcd9e8d57u) * c2;
    c0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ key0;
    c1 = static_cast<uint32_t>(product1);
    c2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ key1;
    c3 = static_cast<uint32_t>(product0);
    key0 += 0x9e3779b9u; // golden ratio
    key1 += 0xbb67ae85u; // sqrt(3) - 1
  }
}

std::array<uint32_t, 4> llq::numerics::philox(std::array<uint32_t, 4> counter,
                                              std::array<uint32_t, 2> key) {
  auto [c0, c1, c2, c3] = counter;
  scramble(c0, c1, c2, c3, key[0], key[1]);
  return {c0, c1, c2, c3};
}

/// The kBlock words from counter `counter` on.
static void makeBlock(uint64_t seed, uint64_t stream, uint64_t counter,
                      uint32_t *__restrict words) {
  for (size_t i = 0; i != kBlock / 4; ++i) {
    uint64_t index = counter + i;
    uint32_t c0 = static_cast<uint32_t>(index);
    uint32_t c1 = static_cast<uint32_t>(index >> 32);
    uint32_t c2 = static_cast<uint32_t>(stream);
    uint32_t c3 = static_cast<uint32_t>(stream >> 32);
    scramble(c0, c1, c2, c3, static_cast<uint32_t>(seed),
             static_cast<uint32_t>(seed >> 32));
    words[4 * i] = c0;
    words[4 * i + 1] = c1;
    words[4 * i + 2] = c2;
    words[4 * i + 3] = c3;
  }
}

/// Fills `out` from index `first` on with what `convert(words, values)` makes
/// of each block of words.
template <typename T, typename Convert>
static void fillBlocks(uint64_t seed, uint64_t stream, uint64_t first,
                       std::span<T> out, Convert convert) {
  uint32_t words[kBlock];
  T values[kBlock];
  size_t skip = first % 4;
  uint64_t counter = first / 4;
  while (!out.empty()) {
    makeBlock(seed, stream, counter, words);
    convert(words, values);
    size_t count = std::min(out.size(), kBlock - skip);
    std::copy_n(values + skip, count, out.begin());
    out = out.subspan(count);
    counter += kBlock / 4;
    skip = 0;
  }
}

/// ln x for normal x > 0, error below 2e-7 (absolute near 1, else relative).
static inline float logarithm(float x) {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2)).
  constexpr uint32_t root = 0x3f3504f3; // sqrt(1/2)
  uint32_t bits = std::bit_cast<uint32_t>(x);
  int32_t exponent = static_cast<int32_t>(bits - root) >> 23;
  float m =
      std::bit_cast<float>(bits - (static_cast<uint32_t>(exponent) << 23));
  // ln m = 2 artanh((m - 1) / (m + 1))
  float s = (m - 1.0f) / (m + 1.0f);
  float s2 = s * s;
  float series =
      1.0f + s2 * (1.0f / 3 + s2 * (1.0f / 5 + s2 * (1.0f / 7 + s2 / 9)));
  return static_cast<float>(exponent) * 0.693147181f + 2.0f * s * series;
}

/// Two normal deviates from two words.
static inline void boxMuller(uint32_t word0, uint32_t word1, float &first,
                             float &second) {
  float u = static_cast<float>(static_cast<int32_t>(word0 >> 8) + 1) * 0x1p-24f;
  float radius = std::sqrt(-2.0f * logarithm(u));

  // The angle in quarter turns: the nearest one plus at most half of one.
  int32_t angle = static_cast<int32_t>(word1 >> 8); // in 2^-24 turns
  int32_t quarter = (angle + (1 << 21)) >> 22;
  float x =
      static_cast<float>(angle - (quarter << 22)) * (1.570796327f * 0x1p-22f);
  float x2 = x * x;
  float sine =
      x *
      (1.0f - x2 * (1.0f / 6) *
                  (1.0f - x2 * (1.0f / 20) *
                              (1.0f - x2 * (1.0f / 42) * (1.0f - x2 / 72))));
  float cosine =
      1.0f - x2 * (1.0f / 2) *
                 (1.0f - x2 * (1.0f / 12) *
                             (1.0f - x2 * (1.0f / 30) *
                                         (1.0f - x2 * (1.0f / 56) *
                                                     (1.0f - x2 / 90))));
  float a = quarter & 1 ? sine : cosine, b = quarter & 1 ? cosine : sine;
  first = radius * ((quarter + 1) & 2 ? -a : a);
  second = radius * (quarter & 2 ? -b : b);
}

void Random::fillWords(uint64_t first, std::span<uint32_t> words) const {
  fillBlocks(seed, stream, first, words,
             [](const uint32_t *from, uint32_t *to) {
               std::copy_n(from, kBlock, to);
             });
}

void Random::fillUniform(uint64_t first, std::span<float> values) const {
  fillBlocks(seed, stream, first, values, [](const uint32_t *from, float *to) {
    for (size_t i = 0; i != kBlock; ++i)
      to[i] = static_cast<float>(static_cast<int32_t>(from[i] >> 8)) * 0x1p-24f;
  });
}

void Random::fillNormal(uint64_t first, std::span<float> values,
                        float deviation) const {
  fillBlocks(seed, stream, first, values,
             [deviation](const uint32_t *from, float *to) {
               for (size_t i = 0; i != kBlock / 2; ++i) {
                 float a, b;
                 boxMuller(from[2 * i], from[2 * i + 1], a, b);
                 to[2 * i] = a * deviation;
                 to[2 * i + 1] = b * deviation;
               }
             });
}
