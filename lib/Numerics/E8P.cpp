//===- E8P.cpp - Codebooks of eight weights on the E8 lattice -------------===//
//
// The nearest point maximises <x, c> - |c|^2 / 2. For a given entry of E8P the
// best signs are those of x; where their number is of the wrong parity, the
// coordinate with the least |x_i| c_i turns. So all 256 entries are scored side
// by side, in vectors, once for each shift.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Numerics/E8P.h"
#include "VectorClones.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

using namespace llq;
using namespace llq::numerics;

static constexpr int64_t kEntries = 256;
/// Scores that are compared side by side.
static constexpr int64_t kScoreLanes = 16;

/// Coordinates that are 3/2, the others being 1/2, in the entries of squared
/// length 12; coordinate i is bit i.
static constexpr uint8_t kLongEntries[29] = {
    0xf1, 0xf2, 0xf4, 0xf8, 0x37, 0x57, 0x67, 0x97, 0xa7, 0xc7,
    0x3b, 0x5b, 0x6b, 0x9b, 0xab, 0xcb, 0x3d, 0x5d, 0x6d, 0x9d,
    0xad, 0xce, 0x3e, 0x5e, 0x6e, 0x9e, 0xae, 0xec, 0x73};

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

using Point = std::array<int8_t, kE8Width>;

static int sumOf(const Point &doubled) {
  return std::accumulate(doubled.begin(), doubled.end(), 0);
}

static int squareOf(const Point &doubled) {
  return std::inner_product(doubled.begin(), doubled.end(), doubled.begin(), 0);
}

/// Calls body(point) for all points with coordinates of `values`, in
/// lexicographic order.
template <size_t count, typename Body>
static void forPoints(const std::array<int8_t, count> &values, Body body) {
  std::array<size_t, kE8Width> digits{};
  for (;;) {
    Point point;
    for (int64_t i = 0; i != kE8Width; ++i)
      point[i] = values[digits[i]];
    body(point);
    int64_t i = kE8Width - 1;
    for (; i >= 0 && digits[i] == count - 1; --i)
      digits[i] = 0;
    if (i < 0)
      return;
    ++digits[i];
  }
}

static E8Table makeE8PTable() {
  E8Table table;
  auto next = table.begin();
  forPoints<3>({1, 3, 5}, [&](const Point &doubled) {
    if (squareOf(doubled) <= 4 * 10)
      *next++ = doubled;
  });
  for (uint8_t mask : kLongEntries) {
    for (int64_t i = 0; i != kE8Width; ++i)
      (*next)[i] = mask >> i & 1 ? 3 : 1;
    ++next;
  }
  for (Point &entry : table)
    if (sumOf(entry) % 4 != 0)
      entry.back() = static_cast<int8_t>(-entry.back());
  return table;
}

static E8Table makeE8Table() {
  E8Table table;
  auto next = table.begin();
  auto add = [&](const Point &doubled) {
    if (sumOf(doubled) % 4 == 0 && squareOf(doubled) <= 4 * 2)
      *next++ = doubled;
  };
  forPoints<3>({-2, 0, 2}, add);
  forPoints<2>({-1, 1}, add);
  for (int8_t value : {int8_t(4), int8_t(-4)})
    for (int64_t i = 0; i != kE8Width && next != table.end(); ++i) {
      next->fill(0);
      (*next++)[i] = value;
    }
  return table;
}

const E8Table &llq::numerics::e8pTable() {
  static const E8Table table = makeE8PTable();
  return table;
}

const E8Table &llq::numerics::e8Table() {
  static const E8Table table = makeE8Table();
  return table;
}

//===----------------------------------------------------------------------===//
// Codes
//===----------------------------------------------------------------------===//

void llq::numerics::decodeE8P(uint16_t code, float *values) {
  const Point &entry = e8pTable()[code >> 8];
  const unsigned odd = std::popcount(code & 0xffu) % 2;
  const unsigned signs = (code & 0xffu) ^ odd;
  const float shift = odd ? -0.25f : 0.25f;
  for (int64_t i = 0; i != kE8Width; ++i) {
    const float value = 0.5f * static_cast<float>(entry[i]);
    values[i] = (signs >> i & 1 ? -value : value) + shift;
  }
}

void llq::numerics::decodeE8(uint8_t code, float *values) {
  const Point &entry = e8Table()[code];
  for (int64_t i = 0; i != kE8Width; ++i)
    values[i] = 0.5f * static_cast<float>(entry[i]);
}

namespace {
/// A table by coordinates, as the search reads it.
struct Scores {
  float values[kE8Width][kEntries];
  float halfSquares[kEntries];
  /// For an even and an odd number of negative coordinates: 2 where one has to
  /// turn, else 0.
  float turns[2][kEntries];

  /// `magnitudes`: of E8P's coordinates only the magnitudes.
  Scores(const E8Table &table, bool magnitudes) {
    for (int64_t c = 0; c != kEntries; ++c) {
      const bool negative = table[c].back() < 0;
      for (int64_t i = 0; i != kE8Width; ++i) {
        const float value = 0.5f * static_cast<float>(table[c][i]);
        values[i][c] = magnitudes ? std::fabs(value) : value;
      }
      halfSquares[c] = static_cast<float>(squareOf(table[c])) / 8;
      turns[0][c] = magnitudes && negative ? 2 : 0;
      turns[1][c] = magnitudes && !negative ? 2 : 0;
    }
  }
};

struct Best {
  int index;
  float score;
};
} // namespace

/// The first of the largest scores.
static inline Best findBest(const float *scores) {
  float best[kScoreLanes];
  int32_t index[kScoreLanes];
  for (int32_t lane = 0; lane != kScoreLanes; ++lane)
    best[lane] = scores[lane], index[lane] = lane;
  for (int32_t c = kScoreLanes; c != kEntries; c += kScoreLanes)
    for (int32_t lane = 0; lane != kScoreLanes; ++lane) {
      const bool better = scores[c + lane] > best[lane];
      best[lane] = better ? scores[c + lane] : best[lane];
      index[lane] = better ? c + lane : index[lane];
    }
  Best result{index[0], best[0]};
  for (int64_t lane = 1; lane != kScoreLanes; ++lane)
    if (best[lane] > result.score ||
        (best[lane] == result.score && index[lane] < result.index))
      result = {index[lane], best[lane]};
  return result;
}

/// The entry of E8P that fits the magnitudes x[8] best.
LLQ_VECTOR_CLONES static Best findMagnitudes(const float *__restrict x,
                                             const Scores &table, int odd) {
  float scores[kEntries];
  for (int64_t c = 0; c != kEntries; ++c) {
    float sum = x[0] * table.values[0][c], least = sum;
    for (int64_t i = 1; i != kE8Width; ++i) {
      const float product = x[i] * table.values[i][c];
      sum += product;
      least = product < least ? product : least;
    }
    scores[c] = sum - table.halfSquares[c] - table.turns[odd][c] * least;
  }
  return findBest(scores);
}

/// The entry that fits x[8] best.
LLQ_VECTOR_CLONES static Best findPoint(const float *__restrict x,
                                        const Scores &table) {
  float scores[kEntries];
  for (int64_t c = 0; c != kEntries; ++c) {
    float sum = -table.halfSquares[c];
    for (int64_t i = 0; i != kE8Width; ++i)
      sum += x[i] * table.values[i][c];
    scores[c] = sum;
  }
  return findBest(scores);
}

namespace {
/// A point of E8P of one shift, and what -|x - point|^2 / 2 is for it.
struct Candidate {
  uint16_t code;
  float score;
};
} // namespace

static Candidate findCandidate(const float *x, float shift,
                               const Scores &table) {
  float magnitudes[kE8Width], halfSquare = 0;
  unsigned signs = 0;
  for (int64_t i = 0; i != kE8Width; ++i) {
    const float value = x[i] - shift;
    magnitudes[i] = std::fabs(value);
    signs |= static_cast<unsigned>(value < 0) << i;
    halfSquare += 0.5f * value * value;
  }
  const int odd = std::popcount(signs) % 2;
  const Best best = findMagnitudes(magnitudes, table, odd);
  if (table.turns[odd][best.index] != 0) {
    int64_t least = 0;
    auto product = [&](int64_t i) {
      return magnitudes[i] * table.values[i][best.index];
    };
    for (int64_t i = 1; i != kE8Width; ++i)
      if (product(i) < product(least))
        least = i;
    signs ^= 1u << least;
  }
  // Signs in the code are relative to those of the entry.
  if (table.turns[0][best.index] != 0)
    signs ^= 0x80;
  if (shift < 0)
    signs ^= 1;
  return {static_cast<uint16_t>(static_cast<unsigned>(best.index) << 8 | signs),
          best.score - halfSquare};
}

void llq::numerics::encodeE8P(const float *values, int64_t count,
                              uint16_t *codes) {
  static const Scores table(e8pTable(), /*magnitudes=*/true);
  for (int64_t i = 0; i != count; ++i) {
    const float *x = values + i * kE8Width;
    const Candidate plus = findCandidate(x, 0.25f, table);
    const Candidate minus = findCandidate(x, -0.25f, table);
    codes[i] = minus.score > plus.score ? minus.code : plus.code;
  }
}

void llq::numerics::encodeE8(const float *values, int64_t count,
                             uint8_t *codes) {
  static const Scores table(e8Table(), /*magnitudes=*/false);
  for (int64_t i = 0; i != count; ++i)
    codes[i] =
        static_cast<uint8_t>(findPoint(values + i * kE8Width, table).index);
}
