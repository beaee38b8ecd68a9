//===- Random.h - Counter-based random numbers ------------------*- C++ -*-===//
//
// Random numbers that are a pure function of (seed, stream, index): any part of
// a sequence can be made on any thread, in any order, on any machine, with
// equal bits. Used for random models in tests and benchmarks and for the random
// signs of rotations. Based on Philox4x32-10 of Salmon et al., "Parallel Random
// Numbers: As Easy as 1, 2, 3" (SC 2011). Not for secrets.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_RANDOM_H
#define LLQ_NUMERICS_RANDOM_H

#include <array>
#include <cstdint>
#include <span>

namespace llq::numerics {

/// The ten-round bijection of a 128-bit counter under a 64-bit key.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter,
                               std::array<uint32_t, 2> key);

/// A family of sequences. Word i of a sequence is word i % 4 of
/// philox({i / 4, stream}, seed), numbers being laid out low half first; the
/// other sequences derive from the words.
class Random {
public:
  explicit Random(uint64_t seed, uint64_t stream = 0)
      : seed(seed), stream(stream) {}

  /// words[j] = word first + j, uniform over all 32-bit words.
  void fillWords(uint64_t first, std::span<uint32_t> words) const;

  /// values[j] = number first + j of the uniform sequence: the upper 24 bits of
  /// the word of that index, times 2^-24; at least 0 and less than 1.
  void fillUniform(uint64_t first, std::span<float> values) const;

  /// values[j] = number first + j of the normal sequence, mean 0 and the given
  /// standard deviation, at most 5.77 of them from 0 (Box-Muller: two words
  /// with the same index / 2 make two numbers).
  void fillNormal(uint64_t first, std::span<float> values,
                  float deviation = 1.0f) const;

private:
  uint64_t seed, stream;
};

} // namespace llq::numerics

#endif // LLQ_NUMERICS_RANDOM_H
