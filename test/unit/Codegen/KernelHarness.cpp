//===- KernelHarness.cpp - Compiles and runs kernels in a test ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"

#include "llq/Codegen/CPU.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir;
using namespace llq;
using namespace llq::test;

std::vector<const CPULevel *> llq::test::getRunnableLevels() {
  std::vector<const CPULevel *> result;
  if (const CPULevel *host = getHostCPULevel())
    for (const CPULevel &level : getCPULevels())
      if (level.machine == host->machine && &level <= host)
        result.push_back(&level);
  return result;
}

std::string
llq::test::getLevelName(const testing::TestParamInfo<const CPULevel *> &info) {
  std::string name = info.param->name.str();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
  return name;
}

//===----------------------------------------------------------------------===//
// Guarded
//===----------------------------------------------------------------------===//

static constexpr char canary = 0x5c;

Guarded::Guarded(size_t bytes, int fill) : bytes(bytes) {
  size_t page = sysconf(_SC_PAGESIZE);
  // At least a page in front of the buffer holds the canary.
  size_t usable = (bytes + page - 1) / page * page + page;
  mapped = usable + page;
  base = static_cast<char *>(mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (base == MAP_FAILED || mprotect(base + usable, page, PROT_NONE) != 0)
    llvm::report_fatal_error("no memory for a test");
  begin = base + usable - bytes;
  std::memset(base, canary, begin - base);
  this->fill(fill);
}

Guarded::Guarded(const std::vector<char> &content) : Guarded(content.size()) {
  std::copy(content.begin(), content.end(), begin);
}

Guarded::Guarded(Guarded &&other)
    : base(other.base), mapped(other.mapped), begin(other.begin),
      bytes(other.bytes) {
  other.base = nullptr;
}

Guarded::~Guarded() {
  if (!base)
    return;
  EXPECT_TRUE(std::all_of(base, begin, [](char c) { return c == canary; }))
      << "a kernel wrote in front of a buffer";
  munmap(base, mapped);
}

//===----------------------------------------------------------------------===//
// KernelModule
//===----------------------------------------------------------------------===//

KernelModule::KernelModule(const CPULevel &level)
    : level(level), module(ModuleOp::create(UnknownLoc::get(&getContext()))) {}

KernelModule::~KernelModule() {
  if (library)
    dlclose(library);
}

void KernelModule::compile() {
  ASSERT_TRUE(succeeded(module->verify()));
  FailureOr<std::string> bytes = compileToSharedObject(*module, level);
  ASSERT_TRUE(succeeded(bytes));
  object = std::move(*bytes);
  int file = memfd_create("llq-test-kernels", MFD_CLOEXEC);
  ASSERT_GE(file, 0);
  ASSERT_EQ(write(file, object.data(), object.size()), ssize_t(object.size()));
  std::string path = "/proc/self/fd/" + std::to_string(file);
  library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  close(file);
  ASSERT_NE(library, nullptr) << dlerror();
}

llqrt_kernel KernelModule::find(const std::string &name) const {
  void *symbol = dlsym(library, name.c_str());
  EXPECT_NE(symbol, nullptr) << name;
  return reinterpret_cast<llqrt_kernel>(symbol);
}

//===----------------------------------------------------------------------===//
// Call
//===----------------------------------------------------------------------===//

void Call::run(int64_t begin, int64_t end, int64_t parts) const {
  std::vector<void *> pointers;
  for (Guarded *buffer : buffers)
    pointers.push_back(buffer->data());
  // Never read what another item left behind.
  Guarded scratch(scratchBytes, 0xff);
  llqrt_call call = {begin, end, past, /*capacity=*/past + tokens};
  int64_t items = grid.items + grid.itemsPerToken * (end - begin);
  for (int64_t part = 0; part < parts; ++part)
    kernel(pointers.data(), &call, items * part / parts,
           items * (part + 1) / parts, scratch.data());
}

void llq::test::runAndCheckSplits(const Call &call) {
  Guarded &output = *call.buffers.back();
  std::vector<char> expected(output.size());
  output.fill(0xff);
  call.run();
  std::memcpy(expected.data(), output.data(), output.size());

  auto check = [&](const char *how) {
    EXPECT_EQ(std::memcmp(expected.data(), output.data(), output.size()), 0)
        << "the result depends on the cut: " << how;
  };
  output.fill(0xee);
  for (int64_t token = 0; token < call.tokens; ++token)
    call.run(token, token + 1);
  check("one token at a time");
  output.fill(0xdd);
  int64_t middle = (call.tokens + 2) / 3;
  call.run(middle, call.tokens, 3);
  call.run(0, middle, 2);
  check("two calls, items in ranges");
}
