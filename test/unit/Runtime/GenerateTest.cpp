//===- GenerateTest.cpp - Where generation ends ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"
#include "TestTokenizer.h"

#include "llqrt/Generate.h"

#include "gtest/gtest.h"

#include <algorithm>

using namespace llqrt;
using namespace llqrt::test;

/// Generates from `prompt` with the model whose end of text is `endOfText`.
static GenerateResult generateWith(const std::vector<int32_t> &prompt,
                                   int32_t endOfText, GenerateOptions options,
                                   uint64_t capacity = 0) {
  TestModel parts;
  parts.tokenizer = makeTestTokenizer(endOfText);
  std::shared_ptr<const Model> model;
  EXPECT_TRUE(openBytes(parts.build(), model).ok());
  std::unique_ptr<Session> session;
  SessionOptions sessionOptions;
  sessionOptions.capacity = capacity;
  EXPECT_TRUE(Session::create(model, sessionOptions, session).ok());
  GenerateResult result;
  Status status = generate(
      *session, prompt, options,
      [](int32_t, const std::string &) { return true; }, result);
  EXPECT_TRUE(status.ok()) << status.message();
  return result;
}

TEST(GenerateTest, EndsBeforeTheStopToken) {
  GenerateOptions options;
  options.maxTokens = 10;
  options.ignoreEos = true;
  std::vector<int32_t> prompt = {5, 9};
  std::vector<int32_t> all = generateWith(prompt, eosId, options).tokens;
  ASSERT_EQ(all.size(), 10u);

  // The first token that did not occur before it ends the text now.
  size_t end = 1;
  while (std::find(all.begin(), all.begin() + end, all[end]) !=
         all.begin() + end)
    ++end;
  options.ignoreEos = false;
  GenerateResult result = generateWith(prompt, all[end], options);
  EXPECT_EQ(result.finish, LLQRT_FINISH_STOP);
  EXPECT_EQ(result.tokens,
            std::vector<int32_t>(all.begin(), all.begin() + end));
  EXPECT_EQ(result.decodeTokens, end);

  options.ignoreEos = true;
  EXPECT_EQ(generateWith(prompt, all[end], options).tokens, all);
}

TEST(GenerateTest, EndsWhereTheCacheIsFull) {
  GenerateOptions options;
  options.maxTokens = 50;
  options.ignoreEos = true;
  GenerateResult result = generateWith({5, 9, 11}, eosId, options, 20);
  EXPECT_EQ(result.finish, LLQRT_FINISH_LENGTH);
  // One more than was evaluated.
  EXPECT_EQ(result.tokens.size(), 20u - 3u + 1u);
}

TEST(GenerateTest, NoTokensWanted) {
  GenerateOptions options;
  options.maxTokens = 0;
  EXPECT_TRUE(generateWith({5}, eosId, options).tokens.empty());
}

TEST(GenerateTest, SeedsRepeat) {
  GenerateOptions options;
  options.maxTokens = 20;
  options.ignoreEos = true;
  options.sampling.temperature = 100;
  options.sampling.seed = 7;
  std::vector<int32_t> first = generateWith({5}, eosId, options).tokens;
  EXPECT_EQ(generateWith({5}, eosId, options).tokens, first);
  options.sampling.seed = 8;
  EXPECT_NE(generateWith({5}, eosId, options).tokens, first);
}
