//===- ModelTest.cpp - Opening model files --------------------------------===//
//
// A valid file opens and says what is in it; every kind of wrong header, with
// all its checksums right, is refused with a message that names the fault.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"

#include "llqrt/Machine.h"
#include "llqrt/Session.h"

#include "gtest/gtest.h"

#include <cstdlib>
#include <cstring>

using namespace llqrt;
using namespace llqrt::test;

TEST(ModelTest, SaysWhatIsInTheFile) {
  std::shared_ptr<const Model> model = openTestModel();
  ASSERT_TRUE(model);
  const ModelInfo &info = model->info();
  EXPECT_EQ(info.architecture.vocab, vocab);
  EXPECT_EQ(info.architecture.tokenLimit, vocab);
  EXPECT_EQ(info.architecture.outputWidth(), vocab);
  EXPECT_EQ(info.weights.size(), 2u);
  EXPECT_EQ(info.weightBytes(), 2u * vocab * hidden * 4);
  EXPECT_EQ(info.targets[0].kernels.size(), 4u);
  EXPECT_EQ(info.targets[0].program.outputBuffer, 6u);
  EXPECT_EQ(info.provenance.source, "test.onnx");
  // 16 bytes for 8x4 weights in the block; the head has 32 bits per weight.
  EXPECT_DOUBLE_EQ(info.bitsPerWeight(false), 4.0);
  EXPECT_DOUBLE_EQ(info.bitsPerWeight(true),
                   8.0 * (16 + vocab * hidden * 4) / (32 + vocab * hidden));
}

TEST(ModelTest, CountsRowsOfWeightsThatAreLookedUp) {
  std::shared_ptr<const Model> model = openTestModel();
  ASSERT_TRUE(model);
  // One row of the embedding and the whole head.
  EXPECT_EQ(
      weightBytesPerToken(model->info(), model->info().targets[0].program),
      hidden * 4 + vocab * hidden * 4);
}

TEST(ModelTest, CopiedWeightsEqualMappedOnes) {
  TemporaryFile file;
  file.write(TestModel().build());
  std::shared_ptr<const Model> mapped, copied;
  ASSERT_TRUE(Model::open(file.path(), {}, mapped).ok());
  ASSERT_TRUE(
      Model::open(file.path(), {LLQRT_VERIFY_FULL, LLQRT_WEIGHTS_COPY}, copied)
          .ok());
  for (size_t i = 0; i < 2; ++i) {
    auto a = mapped->weight(i), b = copied->weight(i);
    ASSERT_EQ(a.size(), b.size());
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size()), 0);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data()) % 4096, 0u);
  }
}

TEST(ModelTest, FileErrorsNameTheFile) {
  std::shared_ptr<const Model> model;
  Status status = Model::open("/nonexistent/model.llq", {}, model);
  EXPECT_EQ(status.code(), LLQRT_FILE_ERROR);
  EXPECT_NE(status.message().find("/nonexistent/model.llq"), std::string::npos);
  EXPECT_EQ(Model::open("/", {}, model).code(), LLQRT_FILE_ERROR);
  EXPECT_EQ(openBytes({}, model).code(), LLQRT_BAD_FILE);
  EXPECT_EQ(openBytes(std::vector<std::byte>(5), model).code(), LLQRT_BAD_FILE);
  EXPECT_FALSE(model);
}

TEST(ModelTest, RefusesOtherVersions) {
  std::vector<std::byte> bytes = TestModel().build();
  bytes[8] = std::byte{2};
  repairChecksums(bytes);
  std::shared_ptr<const Model> model;
  Status status = openBytes(bytes, model);
  EXPECT_EQ(status.code(), LLQRT_BAD_FILE);
  EXPECT_NE(status.message().find("version 2"), std::string::npos)
      << status.message();
}

namespace {
struct WrongHeader {
  const char *message;
  void (*spoil)(ModelInfo &);
};
void PrintTo(const WrongHeader &wrong, std::ostream *out) {
  *out << wrong.message;
}
ProgramInfo &program(ModelInfo &info) { return info.targets[0].program; }
constexpr uint64_t huge = ~uint64_t(0);
} // namespace

class WrongHeaderTest : public testing::TestWithParam<WrongHeader> {};

TEST_P(WrongHeaderTest, IsRefused) {
  std::shared_ptr<const Model> model;
  Status status = openBytes(TestModel().build(GetParam().spoil), model);
  EXPECT_EQ(status.code(), LLQRT_BAD_FILE);
  EXPECT_NE(status.message().find(GetParam().message), std::string::npos)
      << status.message();
  EXPECT_FALSE(model);
}

static const WrongHeader wrongHeaders[] = {
    {"hidden is out of range", [](ModelInfo &m) { m.architecture.hidden = 0; }},
    {"vocab is out of range",
     [](ModelInfo &m) {
       m.architecture.vocab = m.architecture.tokenLimit = 0;
     }},
    {"context is out of range",
     [](ModelInfo &m) { m.architecture.context = 1u << 29; }},
    {"multiple of kv_heads", [](ModelInfo &m) { m.architecture.kvHeads = 3; }},
    {"not finite", [](ModelInfo &m) { m.architecture.ropeTheta = 0.0 / 0.0; }},
    {"weight \"head\" has no bytes",
     [](ModelInfo &m) { m.weights[1].region.bytes = 0; }},
    {"lies outside the file",
     [](ModelInfo &m) { m.weights[0].region.bytes = huge; }},
    {"lies outside the file",
     [](ModelInfo &m) { m.weights[0].region.offset = huge - 65535; }},
    {"overlaps the header",
     [](ModelInfo &m) { m.weights[0].region.offset = 0; }},
    {"overlaps weight",
     [](ModelInfo &m) { m.weights[1].region = m.weights[0].region; }},
    {"does not begin at a multiple of 4096 bytes",
     [](ModelInfo &m) { m.weights[0].region.offset += 64; }},
    {"size out of range", [](ModelInfo &m) { m.linears[0].rows = 0; }},
    {"size out of range", [](ModelInfo &m) { m.linears[1].bytes = huge; }},
    {"occurs twice",
     [](ModelInfo &m) {
       m.targets.push_back(m.targets[0]);
       m.targets[1].code.clear();
     }},
    {"it has no code", [](ModelInfo &m) { m.targets[0].code.clear(); }},
    {"occurs twice",
     [](ModelInfo &m) {
       m.targets[0].code[0].level = m.targets[0].code.back().level = "x";
       if (m.targets[0].code.size() == 1)
         m.targets[0].code[0].level.clear();
     }},
    {"no proper name", [](ModelInfo &m) { m.targets[0].kernels[0].clear(); }},
    {"lacks kernel \"missing\"",
     [](ModelInfo &m) { m.targets[0].kernels[2] = "missing"; }},
    {"max_tokens", [](ModelInfo &m) { program(m).maxTokens = 0; }},
    {"max_tokens", [](ModelInfo &m) { program(m).maxTokens = ~0u; }},
    {"working memory", [](ModelInfo &m) { program(m).arenaBytes = huge; }},
    {"working memory", [](ModelInfo &m) { program(m).scratchBytes = huge; }},
    {"working memory",
     [](ModelInfo &m) { program(m).scratchBytesPerPosition = huge; }},
    {"only input", [](ModelInfo &m) { program(m).buffers[0].name = "tokens"; }},
    {"only input",
     [](ModelInfo &m) { program(m).buffers[0].bytesPerToken = 8; }},
    {"only output",
     [](ModelInfo &m) { program(m).buffers[6].bytesPerToken = hidden * 4; }},
    {"only output",
     [](ModelInfo &m) { program(m).buffers.push_back(program(m).buffers[6]); }},
    {"unknown kind",
     [](ModelInfo &m) {
       program(m).buffers[2].kind = static_cast<BufferKind>(77);
     }},
    {"size out of range",
     [](ModelInfo &m) { program(m).buffers[2].bytesPerToken = huge / 4; }},
    {"not aligned to 64",
     [](ModelInfo &m) { program(m).buffers[4].offset = 8; }},
    {"outside the arena",
     [](ModelInfo &m) { program(m).buffers[4].offset += 64; }},
    {"outside the arena",
     [](ModelInfo &m) { program(m).buffers[4].offset = huge - 63; }},
    {"a weight that does not exist",
     [](ModelInfo &m) { program(m).buffers[5].weight = 2; }},
    {"size out of range",
     [](ModelInfo &m) { program(m).buffers[3].bytesPerPosition = huge / 100; }},
    {"number of dispatches",
     [](ModelInfo &m) { program(m).dispatches.clear(); }},
    {"kernel that does not exist",
     [](ModelInfo &m) { program(m).dispatches[0].kernel = 4; }},
    {"buffer that does not exist",
     [](ModelInfo &m) { program(m).dispatches[1].buffers[0] = 7; }},
    {"too many buffers",
     [](ModelInfo &m) { program(m).dispatches[1].buffers.resize(65); }},
    {"more buffers than it has",
     [](ModelInfo &m) { program(m).dispatches[1].numWrites = 3; }},
    {"which is read-only",
     [](ModelInfo &m) { program(m).dispatches[0].buffers[2] = 1; }},
    {"no work items",
     [](ModelInfo &m) { program(m).dispatches[2].itemsPerToken = 0; }},
};
INSTANTIATE_TEST_SUITE_P(Model, WrongHeaderTest,
                         testing::ValuesIn(wrongHeaders));

TEST(ModelTest, RefusesCodeThatIsNoLibrary) {
  TestModel parts;
  parts.code[0].assign(4096, std::byte{0x90});
  std::shared_ptr<const Model> model;
  Status status = openBytes(parts.build(), model);
  EXPECT_EQ(status.code(), LLQRT_BAD_FILE);
  EXPECT_NE(status.message().find("malformed ELF"), std::string::npos)
      << status.message();
}

namespace {
/// Sets LLQ_CPU_LEVEL for a scope.
struct CpuLevel {
  explicit CpuLevel(const char *level) { setenv("LLQ_CPU_LEVEL", level, 1); }
  ~CpuLevel() { unsetenv("LLQ_CPU_LEVEL"); }
};
} // namespace

TEST(ModelTest, TakesTheMostCapableLevel) {
  std::shared_ptr<const Model> model = openTestModel();
  const KernelTable *table = nullptr;
  ASSERT_TRUE(model->kernels(table).ok());
  EXPECT_EQ(table->level, hostLevels().back());
  EXPECT_EQ(table->kernels.size(), 4u);
}

TEST(ModelTest, EnvironmentForcesALowerLevel) {
  std::string lowest = hostLevels().front();
  CpuLevel level(lowest.c_str());
  std::shared_ptr<const Model> model = openTestModel();
  const KernelTable *table = nullptr;
  ASSERT_TRUE(model->kernels(table).ok());
  EXPECT_EQ(table->level, lowest);
}

TEST(ModelTest, EnvironmentWithAnUnknownLevelIsAnError) {
  CpuLevel level("pentium");
  std::shared_ptr<const Model> model = openTestModel();
  const KernelTable *table = nullptr;
  Status status = model->kernels(table);
  EXPECT_EQ(status.code(), LLQRT_UNSUPPORTED);
  EXPECT_NE(status.message().find("pentium"), std::string::npos);
}

TEST(ModelTest, CodeForOtherMachinesOnly) {
  std::shared_ptr<const Model> model;
  Status opened = openBytes(TestModel().build([](ModelInfo &m) {
    for (CodeInfo &code : m.targets[0].code)
      code.level = "other-" + code.level;
  }),
                            model);
  ASSERT_TRUE(opened.ok()) << opened.message();
  const KernelTable *table = nullptr;
  Status status = model->kernels(table);
  EXPECT_EQ(status.code(), LLQRT_UNSUPPORTED);
  EXPECT_NE(status.message().find("no code for this CPU"), std::string::npos);
}

TEST(ModelTest, WithoutTokenizer) {
  const Tokenizer *tokenizer = nullptr;
  EXPECT_EQ(openTestModel()->tokenizer(tokenizer).code(), LLQRT_UNSUPPORTED);
}

TEST(ModelTest, DamagedTokenizerIsAnError) {
  TestModel parts;
  parts.tokenizer.assign(100, 7);
  std::shared_ptr<const Model> model;
  ASSERT_TRUE(openBytes(parts.build(), model).ok());
  const Tokenizer *tokenizer = nullptr;
  EXPECT_EQ(model->tokenizer(tokenizer).code(), LLQRT_BAD_FILE);
}
