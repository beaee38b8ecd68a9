//===- TestTokenizer.h - A tokenizer for the hand-made model ----*- C++ -*-===//
//
// One token per letter, a space, and a few special tokens, with a chat
// template: as many tokens as the model of TestModel.h knows.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_UNITTEST_TESTTOKENIZER_H
#define LLQRT_UNITTEST_TESTTOKENIZER_H

#include <cstdint>
#include <vector>

namespace llqrt::test {

inline constexpr int32_t bosId = 0, eosId = 1, endOfTurnId = 2;
/// Id of the space; letters follow in order.
inline constexpr int32_t spaceId = 3;

inline int32_t letterId(char letter) { return spaceId + 1 + (letter - 'a'); }

/// The stored form. An end-of-text token other than </s> can be chosen, so that
/// a test can place it where the model generates it.
std::vector<uint8_t> makeTestTokenizer(int32_t endOfText = eosId);

} // namespace llqrt::test

#endif // LLQRT_UNITTEST_TESTTOKENIZER_H
