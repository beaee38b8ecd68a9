//===- TestModel.cpp - A hand-made model file for tests -------------------===//
//
// See TestModel.h.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "TestModel.h"

#include "llqrt/Machine.h"
#include "llqrt/schema/llq_generated.h"

#include "gtest/gtest.h"

#include <cstring>
#include <fstream>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace llqrt;
using namespace llqrt::test;

static std::vector<std::byte> readBytes(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  auto *data = reinterpret_cast<const std::byte *>(text.data());
  return {data, data + text.size()};
}

/// Small numbers without pattern, the same on every machine.
static std::vector<float> numbers(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  for (float &value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int32_t>(seed >> 16) - 32768) / 4096;
  }
  return values;
}

static const std::vector<float> &embedding() {
  static const std::vector<float> values = numbers(vocab * hidden, 1);
  return values;
}
static const std::vector<float> &head() {
  static const std::vector<float> values = numbers(vocab * hidden, 2);
  return values;
}

static std::vector<std::byte> bytesOf(const std::vector<float> &values) {
  auto *data = reinterpret_cast<const std::byte *>(values.data());
  return {data, data + values.size() * sizeof(float)};
}

TestModel::TestModel() {
  ArchitectureInfo &a = info.architecture;
  a.hidden = hidden;
  a.layers = 1;
  a.heads = 2;
  a.kvHeads = 1;
  a.headDim = 8;
  a.ffn = 32;
  a.vocab = a.tokenLimit = vocab;
  a.context = context;
  a.ropeTheta = 10000;
  a.ropeScaling = "none";
  a.normEps = 1e-5;
  info.linears = {{"layers.0.mlp", 8, 4, "#llq.dense", 16, "exact", "", true},
                  {"lm_head", vocab, hidden, "#llq.dense", vocab * hidden * 4,
                   "exact", "", false}};
  info.weights = {{"embedding", {}}, {"head", {}}};
  weights = {bytesOf(embedding()), bytesOf(head())};
  info.provenance = {"test.onnx", "00ff", "builtin.module()", "", "0"};
  info.kvCache = "f32";

  constexpr uint64_t row = hidden * sizeof(float);
  ProgramInfo program;
  program.maxTokens = maxTokens;
  program.arenaBytes = 2 * row * maxTokens;
  program.scratchBytes = row;
  using enum BufferKind;
  program.buffers = {{"ids", Input, 4, 0, 0, 0},
                     {"embedding", Weight, 0, 0, 0, 0},
                     {"x", Temporary, row, 0, 0, 0},
                     {"cache", State, 0, row, 0, 0},
                     {"y", Temporary, row, 0, row * maxTokens, 0},
                     {"head", Weight, 0, 0, 0, 1},
                     {"outputs", Output, vocab * sizeof(float), 0, 0, 0}};
  program.inputBuffer = 0;
  program.outputBuffer = 6;
  program.dispatches = {{0, {0, 1, 2}, 0, 1, 1, false},
                        {1, {2, 3}, 0, 1, 1, false},
                        {2, {3, 2, 4}, 0, 1, 1, false},
                        {3, {4, 5, 6}, vocab / 4, 0, 1, true}};

  TargetInfo target;
  target.name = "cpu";
  target.kernels = {"embed", "append", "attend", "head"};
  target.program = program;
  for (const std::string &level : hostLevels()) {
    target.code.push_back({hostMachine(), level, {}});
    code.push_back(readBytes(LLQRT_TEST_KERNELS));
  }
  info.targets = {target};
}

static fb::Region toRegion(const FileRegion &region) {
  return {region.offset, region.bytes, region.checksum};
}

static flatbuffers::Offset<fb::Target>
toTarget(flatbuffers::FlatBufferBuilder &builder, const TargetInfo &target) {
  const ProgramInfo &program = target.program;
  std::vector<flatbuffers::Offset<fb::Buffer>> buffers;
  for (const BufferInfo &buffer : program.buffers)
    buffers.push_back(fb::CreateBuffer(
        builder, builder.CreateString(buffer.name),
        static_cast<fb::BufferKind>(buffer.kind), buffer.bytesPerToken,
        buffer.bytesPerPosition, buffer.offset, buffer.weight));
  std::vector<flatbuffers::Offset<fb::Dispatch>> dispatches;
  for (const DispatchInfo &dispatch : program.dispatches)
    dispatches.push_back(fb::CreateDispatch(
        builder, dispatch.kernel, builder.CreateVector(dispatch.buffers),
        dispatch.items, dispatch.itemsPerToken, dispatch.numWrites,
        dispatch.outputsOnly));
  auto fbProgram = fb::CreateProgram(
      builder, program.maxTokens, program.arenaBytes, program.scratchBytes,
      program.scratchBytesPerPosition, builder.CreateVector(buffers),
      builder.CreateVector(dispatches));
  std::vector<flatbuffers::Offset<fb::Code>> code;
  for (const CodeInfo &entry : target.code) {
    fb::Region region = toRegion(entry.region);
    code.push_back(fb::CreateCode(builder, builder.CreateString(entry.machine),
                                  builder.CreateString(entry.level), &region));
  }
  return fb::CreateTarget(builder, builder.CreateString(target.name),
                          builder.CreateVectorOfStrings(target.kernels),
                          fbProgram, builder.CreateVector(code));
}

static void writeHeader(flatbuffers::FlatBufferBuilder &builder,
                        const ModelInfo &info) {
  const ArchitectureInfo &a = info.architecture;
  auto architecture = fb::CreateArchitecture(
      builder, a.hidden, a.layers, a.heads, a.kvHeads, a.headDim, a.ffn,
      a.vocab, a.context, a.ropeTheta, builder.CreateString(a.ropeScaling),
      builder.CreateVector(a.ropeParameters), a.normEps, a.tiedEmbeddings,
      a.tokenLimit == a.vocab ? 0 : a.tokenLimit);
  std::vector<flatbuffers::Offset<fb::Linear>> linears;
  for (const LinearInfo &linear : info.linears)
    linears.push_back(fb::CreateLinear(
        builder, builder.CreateString(linear.name), linear.rows, linear.columns,
        builder.CreateString(linear.format), linear.bytes,
        builder.CreateString(linear.accuracy),
        builder.CreateString(linear.method), linear.inBlock));
  std::vector<flatbuffers::Offset<fb::Weight>> weights;
  for (const WeightInfo &weight : info.weights) {
    fb::Region region = toRegion(weight.region);
    weights.push_back(
        fb::CreateWeight(builder, builder.CreateString(weight.name), &region));
  }
  std::vector<flatbuffers::Offset<fb::Target>> targets;
  for (const TargetInfo &target : info.targets)
    targets.push_back(toTarget(builder, target));
  fb::Region tokenizer = toRegion(info.tokenizer);
  const ProvenanceInfo &p = info.provenance;
  auto provenance = fb::CreateProvenance(
      builder, builder.CreateString(p.source),
      builder.CreateString(p.sourceSha256), builder.CreateString(p.pipeline),
      builder.CreateString(p.calibration), builder.CreateString(p.toolVersion));
  fb::FinishModelBuffer(
      builder, fb::CreateModel(
                   builder, architecture, builder.CreateVector(linears),
                   builder.CreateVector(weights), builder.CreateVector(targets),
                   &tokenizer, provenance, builder.CreateString(info.kvCache)));
}

std::vector<std::byte>
TestModel::build(const std::function<void(ModelInfo &)> &spoil) const {
  std::vector<std::byte> file(firstSegment);
  auto place = [&](const void *data, size_t bytes) {
    FileRegion region{file.size(), bytes, XXH3_64bits(data, bytes)};
    file.resize(file.size() + (bytes + LLQRT_SEGMENT_ALIGNMENT - 1) /
                                  LLQRT_SEGMENT_ALIGNMENT *
                                  LLQRT_SEGMENT_ALIGNMENT);
    std::memcpy(file.data() + region.offset, data, bytes);
    return region;
  };
  ModelInfo model = info;
  for (size_t i = 0; i < weights.size(); ++i)
    model.weights[i].region = place(weights[i].data(), weights[i].size());
  for (size_t i = 0; i < code.size(); ++i)
    model.targets[0].code[i].region = place(code[i].data(), code[i].size());
  if (!tokenizer.empty())
    model.tokenizer = place(tokenizer.data(), tokenizer.size());
  if (spoil)
    spoil(model);

  flatbuffers::FlatBufferBuilder builder;
  writeHeader(builder, model);
  llqrt_prelude prelude = {};
  std::memcpy(prelude.magic, LLQRT_MAGIC, sizeof(prelude.magic));
  prelude.version = LLQRT_FORMAT_VERSION;
  prelude.header_offset = sizeof(prelude);
  prelude.header_bytes = builder.GetSize();
  prelude.file_bytes = file.size();
  EXPECT_LE(sizeof(prelude) + builder.GetSize(), firstSegment);
  std::memcpy(file.data(), &prelude, sizeof(prelude));
  std::memcpy(file.data() + sizeof(prelude), builder.GetBufferPointer(),
              builder.GetSize());
  repairChecksums(file);
  return file;
}

void test::repairChecksums(std::vector<std::byte> &file) {
  llqrt_prelude prelude;
  std::memcpy(&prelude, file.data(), sizeof(prelude));
  prelude.header_checksum =
      XXH3_64bits(file.data() + prelude.header_offset, prelude.header_bytes);
  prelude.prelude_checksum =
      XXH3_64bits(&prelude, offsetof(llqrt_prelude, prelude_checksum));
  std::memcpy(file.data(), &prelude, sizeof(prelude));
}

std::vector<float> test::referenceLogits(const std::vector<int32_t> &ids) {
  std::vector<float> logits;
  for (size_t t = 0; t < ids.size(); ++t) {
    float y[hidden];
    for (size_t d = 0; d < hidden; ++d)
      y[d] = embedding()[static_cast<size_t>(ids[t]) * hidden + d];
    for (size_t p = 0; p <= t; ++p)
      for (size_t d = 0; d < hidden; ++d)
        y[d] += embedding()[static_cast<size_t>(ids[p]) * hidden + d] *
                (1.0f / static_cast<float>(1 + p));
    for (size_t row = 0; row < vocab; ++row) {
      float sum = 0;
      for (size_t d = 0; d < hidden; ++d)
        sum += head()[row * hidden + d] * y[d];
      logits.push_back(sum);
    }
  }
  return logits;
}

TemporaryFile::TemporaryFile(const std::string &suffix) {
  static int count = 0;
  name = testing::TempDir() + "llqrt-" + std::to_string(getpid()) + "-" +
         std::to_string(count++) + suffix;
}

TemporaryFile::~TemporaryFile() { unlink(name.c_str()); }

void TemporaryFile::write(const void *data, size_t bytes) const {
  // Replaced, not overwritten: an open model may still map the old one.
  unlink(name.c_str());
  std::ofstream file(name, std::ios::binary);
  file.write(static_cast<const char *>(data),
             static_cast<std::streamsize>(bytes));
  ASSERT_TRUE(file.good()) << name;
}

std::string TemporaryFile::read() const {
  std::ifstream file(name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Status test::openBytes(const std::vector<std::byte> &bytes,
                       std::shared_ptr<const Model> &model,
                       OpenOptions options) {
  TemporaryFile file;
  file.write(bytes);
  return Model::open(file.path(), options, model);
}

std::shared_ptr<const Model> test::openTestModel() {
  std::shared_ptr<const Model> model;
  Status status = openBytes(TestModel().build(), model);
  EXPECT_TRUE(status.ok()) << status.message();
  return model;
}
