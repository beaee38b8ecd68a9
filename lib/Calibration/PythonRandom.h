//===- PythonRandom.h - The random numbers of Python's `random` -*- C++ -*-===//
//
// The methods' own programs draw calibration samples with Python's generator;
// equal seeds give equal samples here. Seeding and `randint` as documented in
// the reference of the Mersenne Twister (init_by_array) and in CPython's
// library: a number below n is the top bits of one output, drawn again until it
// is below n.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_LIB_CALIBRATION_PYTHONRANDOM_H
#define LLQ_LIB_CALIBRATION_PYTHONRANDOM_H

#include <bit>
#include <cstdint>
#include <random>
#include <vector>

namespace llq {

class PythonRandom {
public:
  explicit PythonRandom(uint64_t seed) {
    Seeding seeding{seed};
    engine.seed(seeding);
  }

  uint32_t next() { return static_cast<uint32_t>(engine()); }

  /// `randint(0, last)`: uniform over [0, last], last < 2^32 - 1.
  uint32_t drawUpTo(uint32_t last) {
    int bits = std::bit_width(last + 1);
    uint32_t value;
    do
      value = next() >> (32 - bits);
    while (value > last);
    return value;
  }

private:
  /// `init_by_array` with the words of the seed as its key.
  struct Seeding {
    using result_type = uint32_t;
    uint64_t seed;

    template <typename It> void generate(It begin, It end) {
      std::vector<uint32_t> key = {static_cast<uint32_t>(seed)};
      if (seed >> 32)
        key.push_back(static_cast<uint32_t>(seed >> 32));
      auto size = static_cast<uint32_t>(end - begin);
      auto state = [&](uint32_t i) -> decltype(*begin) { return begin[i]; };
      auto mix = [&](uint32_t i) {
        auto before = static_cast<uint32_t>(state(i - 1));
        return before ^ (before >> 30);
      };
      state(0) = 19650218u;
      for (uint32_t i = 1; i < size; ++i)
        state(i) = 1812433253u * mix(i) + i;
      uint32_t i = 1, j = 0;
      auto advance = [&] {
        if (++i >= size) {
          state(0) = state(size - 1);
          i = 1;
        }
      };
      for (uint32_t k = size; k > 0; --k) {
        state(i) = (static_cast<uint32_t>(state(i)) ^ (mix(i) * 1664525u)) +
                   key[j] + j;
        advance();
        j = (j + 1) % static_cast<uint32_t>(key.size());
      }
      for (uint32_t k = size - 1; k > 0; --k) {
        state(i) =
            (static_cast<uint32_t>(state(i)) ^ (mix(i) * 1566083941u)) - i;
        advance();
      }
      state(0) = 0x80000000u;
    }
  };

  std::mt19937 engine;
};

} // namespace llq

#endif // LLQ_LIB_CALIBRATION_PYTHONRANDOM_H
