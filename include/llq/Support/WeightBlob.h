//===- WeightBlob.h - Memory of new weights ---------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_SUPPORT_WEIGHTBLOB_H
#define LLQ_SUPPORT_WEIGHTBLOB_H

#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/Support/Error.h"

namespace llq {

/// Alignment of the resource blobs that LLQ makes. Not more: MLIR reads
/// bytecode from a pipe, and small files, into memory of this alignment and
/// then refuses a blob that asks for more.
inline constexpr size_t kBlobAlignment = 16;

/// Zeroed memory for a resource blob of `bytes` bytes, or an error if there is
/// not enough.
llvm::Expected<mlir::AsmResourceBlob> allocateBlob(int64_t bytes);

/// A small f32 tensor as a resource blob, which gets a name like `name` that no
/// other one has.
mlir::DenseResourceElementsAttr makeResource(mlir::MLIRContext *context,
                                             llvm::ArrayRef<int64_t> shape,
                                             llvm::ArrayRef<float> values,
                                             llvm::StringRef name);

} // namespace llq

#endif // LLQ_SUPPORT_WEIGHTBLOB_H
