//===- KernelHarness.h - Compiles and runs kernels in a test ----*- C++ -*-===//
//
// Kernels are built from their descriptions, compiled to a shared object,
// loaded through memory as the runtime does, and called on buffers that end at
// a page which may not be touched.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef TEST_UNIT_CODEGEN_KERNELHARNESS_H
#define TEST_UNIT_CODEGEN_KERNELHARNESS_H

#include "TestWeights.h"
#include "lib/Codegen/CPU/Kernels.h"
#include "llq/Codegen/CPULevel.h"
#include "llqrt/FileFormat.h"

#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringSet.h"

#include <gtest/gtest.h>

namespace llq::test {

/// The levels that this machine can run; never empty on x86-64.
std::vector<const CPULevel *> getRunnableLevels();

/// Tests that run once for each of them.
class LevelTest : public ::testing::TestWithParam<const CPULevel *> {
protected:
  const CPULevel &level() const { return *GetParam(); }
};
std::string getLevelName(const testing::TestParamInfo<const CPULevel *> &info);

#define LLQ_TEST_ALL_LEVELS(Suite)                                             \
  INSTANTIATE_TEST_SUITE_P(All, Suite,                                         \
                           testing::ValuesIn(llq::test::getRunnableLevels()),  \
                           llq::test::getLevelName)

/// Memory of exactly `bytes` bytes in front of a page without access; a canary
/// in front of it is checked at the end.
class Guarded {
public:
  explicit Guarded(size_t bytes, int fill = 0);
  Guarded(const std::vector<char> &content);
  template <typename T>
  Guarded(const std::vector<T> &content) : Guarded(content.size() * sizeof(T)) {
    std::memcpy(data(), content.data(), size());
  }
  Guarded(Guarded &&other);
  ~Guarded();

  char *data() const { return begin; }
  size_t size() const { return bytes; }
  template <typename T> T *as() const { return reinterpret_cast<T *>(begin); }
  void fill(int byte) { std::memset(begin, byte, bytes); }

private:
  char *base;
  size_t mapped;
  char *begin;
  size_t bytes;
};

/// The work of a dispatch: as in llq.dispatch.
struct Grid {
  int64_t items = 0;
  int64_t itemsPerToken = 0;
};

/// A compiled module of kernels. Add all, compile, run.
class KernelModule {
public:
  explicit KernelModule(const CPULevel &level);
  ~KernelModule();

  template <typename Kernel> void add(const Kernel &kernel) {
    if (names.insert(kernel.getName()).second)
      kernel.emit(*module, level);
  }
  /// Compiles and loads; a test failure if that fails.
  void compile();
  llqrt_kernel find(const std::string &name) const;
  const std::string &getObject() const { return object; }

  const CPULevel &level;

private:
  mlir::OwningOpRef<mlir::ModuleOp> module;
  llvm::StringSet<> names;
  std::string object;
  void *library = nullptr;
};

/// A kernel with its buffers, the last `writes` of which are written.
struct Call {
  llqrt_kernel kernel;
  std::vector<Guarded *> buffers;
  Grid grid;
  int64_t tokens;
  int64_t past = 0;
  int64_t scratchBytes = 64;

  /// All tokens and items at once.
  void run() const { run(0, tokens); }
  /// Tokens [begin, end), the items in `parts` ranges.
  void run(int64_t begin, int64_t end, int64_t parts = 1) const;
};

/// Runs the call, whose last buffer is written, and checks that its bytes do
/// not depend on how tokens and items are cut into calls.
void runAndCheckSplits(const Call &call);

} // namespace llq::test

#endif // TEST_UNIT_CODEGEN_KERNELHARNESS_H
