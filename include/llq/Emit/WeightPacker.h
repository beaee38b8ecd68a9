//===- WeightPacker.h - Bytes of a program's weight buffers -----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_EMIT_WEIGHTPACKER_H
#define LLQ_EMIT_WEIGHTPACKER_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Support/ParallelFor.h"
#include "llq/Support/WeightData.h"

#include "llvm/Support/Error.h"

namespace llq {

/// Produces the bytes of weight buffers in order and in pieces, so that no
/// weight is ever in memory as a whole.
class WeightPacker {
public:
  using Sink = llvm::function_ref<llvm::Error(llvm::ArrayRef<char>)>;

  explicit WeightPacker(ThreadPool &pool) : pool(pool) {}

  /// Passes the bytes of `buffer`, which has `content`, to `sink`.
  llvm::Error write(BufferOp buffer, Sink sink);

private:
  llvm::Error writePacked(PackedAttr packed, Sink sink);
  llvm::Error writeVectors(PaddedVectorAttr vectors, Sink sink);

  WeightReader reader;
  ThreadPool &pool;
};

} // namespace llq

#endif // LLQ_EMIT_WEIGHTPACKER_H
