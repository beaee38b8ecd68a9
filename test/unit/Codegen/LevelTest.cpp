//===- LevelTest.cpp - Levels and shared objects --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "KernelHarness.h"

#include "llq/Codegen/CPU.h"

#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace llq;
using namespace llq::test;

namespace {

/// One kernel of each kind, with every operation that might become a call.
void addKernels(ModuleOp module, const CPULevel &level) {
  MLIRContext *context = module.getContext();
  auto format =
      UniformAttr::get(context, 5, 32, ZeroPoint::Float, ScaleType::F16);
  Type weight = getQuantized(64, 64, format);
  ActivationType int8 = {ActivationType::Kind::Group, 8};
  ActivationType token8 = {ActivationType::Kind::Token, 8};
  ActivationType static4 = {ActivationType::Kind::Static, 4};
  LinearKernel{weight, 64, int8, false, LinearKernel::Epilogue::Store}.emit(
      module, level);
  LinearKernel{weight, 64, {}, false, LinearKernel::Epilogue::SwiGLU}.emit(
      module, level);
  for (Type element :
       {Type(Float16Type::get(context)), Type(BFloat16Type::get(context))})
    LinearKernel{getTensor(64, 64, element),
                 64,
                 {},
                 true,
                 LinearKernel::Epilogue::Residual}
        .emit(module, level);
  NormKernel{64, true, 1e-5f, int8}.emit(module, level);
  for (ActivationType type : {token8, static4}) {
    LinearKernel{weight, 64, type, false, LinearKernel::Epilogue::Store}.emit(
        module, level);
    NormKernel{64, true, 1e-5f, type}.emit(module, level);
  }
  EmbeddingKernel{weight}.emit(module, level);
  RotaryKernel{32, 1}.emit(module, level);
  ElementwiseKernel{ElementwiseKernel::Kind::SwiGLU, 64, 0, 64, 0, 64}.emit(
      module, level);
  for (CacheType type :
       {CacheType::F32, CacheType::F16, CacheType::Int8, CacheType::Int4}) {
    AttentionShape shape = {4, 2, 16, type};
    RopeAppendKernel{shape, 0, 64, 0, 32, 0, 32, true, true, true}.emit(module,
                                                                        level);
    AttentionKernel{shape, 0.25f}.emit(module, level);
  }
}

std::string compileKernels(const CPULevel &level) {
  OwningOpRef<ModuleOp> module =
      ModuleOp::create(UnknownLoc::get(&getContext()));
  addKernels(*module, level);
  FailureOr<std::string> object = compileToSharedObject(*module, level);
  EXPECT_TRUE(succeeded(object)) << level.name.str();
  return succeeded(object) ? *object : std::string();
}

/// Also levels of other machines link: nothing is undefined, nothing needed.
TEST(Level, ObjectsNeedNothing) {
  for (const CPULevel &level : getCPULevels()) {
    SCOPED_TRACE(level.name.str());
    std::string bytes = compileKernels(level);
    auto file = llvm::object::ObjectFile::createELFObjectFile(
        llvm::MemoryBufferRef(bytes, "kernels"));
    ASSERT_TRUE(bool(file)) << llvm::toString(file.takeError());
    auto &elf = llvm::cast<llvm::object::ELFObjectFileBase>(**file);
    int defined = 0;
    for (llvm::object::ELFSymbolRef symbol : elf.getDynamicSymbolIterators()) {
      llvm::Expected<llvm::StringRef> name = symbol.getName();
      ASSERT_TRUE(bool(name));
      llvm::Expected<uint32_t> flags = symbol.getFlags();
      ASSERT_TRUE(bool(flags));
      EXPECT_FALSE(*flags & llvm::object::SymbolRef::SF_Undefined)
          << name->str();
      ++defined;
    }
    EXPECT_EQ(defined, 2 + 2 + 4 + 4 + 8);
    for (const auto &entry : elf.sections()) {
      llvm::Expected<llvm::StringRef> name = entry.getName();
      ASSERT_TRUE(bool(name));
      // Code that the loader would have to patch cannot be shared or sealed.
      EXPECT_FALSE(name->starts_with(".rela")) << name->str();
    }
  }
}

TEST(Level, ObjectsAreReproducible) {
  const CPULevel &level = getCPULevels().front();
  EXPECT_EQ(compileKernels(level), compileKernels(level));
}

TEST(Level, IsFoundByItsName) {
  for (const CPULevel &level : getCPULevels())
    EXPECT_EQ(findCPULevel(level.name), &level);
  EXPECT_EQ(findCPULevel("x86-64-v5"), nullptr);
  EXPECT_EQ(findCPULevel(""), nullptr);
}

} // namespace
