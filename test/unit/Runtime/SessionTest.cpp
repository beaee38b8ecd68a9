//===- SessionTest.cpp - Evaluating sequences -----------------------------===//
//
// Logits equal a plain-loop reference bit for bit whatever the number of
// threads, the chunking and the history of the session.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"

#include "llqrt/Session.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <atomic>

using namespace llqrt;
using namespace llqrt::test;

static std::vector<int32_t> someIds(size_t count) {
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; ++i)
    ids[i] = static_cast<int32_t>((i * 17 + 5) % vocab);
  return ids;
}

static std::unique_ptr<Session> makeSession(SessionOptions options = {}) {
  std::unique_ptr<Session> session;
  Status status = Session::create(openTestModel(), options, session);
  EXPECT_TRUE(status.ok()) << status.message();
  return session;
}

/// The last `rows` rows of `logits`.
static std::vector<float> lastRows(const std::vector<float> &logits,
                                   size_t rows) {
  return {logits.end() - static_cast<std::ptrdiff_t>(rows * vocab),
          logits.end()};
}

TEST(SessionTest, SameLogitsForAnyThreadsAndChunks) {
  std::vector<int32_t> ids = someIds(53);
  std::vector<float> expected = referenceLogits(ids);
  for (unsigned threads : {1u, 2u, 3u, 7u, 16u}) {
    for (uint32_t chunk : {0u, 1u, 3u, 8u}) {
      SessionOptions options;
      options.threads = threads;
      options.chunk = chunk;
      std::unique_ptr<Session> session = makeSession(options);
      std::span<const float> values;
      size_t outputs = session->maxOutputs();
      ASSERT_TRUE(session->evaluate(ids, outputs, values).ok());
      EXPECT_EQ(std::vector<float>(values.begin(), values.end()),
                lastRows(expected, outputs))
          << threads << " threads, chunks of " << chunk;
    }
  }
}

TEST(SessionTest, SameLogitsForAnyCalls) {
  std::vector<int32_t> ids = someIds(40);
  std::vector<float> expected = referenceLogits(ids);
  for (size_t step : {1, 2, 5, 8}) {
    std::unique_ptr<Session> session = makeSession();
    std::vector<float> logits;
    for (size_t begin = 0; begin < ids.size(); begin += step) {
      std::span<const float> values;
      ASSERT_TRUE(
          session->evaluate(std::span(ids).subspan(begin, step), step, values)
              .ok());
      logits.insert(logits.end(), values.begin(), values.end());
    }
    EXPECT_EQ(logits, expected) << step;
    EXPECT_EQ(session->position(), ids.size());
  }
}

// With more threads than cores some are always late, often by whole passes, and
// find other work when they arrive.
TEST(SessionTest, LateThreadsDoNoHarm) {
  SessionOptions options;
  options.threads = 9;
  std::unique_ptr<Session> session = makeSession(options);
  std::vector<int32_t> ids = someIds(6);
  std::vector<float> expected = referenceLogits(ids);
  for (int round = 0; round < 300; ++round) {
    ASSERT_TRUE(session->truncate(0).ok());
    for (size_t t = 0; t < ids.size(); ++t) {
      std::span<const float> values;
      size_t outputs = (round + t) % 3 != 0;
      ASSERT_TRUE(session->evaluate({&ids[t], 1}, outputs, values).ok());
      ASSERT_TRUE(std::equal(values.begin(), values.end(),
                             expected.begin() +
                                 static_cast<std::ptrdiff_t>(t * vocab)));
    }
    std::atomic<int> visits{0};
    if (round % 10 == 0) {
      session->threads().run([&](unsigned) { ++visits; });
      ASSERT_EQ(visits, 9);
    }
  }
}

TEST(SessionTest, AnyNumberOfOutputs) {
  std::vector<int32_t> ids = someIds(21);
  std::vector<float> expected = referenceLogits(ids);
  std::unique_ptr<Session> session = makeSession();
  for (size_t outputs = 0; outputs <= maxTokens; ++outputs) {
    ASSERT_TRUE(session->truncate(0).ok());
    std::span<const float> values;
    ASSERT_TRUE(session->evaluate(ids, outputs, values).ok());
    EXPECT_EQ(std::vector<float>(values.begin(), values.end()),
              lastRows(expected, outputs));
  }
}

TEST(SessionTest, TruncateGoesBack) {
  std::vector<int32_t> first = {1, 2, 3, 4, 5}, second = {1, 2, 9};
  std::unique_ptr<Session> session = makeSession();
  std::span<const float> values;
  ASSERT_TRUE(session->evaluate(first, 0, values).ok());
  EXPECT_TRUE(values.empty());
  ASSERT_TRUE(session->truncate(2).ok());
  ASSERT_TRUE(session->evaluate(std::span(second).subspan(2), 1, values).ok());
  EXPECT_EQ(std::vector<float>(values.begin(), values.end()),
            lastRows(referenceLogits(second), 1));
  EXPECT_EQ(session->truncate(4).code(), LLQRT_INVALID_ARGUMENT);
}

TEST(SessionTest, RefusedCallsChangeNothing) {
  SessionOptions options;
  options.capacity = 10;
  std::unique_ptr<Session> session = makeSession(options);
  EXPECT_EQ(session->capacity(), 10u);
  std::vector<int32_t> ids = {1, 2, 3, 4, 5, 6};
  std::span<const float> values;
  ASSERT_TRUE(session->evaluate(ids, 1, values).ok());

  EXPECT_EQ(session->evaluate(ids, 1, values).code(), LLQRT_OUT_OF_CONTEXT);
  EXPECT_EQ(session->evaluate({}, 0, values).code(), LLQRT_INVALID_ARGUMENT);
  std::vector<int32_t> outside = {1, vocab}, negative = {-1};
  EXPECT_EQ(session->evaluate(outside, 1, values).code(),
            LLQRT_INVALID_ARGUMENT);
  EXPECT_EQ(session->evaluate(negative, 1, values).code(),
            LLQRT_INVALID_ARGUMENT);
  std::vector<int32_t> two = {7, 8};
  EXPECT_EQ(session->evaluate(two, 3, values).code(), LLQRT_INVALID_ARGUMENT);
  EXPECT_EQ(session->position(), ids.size());

  std::vector<int32_t> all = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  ASSERT_TRUE(session->evaluate(std::span(all).subspan(6), 1, values).ok());
  EXPECT_EQ(std::vector<float>(values.begin(), values.end()),
            lastRows(referenceLogits(all), 1));
}

TEST(SessionTest, OptionsOutOfRange) {
  std::unique_ptr<Session> session;
  SessionOptions options;
  options.capacity = context + 1;
  EXPECT_EQ(Session::create(openTestModel(), options, session).code(),
            LLQRT_INVALID_ARGUMENT);
  options = {};
  options.threads = 5000;
  EXPECT_EQ(Session::create(openTestModel(), options, session).code(),
            LLQRT_INVALID_ARGUMENT);
  EXPECT_FALSE(session);
}

TEST(SessionTest, SessionsOfOneModelAreIndependent) {
  std::shared_ptr<const Model> model = openTestModel();
  std::unique_ptr<Session> a, b;
  ASSERT_TRUE(Session::create(model, {}, a).ok());
  ASSERT_TRUE(Session::create(model, {}, b).ok());
  model.reset();
  std::vector<int32_t> first = {1, 2, 3}, second = {4, 5};
  std::span<const float> values;
  ASSERT_TRUE(a->evaluate(first, 0, values).ok());
  ASSERT_TRUE(b->evaluate(second, 1, values).ok());
  EXPECT_EQ(std::vector<float>(values.begin(), values.end()),
            lastRows(referenceLogits(second), 1));
}

TEST(SessionTest, BarriersOnlyWhereOneStepNeedsAnother) {
  EXPECT_EQ(makeSession()->barriersPerPass(), 3u);

  // A second embedding beside the first one depends on nothing.
  TestModel parts;
  ProgramInfo &program = parts.info.targets[0].program;
  uint64_t row = hidden * sizeof(float);
  program.arenaBytes += row * maxTokens;
  program.buffers.push_back(
      {"x2", BufferKind::Temporary, row, 0, 2 * row * maxTokens, 0});
  program.dispatches.insert(program.dispatches.begin() + 1,
                            {0, {0, 1, 7}, 0, 1, 1, false});
  std::shared_ptr<const Model> model;
  ASSERT_TRUE(openBytes(parts.build(), model).ok());
  std::unique_ptr<Session> session;
  ASSERT_TRUE(Session::create(model, {}, session).ok());
  EXPECT_EQ(session->barriersPerPass(), 3u);

  // In the memory of the first one it has to wait, and the next step for it.
  program.buffers.back().offset = 64;
  ASSERT_TRUE(openBytes(parts.build(), model).ok());
  ASSERT_TRUE(Session::create(model, {}, session).ok());
  EXPECT_EQ(session->barriersPerPass(), 4u);
}

TEST(SessionTest, PaddedOutputsArePacked) {
  // Rows of the program's outputs are longer than the vocabulary.
  TestModel parts;
  parts.info.architecture.vocab = vocab - 3;
  parts.info.architecture.tokenLimit = vocab - 3;
  std::shared_ptr<const Model> model;
  ASSERT_TRUE(openBytes(parts.build(), model).ok());
  std::unique_ptr<Session> session;
  ASSERT_TRUE(Session::create(model, {}, session).ok());
  std::vector<int32_t> ids = {3, 4, 5, 6};
  std::vector<float> expected = referenceLogits(ids);
  std::span<const float> values;
  ASSERT_TRUE(session->evaluate(ids, 3, values).ok());
  ASSERT_EQ(values.size(), 3u * (vocab - 3));
  for (size_t row = 0; row < 3; ++row)
    for (size_t i = 0; i < vocab - 3; ++i)
      EXPECT_EQ(values[row * (vocab - 3) + i], expected[(row + 1) * vocab + i]);
}

TEST(SessionTest, BackboneGivesHiddenStates) {
  // Without head: the outputs are rows of width `hidden`.
  TestModel parts;
  parts.info.architecture.vocab = 0;
  ProgramInfo &program = parts.info.targets[0].program;
  program.buffers[6].bytesPerToken = hidden * sizeof(float);
  program.dispatches.resize(1);
  program.dispatches.push_back({1, {2, 3}, 0, 1, 1, false});
  program.dispatches.push_back({2, {3, 2, 6}, 0, 1, 1, true});
  std::shared_ptr<const Model> model;
  ASSERT_TRUE(openBytes(parts.build(), model).ok());
  EXPECT_EQ(model->info().architecture.tokenLimit, vocab);
  std::unique_ptr<Session> session;
  ASSERT_TRUE(Session::create(model, {}, session).ok());
  EXPECT_EQ(session->outputWidth(), hidden);
  std::vector<int32_t> ids = {3, 4, 5};
  std::span<const float> values;
  ASSERT_TRUE(session->evaluate(ids, 2, values).ok());
  EXPECT_EQ(values.size(), 2 * hidden);
}
