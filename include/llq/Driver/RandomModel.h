//===- RandomModel.h - Models of a known shape with random weights -*- C++
//-*-===//
//
// For benchmarks of shapes whose weights are not at hand.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_DRIVER_RANDOMMODEL_H
#define LLQ_DRIVER_RANDOMMODEL_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace llq {

/// Names that `buildRandomModel` knows, e.g. `llama3.2-1b`.
llvm::ArrayRef<llvm::StringRef> getRandomModelNames();

/// A model of that shape in normal form with float16 weights of a fixed seed.
/// Weights of equal shape share their memory (not their identity), so that a
/// model of 8 billion parameters takes 1.5 GB. `llama3-8b:2` has only the first
/// two layers. Null for an unknown name.
mlir::OwningOpRef<mlir::ModuleOp> buildRandomModel(mlir::MLIRContext *context,
                                                   llvm::StringRef name);

} // namespace llq

#endif // LLQ_DRIVER_RANDOMMODEL_H
