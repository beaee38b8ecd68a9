//===- CPULevel.cpp - Instruction-set levels of the CPU target ------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Codegen/CPULevel.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"

using namespace llq;

static const CPULevel levels[] = {
    {"x86-64-v2", "x86-64", "x86_64-unknown-linux-gnu", "x86-64-v2", "",
     /*vectorBytes=*/16, DotKind::MaddPairs, "llvm.x86.ssse3.pmadd.ub.sw.128",
     "llvm.x86.sse2.pmadd.wd", "llvm.x86.ssse3.pshuf.b.128", ByteMoves::Scalar,
     /*hasF16=*/false, /*hasFMA=*/false, /*tokensInt8=*/2, /*tokensF32=*/1,
     /*prefetchBytes=*/1024},
    {"x86-64-v3", "x86-64", "x86_64-unknown-linux-gnu", "x86-64-v3", "",
     /*vectorBytes=*/32, DotKind::MaddPairs, "llvm.x86.avx2.pmadd.ub.sw",
     "llvm.x86.avx2.pmadd.wd", "llvm.x86.avx2.pshuf.b", ByteMoves::BitDeposit,
     /*hasF16=*/true, /*hasFMA=*/true,
     /*tokensInt8=*/4, /*tokensF32=*/2, /*prefetchBytes=*/1024},
    // AVX-512 alone gains little over v3: this level asks for VNNI too.
    {"x86-64-v4", "x86-64", "x86_64-unknown-linux-gnu", "x86-64-v4",
     "+avx512vnni", /*vectorBytes=*/64, DotKind::DotAccumulate,
     "llvm.x86.avx512.vpdpbusd.512", "", "llvm.x86.avx512.pshuf.b.512",
     ByteMoves::BitDeposit, /*hasF16=*/true, /*hasFMA=*/true,
     /*tokensInt8=*/8, /*tokensF32=*/8, /*prefetchBytes=*/0},
    // Ice Lake, Zen 4: what sparse codes and tables of 256 entries live on.
    {"x86-64-v4-vbmi2", "x86-64", "x86_64-unknown-linux-gnu", "x86-64-v4",
     "+avx512vnni,+avx512vbmi,+avx512vbmi2,+avx512bitalg",
     /*vectorBytes=*/64, DotKind::DotAccumulate, "llvm.x86.avx512.vpdpbusd.512",
     "", "llvm.x86.avx512.pshuf.b.512", ByteMoves::Vector, /*hasF16=*/true,
     /*hasFMA=*/true, /*tokensInt8=*/8, /*tokensF32=*/8, /*prefetchBytes=*/0},
    {"armv8.6-a", "aarch64", "aarch64-unknown-linux-gnu", "generic",
     "+v8.6a,+dotprod,+i8mm,+fullfp16", /*vectorBytes=*/16,
     DotKind::DotAccumulate, "llvm.aarch64.neon.usdot.v4i32.v16i8", "",
     "llvm.aarch64.neon.tbl1.v16i8", ByteMoves::Scalar,
     /*hasF16=*/true, /*hasFMA=*/true, /*tokensInt8=*/4, /*tokensF32=*/2,
     /*prefetchBytes=*/1024},
};

llvm::ArrayRef<CPULevel> llq::getCPULevels() { return levels; }

const CPULevel *llq::findCPULevel(llvm::StringRef name) {
  const CPULevel *level =
      llvm::find_if(levels, [&](const CPULevel &l) { return l.name == name; });
  return level == std::end(levels) ? nullptr : level;
}

const CPULevel *llq::getHostCPULevel() {
#if defined(__x86_64__)
  llvm::StringMap<bool> has = llvm::sys::getHostCPUFeatures();
  auto all = [&](std::initializer_list<llvm::StringRef> features) {
    return llvm::all_of(features,
                        [&](llvm::StringRef f) { return has.lookup(f); });
  };
  if (!all({"sse4.2", "ssse3", "popcnt"}))
    return nullptr;
  if (!all({"avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe"}))
    return findCPULevel("x86-64-v2");
  if (!all({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl",
            "avx512vnni"}))
    return findCPULevel("x86-64-v3");
  if (!all({"avx512vbmi", "avx512vbmi2", "avx512bitalg"}))
    return findCPULevel("x86-64-v4");
  return findCPULevel("x86-64-v4-vbmi2");
#else
  return nullptr;
#endif
}
