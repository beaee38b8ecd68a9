//===- DamageTest.cpp - Damaged model files -------------------------------===//
//
// Truncated and bit-flipped files give one error or, where only padding was
// hit, the same answer; never a crash (meant to run with sanitizers too).
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"

#include "llqrt/FileFormat.h"
#include "llqrt/Session.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <cstring>
#include <random>

using namespace llqrt;
using namespace llqrt::test;

static void flipBit(std::vector<std::byte> &bytes, size_t bit) {
  bytes[bit / 8] ^= std::byte(1u << (bit % 8));
}

static std::vector<float> evaluate(std::shared_ptr<const Model> model) {
  std::unique_ptr<Session> session;
  SessionOptions options;
  options.threads = 1;
  Status status = Session::create(std::move(model), options, session);
  EXPECT_TRUE(status.ok()) << status.message();
  std::span<const float> values;
  std::vector<int32_t> ids = {1, 2, 3, 39};
  EXPECT_TRUE(session->evaluate(ids, 4, values).ok());
  return {values.begin(), values.end()};
}

TEST(DamageTest, EveryTruncationIsAnError) {
  std::vector<std::byte> bytes = TestModel().build();
  std::vector<size_t> sizes;
  for (size_t size = 0; size < 4096; ++size)
    sizes.push_back(size);
  for (size_t size = 4096; size < bytes.size(); size += 4096)
    sizes.push_back(size);
  for (size_t i = 1; i < 64; ++i)
    sizes.push_back(bytes.size() - i);
  TemporaryFile file;
  for (size_t size : sizes) {
    file.write(bytes.data(), size);
    std::shared_ptr<const Model> model;
    Status status = Model::open(file.path(), {LLQRT_VERIFY_FULL}, model);
    ASSERT_EQ(status.code(), LLQRT_BAD_FILE)
        << size << ": " << status.message();
    ASSERT_EQ(status.message().find('\n'), std::string::npos);
  }
}

TEST(DamageTest, FlippedBitsAreErrorsOrHitPadding) {
  const std::vector<std::byte> bytes = TestModel().build();
  std::vector<float> expected = evaluate(openTestModel());
  std::mt19937_64 random(1);
  TemporaryFile file;
  size_t harmless = 0;
  for (int round = 0; round < 1000; ++round) {
    std::vector<std::byte> damaged = bytes;
    // Half of them in prelude and header, where there is little padding.
    size_t range = round % 2 ? 2048 : bytes.size();
    flipBit(damaged, random() % (range * 8));
    file.write(damaged);
    std::shared_ptr<const Model> model;
    Status status = Model::open(file.path(), {LLQRT_VERIFY_FULL}, model);
    if (!status.ok()) {
      ASSERT_EQ(status.code(), LLQRT_BAD_FILE) << status.message();
      continue;
    }
    ++harmless;
    ASSERT_EQ(evaluate(model), expected);
  }
  EXPECT_LT(harmless, 900u);
}

TEST(DamageTest, HeaderVerificationLeavesWeightsAlone) {
  std::vector<std::byte> bytes = TestModel().build();
  // The first weight is the first segment.
  flipBit(bytes, TestModel::firstSegment * 8 + 3);
  std::shared_ptr<const Model> model;
  EXPECT_TRUE(openBytes(bytes, model, {LLQRT_VERIFY_HEADER}).ok());
  Status status = openBytes(bytes, model, {LLQRT_VERIFY_FULL});
  EXPECT_EQ(status.code(), LLQRT_BAD_FILE);
  EXPECT_NE(status.message().find("weight \"embedding\""), std::string::npos);
}

// Somebody who repairs the checksums reaches the verifier and our own checks;
// what they accept is never run here, only opened.
TEST(DamageTest, FlippedHeadersWithRightChecksumsNeverCrash) {
  const std::vector<std::byte> bytes = TestModel().build();
  llqrt_prelude prelude;
  std::memcpy(&prelude, bytes.data(), sizeof(prelude));
  std::mt19937_64 random(2);
  TemporaryFile file;
  size_t refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::byte> damaged = bytes;
    for (int flips = 0; flips <= round % 3; ++flips)
      flipBit(damaged, prelude.header_offset * 8 +
                           random() % (prelude.header_bytes * 8));
    repairChecksums(damaged);
    file.write(damaged);
    std::shared_ptr<const Model> model;
    Status status = Model::open(file.path(), {LLQRT_VERIFY_HEADER}, model);
    refused += !status.ok();
    ASSERT_EQ(status.message().find('\n'), std::string::npos);
  }
  EXPECT_GT(refused, 300u);
}

// The same for the ELF object: its own checks must hold without its checksum.
TEST(DamageTest, FlippedCodeNeverCrashesTheElfCheck) {
  TestModel parts;
  std::mt19937_64 random(3);
  const std::vector<std::byte> code = parts.code[0];
  TemporaryFile file;
  size_t refused = 0;
  for (int round = 0; round < 2000; ++round) {
    parts.code[0] = code;
    // Headers and the dynamic tables lie at the front.
    size_t range =
        round % 2 ? std::min<size_t>(code.size(), 1024) : code.size();
    for (int flips = 0; flips < 4; ++flips)
      flipBit(parts.code[0], random() % (range * 8));
    if (round % 50 == 0)
      parts.code[0].resize(1 + random() % code.size());
    file.write(parts.build());
    std::shared_ptr<const Model> model;
    refused += !Model::open(file.path(), {}, model).ok();
  }
  EXPECT_GT(refused, 100u);
}
