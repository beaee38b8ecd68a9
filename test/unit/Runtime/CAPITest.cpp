//===- CAPITest.cpp - The C API -------------------------------------------===//
//
// Values arrive unharmed, wrong arguments give a status and a message, buffers
// that are too small say what they need.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"
#include "TestTokenizer.h"

#include "llqrt/llqrt.h"

#include "gtest/gtest.h"

#include <cstring>

using namespace llqrt::test;

namespace {

class CAPITest : public testing::Test {
protected:
  void SetUp() override {
    TestModel parts;
    parts.tokenizer = makeTestTokenizer();
    file.write(parts.build());
    ASSERT_EQ(llqrt_model_open(file.path().c_str(), nullptr, &model), LLQRT_OK)
        << llqrt_last_error();
    ASSERT_EQ(llqrt_session_create(model, nullptr, &session), LLQRT_OK)
        << llqrt_last_error();
  }
  void TearDown() override {
    llqrt_session_destroy(session);
    llqrt_model_close(model);
  }

  TemporaryFile file;
  llqrt_model *model = nullptr;
  llqrt_session *session = nullptr;
};

struct Collected {
  std::vector<int32_t> tokens;
  std::string text;
  size_t stopAfter = 1000;
};

} // namespace

static int collect(int32_t token, const char *text, void *userData) {
  auto *collected = static_cast<Collected *>(userData);
  if (token >= 0)
    collected->tokens.push_back(token);
  collected->text += text;
  return collected->tokens.size() >= collected->stopAfter;
}

TEST_F(CAPITest, ModelInfo) {
  llqrt_model_info info = LLQRT_MODEL_INFO_INIT;
  ASSERT_EQ(llqrt_model_get_info(model, &info), LLQRT_OK);
  EXPECT_EQ(info.vocab, vocab);
  EXPECT_EQ(info.output_width, vocab);
  EXPECT_EQ(info.token_limit, vocab);
  EXPECT_EQ(info.context, context);
  EXPECT_EQ(info.max_outputs, maxTokens);
  EXPECT_EQ(info.weight_bytes, 2u * vocab * hidden * 4);
  EXPECT_EQ(info.has_tokenizer, 1);
  EXPECT_EQ(info.has_chat_template, 1);
}

TEST_F(CAPITest, OlderStructuresAreFilledAsFarAsTheyGo) {
  llqrt_model_info info = LLQRT_MODEL_INFO_INIT;
  info.struct_size = offsetof(llqrt_model_info, vocab);
  info.vocab = 12345;
  ASSERT_EQ(llqrt_model_get_info(model, &info), LLQRT_OK);
  EXPECT_EQ(info.output_width, vocab);
  EXPECT_EQ(info.vocab, 12345u);
  info.struct_size = sizeof(info) + 8;
  EXPECT_EQ(llqrt_model_get_info(model, &info), LLQRT_INVALID_ARGUMENT);
  EXPECT_STRNE(llqrt_last_error(), "");
}

TEST_F(CAPITest, TokenizeAndBack) {
  const char *text = "abc<s> z";
  int32_t ids[16];
  size_t count = 0;
  ASSERT_EQ(
      llqrt_tokenize(model, text, strlen(text),
                     LLQRT_TOKENIZE_PARSE_SPECIAL | LLQRT_TOKENIZE_ADD_SPECIAL,
                     ids, 16, &count),
      LLQRT_OK);
  EXPECT_EQ(
      std::vector<int32_t>(ids, ids + count),
      (std::vector<int32_t>{bosId, letterId('a'), letterId('b'), letterId('c'),
                            bosId, spaceId, letterId('z')}));
  EXPECT_EQ(llqrt_tokenize(model, "abc", 3, 0, nullptr, 0, &count),
            LLQRT_BUFFER_TOO_SMALL);
  EXPECT_EQ(count, 3u);

  char back[8];
  size_t bytes = 0;
  int32_t abc[] = {bosId, letterId('a'), letterId('b')};
  ASSERT_EQ(llqrt_detokenize(model, abc, 3, 1, back, sizeof(back), &bytes),
            LLQRT_OK);
  EXPECT_STREQ(back, "ab");
  EXPECT_EQ(bytes, 2u);
  EXPECT_EQ(llqrt_detokenize(model, abc, 3, 0, back, 5, &bytes),
            LLQRT_BUFFER_TOO_SMALL);
  EXPECT_EQ(bytes, 5u);
}

TEST_F(CAPITest, ChatTemplate) {
  llqrt_chat_message messages[] = {{"user", "hi"}};
  char text[64];
  size_t bytes = 0;
  ASSERT_EQ(llqrt_apply_chat_template(model, messages, 1, 1, text, sizeof(text),
                                      &bytes),
            LLQRT_OK)
      << llqrt_last_error();
  EXPECT_STREQ(text, "<s>user hi<|im_end|>assistant ");
  messages[0].content = nullptr;
  EXPECT_EQ(llqrt_apply_chat_template(model, messages, 1, 1, text, sizeof(text),
                                      &bytes),
            LLQRT_INVALID_ARGUMENT);
}

TEST_F(CAPITest, EvaluateGivesLogits) {
  int32_t ids[] = {5, 6, 7, 8};
  const float *values = nullptr;
  ASSERT_EQ(llqrt_evaluate(session, ids, 4, 2, &values), LLQRT_OK);
  std::vector<float> expected = referenceLogits({5, 6, 7, 8});
  EXPECT_EQ(std::memcmp(values, expected.data() + 2 * vocab,
                        2 * vocab * sizeof(float)),
            0);
  EXPECT_EQ(llqrt_session_position(session), 4u);
  EXPECT_EQ(llqrt_session_capacity(session), context);
  ASSERT_EQ(llqrt_session_truncate(session, 1), LLQRT_OK);
  EXPECT_EQ(llqrt_session_position(session), 1u);
  ASSERT_EQ(llqrt_evaluate(session, ids + 1, 3, 0, nullptr), LLQRT_OK);
  EXPECT_EQ(llqrt_session_truncate(session, 5), LLQRT_INVALID_ARGUMENT);
}

TEST_F(CAPITest, FailuresSayWhy) {
  int32_t outside[] = {static_cast<int32_t>(vocab)};
  const float *values = nullptr;
  EXPECT_EQ(llqrt_evaluate(session, outside, 1, 1, &values),
            LLQRT_INVALID_ARGUMENT);
  EXPECT_NE(std::string(llqrt_last_error()).find("outside the vocabulary"),
            std::string::npos);
  EXPECT_EQ(values, nullptr);
  std::vector<int32_t> many(context + 1, 4);
  EXPECT_EQ(llqrt_evaluate(session, many.data(), many.size(), 1, &values),
            LLQRT_OUT_OF_CONTEXT);
  EXPECT_EQ(llqrt_evaluate(session, nullptr, 1, 0, nullptr),
            LLQRT_INVALID_ARGUMENT);

  llqrt_model *other = model;
  EXPECT_EQ(llqrt_model_open("/nonexistent.llq", nullptr, &other),
            LLQRT_FILE_ERROR);
  EXPECT_EQ(other, nullptr);
  EXPECT_NE(std::string(llqrt_last_error()).find("/nonexistent.llq"),
            std::string::npos);
  llqrt_open_options options = LLQRT_OPEN_OPTIONS_INIT;
  options.verify = 9;
  EXPECT_EQ(llqrt_model_open(file.path().c_str(), &options, &other),
            LLQRT_INVALID_ARGUMENT);

  llqrt_session_options wrong = LLQRT_SESSION_OPTIONS_INIT;
  wrong.capacity = context + 1;
  llqrt_session *none = nullptr;
  EXPECT_EQ(llqrt_session_create(model, &wrong, &none), LLQRT_INVALID_ARGUMENT);
  EXPECT_EQ(llqrt_session_create(nullptr, nullptr, &none),
            LLQRT_INVALID_ARGUMENT);
}

TEST_F(CAPITest, SessionsOutliveTheModel) {
  llqrt_model_close(model);
  model = nullptr;
  int32_t id = 3;
  EXPECT_EQ(llqrt_evaluate(session, &id, 1, 0, nullptr), LLQRT_OK);
}

TEST_F(CAPITest, GenerateIsRepeatedEvaluation) {
  std::vector<int32_t> sequence = {letterId('h'), letterId('i')};
  llqrt_generate_options options = LLQRT_GENERATE_OPTIONS_INIT;
  options.max_tokens = 12;
  options.ignore_eos = 1;
  llqrt_generate_result result = LLQRT_GENERATE_RESULT_INIT;
  Collected collected;
  ASSERT_EQ(llqrt_generate(session, sequence.data(), sequence.size(), &options,
                           collect, &collected, &result),
            LLQRT_OK)
      << llqrt_last_error();
  ASSERT_EQ(collected.tokens.size(), 12u);
  EXPECT_EQ(result.tokens, 12u);
  EXPECT_EQ(result.decode_tokens, 11u);
  EXPECT_EQ(result.finish, LLQRT_FINISH_LENGTH);
  EXPECT_EQ(llqrt_session_position(session), 2u + 11u);

  std::vector<int32_t> greedy;
  for (int i = 0; i < 12; ++i) {
    std::vector<float> logits = referenceLogits(sequence);
    size_t best = 0;
    for (size_t id = 0; id < vocab; ++id)
      if (logits[logits.size() - vocab + id] >
          logits[logits.size() - vocab + best])
        best = id;
    greedy.push_back(static_cast<int32_t>(best));
    sequence.push_back(static_cast<int32_t>(best));
  }
  EXPECT_EQ(collected.tokens, greedy);
}

TEST_F(CAPITest, GenerateStopsWhenTheCallbackSaysSo) {
  int32_t id = letterId('q');
  Collected collected;
  collected.stopAfter = 3;
  llqrt_generate_options options = LLQRT_GENERATE_OPTIONS_INIT;
  options.ignore_eos = 1;
  llqrt_generate_result result = LLQRT_GENERATE_RESULT_INIT;
  ASSERT_EQ(
      llqrt_generate(session, &id, 1, &options, collect, &collected, &result),
      LLQRT_OK);
  EXPECT_EQ(result.finish, LLQRT_FINISH_CANCELLED);
  EXPECT_EQ(result.tokens, 3u);
}

TEST_F(CAPITest, GenerateOptionsOutOfRange) {
  int32_t id = 4;
  llqrt_generate_options options = LLQRT_GENERATE_OPTIONS_INIT;
  options.temperature = -1;
  EXPECT_EQ(
      llqrt_generate(session, &id, 1, &options, nullptr, nullptr, nullptr),
      LLQRT_INVALID_ARGUMENT);
  EXPECT_EQ(llqrt_session_position(session), 0u);
}

TEST(CAPIVersionTest, HasThreeParts) {
  std::string version = llqrt_version();
  EXPECT_EQ(std::count(version.begin(), version.end(), '.'), 2);
}
