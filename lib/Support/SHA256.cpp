//===- SHA256.cpp - SHA-256 of large files --------------------------------===//
//
// FIPS 180-4. SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/SHA256.h"

#include <algorithm>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

using namespace llq;

/// The first 32 bits of the fractions of the cube roots of the first 64 primes.
alignas(16) static constexpr uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t loadBigEndian(const uint8_t *from) {
  return uint32_t(from[0]) << 24 | uint32_t(from[1]) << 16 |
         uint32_t(from[2]) << 8 | from[3];
}

static void compressPortable(uint32_t *state, const uint8_t *blocks,
                             size_t count) {
  for (; count != 0; --count, blocks += 64) {
    uint32_t w[64];
    for (int t = 0; t < 16; ++t)
      w[t] = loadBigEndian(blocks + 4 * t);
    for (int t = 16; t < 64; ++t) {
      uint32_t a = w[t - 15], b = w[t - 2];
      w[t] = w[t - 16] + w[t - 7] +
             (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    uint32_t s[8];
    std::copy_n(state, 8, s);
    for (int t = 0; t < 64; ++t) {
      uint32_t a = s[0], e = s[4];
      uint32_t one = s[7] +
                     (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                     ((e & s[5]) ^ (~e & s[6])) + kRounds[t] + w[t];
      uint32_t two = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) +
                     ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
      std::copy_backward(s, s + 7, s + 8);
      s[4] += one;
      s[0] = one + two;
    }
    for (int i = 0; i < 8; ++i)
      state[i] += s[i];
  }
}

#if defined(__x86_64__)
static bool hasInstructions() {
  unsigned a, b, c, d;
  bool sse41 = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1);
  return sse41 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
}

/// Four rounds for each step of a message schedule of four words.
__attribute__((target("sha,sse4.1,ssse3"))) static void
compressX86(uint32_t *state, const uint8_t *blocks, size_t count) {
  const __m128i bigEndian =
      _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  // The instructions want the state as ABEF and CDGH.
  __m128i low = _mm_shuffle_epi32(
      _mm_loadu_si128(reinterpret_cast<const __m128i *>(state)), 0xb1);
  __m128i high = _mm_shuffle_epi32(
      _mm_loadu_si128(reinterpret_cast<const __m128i *>(state + 4)), 0x1b);
  __m128i abef = _mm_alignr_epi8(low, high, 8);
  __m128i cdgh = _mm_blend_epi16(high, low, 0xf0);
  for (; count != 0; --count, blocks += 64) {
    const __m128i firstABEF = abef, firstCDGH = cdgh;
    __m128i w[4];
    for (int i = 0; i < 4; ++i)
      w[i] = _mm_shuffle_epi8(
          _mm_loadu_si128(reinterpret_cast<const __m128i *>(blocks + 16 * i)),
          bigEndian);
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; ++i) {
      if (i >= 4) {
        __m128i next = _mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]);
        next = _mm_add_epi32(
            next, _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4));
        w[i % 4] = _mm_sha256msg2_epu32(next, w[(i + 3) % 4]);
      }
      __m128i sum = _mm_add_epi32(
          w[i % 4],
          _mm_load_si128(reinterpret_cast<const __m128i *>(kRounds + 4 * i)));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
    }
    abef = _mm_add_epi32(abef, firstABEF);
    cdgh = _mm_add_epi32(cdgh, firstCDGH);
  }
  low = _mm_shuffle_epi32(abef, 0x1b);
  high = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i *>(state),
                   _mm_blend_epi16(low, high, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i *>(state + 4),
                   _mm_alignr_epi8(high, low, 8));
}
#endif

SHA256::SHA256(bool portable)
    : compress(compressPortable),
      // Of the square roots of the first 8 primes.
      state{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19},
      buffer{} {
#if defined(__x86_64__)
  static const bool fast = hasInstructions();
  if (fast && !portable)
    compress = compressX86;
#endif
}

void SHA256::update(std::span<const uint8_t> data) {
  size_t used = bytes % kBlock;
  bytes += data.size();
  if (used) {
    size_t part = std::min(kBlock - used, data.size());
    std::memcpy(buffer.data() + used, data.data(), part);
    data = data.subspan(part);
    if (used + part < kBlock)
      return;
    compress(state.data(), buffer.data(), 1);
  }
  size_t blocks = data.size() / kBlock;
  compress(state.data(), data.data(), blocks);
  data = data.subspan(blocks * kBlock);
  if (!data.empty())
    std::memcpy(buffer.data(), data.data(), data.size());
}

std::string SHA256::finish() {
  uint64_t bits = bytes * 8;
  static constexpr uint8_t padding[kBlock] = {0x80};
  // A one, then zeros up to the last eight bytes of a block.
  update({padding, 1 + (kBlock * 2 - 9 - bytes % kBlock) % kBlock});
  uint8_t length[8];
  for (int i = 0; i < 8; ++i)
    length[i] = uint8_t(bits >> (56 - 8 * i));
  update(length);
  std::string text;
  for (uint32_t word : state)
    for (int shift = 28; shift >= 0; shift -= 4)
      text += "0123456789abcdef"[word >> shift & 15];
  return text;
}
