//===- CPULevel.h - Instruction-set levels of the CPU target ----*- C++ -*-===//
//
// A level is a set of instructions that one native code segment may use. All
// levels share one weight layout (llq/Packing/CPULayout.h), so a file holds its
// weights once and its code once for each level.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_CODEGEN_CPULEVEL_H
#define LLQ_CODEGEN_CPULEVEL_H

#include "mlir/Support/LLVM.h"
#include <string>

namespace llq {

/// How unsigned weight codes meet signed 8-bit activations.
enum class DotKind {
  /// u8 x s8 pairs to i16 with saturation, then i16 pairs to i32 (SSSE3, AVX2).
  MaddPairs,
  /// Four u8 x s8 products added to an i32 (AVX-512 VNNI, Armv8.6 USDOT).
  DotAccumulate,
};

/// How bytes find their places in a vector.
enum class ByteMoves {
  /// One by one.
  Scalar,
  /// Eight at a time by PDEP (BMI2).
  BitDeposit,
  /// A register at a time (AVX-512 VBMI and VBMI2; BITALG counts their bits).
  Vector,
};

struct CPULevel {
  /// As in `--target=cpu:<name>` and in the model file.
  llvm::StringRef name;
  /// x86-64 or aarch64.
  llvm::StringRef machine;
  llvm::StringRef triple;
  /// For LLVM's target machine.
  llvm::StringRef cpu;
  llvm::StringRef features;
  /// Bytes of the widest vector register.
  int64_t vectorBytes;
  DotKind dot;
  /// Name of the intrinsic of `dot`, and of the i16 pair sum of MaddPairs.
  llvm::StringRef dotIntrinsic;
  llvm::StringRef pairIntrinsic;
  /// Looks up bytes below 16 in the 16 bytes of the same lane.
  llvm::StringRef shuffleIntrinsic;
  ByteMoves byteMoves;
  /// Hardware conversion between f16 and f32, and fused multiply-add.
  bool hasF16;
  bool hasFMA;
  /// Tokens that one pass over a tile of weights serves, for 8-bit and f32
  /// activations: as many accumulators as the registers hold.
  int64_t tokensInt8;
  int64_t tokensF32;
  /// How far ahead of its use a single token's kernel asks for a weight; 0: the
  /// processors of this level do better by themselves (docs/performance).
  int64_t prefetchBytes;
};

/// All levels, from the least to the most capable of each machine.
llvm::ArrayRef<CPULevel> getCPULevels();

/// The level of that name, or null.
const CPULevel *findCPULevel(llvm::StringRef name);

/// The most capable level that this machine can run, or null.
const CPULevel *getHostCPULevel();

} // namespace llq

#endif // LLQ_CODEGEN_CPULEVEL_H
