//===- EmitTest.cpp - The model binary ------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Emit/Emit.h"
#include "TestProgram.h"

#include "llq/Codegen/CPULevel.h"
#include "llqrt/FileFormat.h"
#include "llqrt/Model.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Parser/Parser.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <limits>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlir;
using namespace llq;
using namespace llq::test;
namespace fs = std::filesystem;

namespace {

std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

class Emit : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "llq-emit-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder = pattern;
    program.emplace(folder);
    options.output = folder + "/model.llq";
    options.pipeline = "test";
    options.source = "test.onnx";
  }
  void TearDown() override { fs::remove_all(folder); }

  /// Emits a module and returns the message of its error, or "".
  std::string emit(ModuleOp module) {
    std::string message;
    ScopedDiagnosticHandler handler(&getContext(), [&](Diagnostic &diagnostic) {
      message += diagnostic.str() + "\n";
    });
    FailureOr<EmitReport> result = emitModel(module, options);
    EXPECT_EQ(succeeded(result), message.empty());
    if (succeeded(result))
      report = *result;
    return message;
  }
  std::string emit() { return emit(*program->build()); }

  /// Emits and expects an error that holds `text`, and that nothing but the
  /// test's own file is left in the folder.
  void expectError(ModuleOp module, const std::string &text) {
    std::string message = emit(module);
    EXPECT_NE(message.find(text), std::string::npos) << message;
    EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 1) << message;
    for (const fs::directory_entry &entry : fs::directory_iterator(folder))
      EXPECT_EQ(entry.path(), program->externalPath);
  }
  void expectError(const std::string &text) {
    expectError(*program->build(), text);
  }

  std::string folder;
  std::optional<TestProgram> program;
  EmitOptions options;
  EmitReport report;
};

TEST_F(Emit, IsTheSameEveryTimeAndForAnyThreads) {
  std::string bytes;
  for (unsigned threads : {1, 1, 2, 5}) {
    options.threads = threads;
    ASSERT_EQ(emit(*program->build("x86-64-v2")), "");
    std::string found = readFile(options.output);
    EXPECT_EQ(found.size(), report.bytes);
    if (bytes.empty())
      bytes = found;
    EXPECT_EQ(found == bytes, true) << threads << " threads";
  }
}

/// The runtime accepts the file and finds each weight as the kernels read it.
TEST_F(Emit, HoldsWhatTheRuntimeReads) {
  const CPULevel *host = getHostCPULevel();
  ASSERT_EQ(emit(*program->build(host ? host->name : "x86-64-v2")), "");
  std::shared_ptr<const llqrt::Model> model;
  llqrt::OpenOptions open;
  open.verify = LLQRT_VERIFY_FULL;
  llqrt::Status status = llqrt::Model::open(options.output, open, model);
  ASSERT_TRUE(status.ok()) << status.message();
  const llqrt::KernelTable *kernels;
  if (host) {
    status = model->kernels(kernels);
    EXPECT_TRUE(status.ok()) << status.message();
  }

  std::vector<char> norm(4 * 64);
  std::memcpy(norm.data(), program->norm.data(), 4 * program->norm.size());
  std::map<std::string, std::vector<char>> expected = {
      {"embed_tokens", packBuffer(program->table, false)},
      {"layers.0.mlp.gate_proj",
       packBuffer({program->gate, program->up}, true)},
      {"layers.0.mlp.down_proj", packBuffer(program->down, false)},
      {"norm", norm}};
  const llqrt::ModelInfo &info = model->info();
  EXPECT_EQ(info.weights.size(), expected.size());
  for (size_t i = 0; i < info.weights.size(); ++i) {
    std::string name = info.weights[i].name;
    if (name.starts_with("norm."))
      name = "norm";
    ASSERT_TRUE(expected.count(name)) << name;
    std::span<const std::byte> found = model->weight(i);
    ASSERT_EQ(found.size(), expected[name].size()) << name;
    EXPECT_EQ(std::memcmp(found.data(), expected[name].data(), found.size()), 0)
        << name;
  }
}

TEST_F(Emit, CountsStoredBits) {
  ASSERT_EQ(emit(), "");
  // gate and up have 6 tiles each: scales and zero points of groups of 20,
  // which are repeated every 4 columns, and 2 blocks of 3 bits. Other weights
  // are padded to multiples of 32.
  double tile = 16 * 16 * (2 + 0.5) + 2 * 16 * 32 * 3 / 8;
  double quantized = 2 * 6 * tile, down = 64 * 96 * 4;
  double count = 2 * 70 * 40 + 40 * 70;
  EXPECT_DOUBLE_EQ(report.bitsPerWeight, 8 * (quantized + down) / count);
  double table = 20000 * 64 * 2;
  EXPECT_DOUBLE_EQ(report.bitsPerWeightTotal,
                   8 * (quantized + down + table) / (count + 20000 * 40));
}

TEST_F(Emit, ReplacesAFileAndNothingElse) {
  std::ofstream(options.output) << "old";
  ASSERT_EQ(emit(), "");
  EXPECT_EQ(readFile(options.output).substr(0, 8), "LLQMODEL");
  EXPECT_EQ(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()),
      2);
}

TEST_F(Emit, PathsThatCannotBeWritten) {
  options.output = folder + "/missing/model.llq";
  expectError("/missing/model.llq: No such file or directory");
  options.output = folder;
  expectError(folder + ": it is a folder");
  // A device stays what it is.
  options.output = "/dev/full";
  expectError("cannot write /dev/full: it is there and no regular file");
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  std::string pipe = folder + "-pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  options.output = pipe;
  expectError("it is there and no regular file");
  EXPECT_TRUE(fs::is_fifo(pipe));
  fs::remove(pipe);
}

TEST_F(Emit, ReadOnlyFolder) {
  OwningOpRef<ModuleOp> module = program->build();
  chmod(folder.c_str(), 0555);
  // Root may write anywhere: be somebody else for the while.
  bool root = geteuid() == 0;
  ASSERT_TRUE(!root || seteuid(65534) == 0);
  expectError(*module, "model.llq: Permission denied");
  ASSERT_TRUE(!root || seteuid(0) == 0);
  chmod(folder.c_str(), 0700);
}

/// A limit on the size of files stands in for a full disk. The file is of about
/// 2 MiB, so the limits hit the write of weights, the last flush, and the
/// flush after an error.
TEST_F(Emit, FullDiskLeavesNothing) {
  auto old = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_EQ(emit(), "");
  fs::remove(options.output);
  uint64_t size = report.bytes;
  ASSERT_GT(size, 3u << 19);
  for (uint64_t limit :
       {uint64_t(300000), uint64_t(1) << 20, (uint64_t(1) << 20) + 5,
        size - LLQRT_SEGMENT_ALIGNMENT, size - 1}) {
    OwningOpRef<ModuleOp> copy = program->build();
    rlimit small = {limit, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    expectError(*copy, "cannot write " + options.output + ": File too large");
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  }
  std::signal(SIGXFSZ, old);
}

TEST_F(Emit, WeightsThatCannotBeRead) {
  OwningOpRef<ModuleOp> module = program->build();
  // The external file has changed since the import.
  std::ofstream(program->externalPath, std::ios::app) << "more";
  expectError(*module, "weight layers.0.mlp.down_proj: weight file " +
                           program->externalPath + " has changed");
  module = program->build();
  fs::remove(program->externalPath);
  expectError(*module,
              "weight layers.0.mlp.down_proj: cannot read weight file");
}

TEST_F(Emit, NumbersThatAreNotFinite) {
  program->norm[3] = std::numeric_limits<float>::quiet_NaN();
  expectError("has weight nan in row 0, column 3, weights need to be finite");
  program->norm[3] = 1;
  // The last element of the table, in the last tile, as infinity in f16.
  std::vector<char> &table = program->table.components[0];
  table[table.size() - 1] = 0x7c;
  table[table.size() - 2] = 0;
  expectError("weight embed_tokens: has weight inf in row 19999, column 39, "
              "weights need to be finite");
  table[table.size() - 1] = 0;
  program->up.components[1][1] = 0x7e;
  expectError("has scales that are not finite");
}

TEST_F(Emit, ElidedWeight) {
  OwningOpRef<ModuleOp> module = program->build();
  module->walk([](BufferOp buffer) {
    if (buffer.getName() != "embed_tokens")
      return;
    auto packed = cast<PackedAttr>(*buffer.getContent());
    auto values =
        packed.getParts()[0].getComponents().getAs<DenseResourceElementsAttr>(
            "values");
    values.getRawHandle().getResource()->setBlob({});
  });
  expectError(*module, "weight embed_tokens: resource 'table");
}

TEST_F(Emit, ModulesThatAreNotReady) {
  auto parse = [](const char *text) {
    return parseSourceString<ModuleOp>(text, &getContext());
  };
  expectError(*parse("module {}"),
              "needs one llq.program: run llq-lower-to-cpu first");
  expectError(*parse("llq.program @cpu max_tokens = 1 {}"),
              "has no llq.architecture");
  OwningOpRef<ModuleOp> module = program->build();
  module->walk([](BufferOp buffer) { buffer.removeOffsetAttr(); });
  expectError(*module, "has no place: run llq-plan-memory first");
  // Parts of a model are no model.
  module = program->build();
  module->walk([](ProgramOp op) { op->removeAttr("outputs"); });
  expectError(*module, "has several results, a model file needs one");
  module = program->build();
  module->walk([](BufferOp buffer) {
    if (buffer.getName() == "ids")
      buffer.setName("inputs.0");
  });
  expectError(*module, "is an input that is no token ids");
  module = program->build("x86-64-v2");
  for (auto kernels : module->getOps<ModuleOp>())
    kernels->setAttr("llq.level", StringAttr::get(&getContext(), "z80"));
  expectError(*module, "kernel module without a known llq.level");
  // A buffer that says something else than its content.
  module = program->build();
  module->walk([](BufferOp buffer) {
    if (buffer.getName() == "embed_tokens")
      buffer.setBytes(64);
  });
  expectError(*module, "weight embed_tokens takes 2560000 bytes, its buffer "
                       "has 64");
}

} // namespace
