//===- RotateLayers.h - Rotations around layers -----------------*- C++ -*-===//
//
// What passes that change the basis of activations have in common: which
// orthogonal matrix serves a number of channels, and the ops at run time.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_TRANSFORMS_ROTATELAYERS_H
#define LLQ_TRANSFORMS_ROTATELAYERS_H

#include "dialects/LLQ/LLQ.h"

namespace llq {

/// Where a rotation is applied.
enum class RotationUse {
  Weights,    ///< when weights are read
  Activations ///< by a kernel at run time
};

/// Whether there is a rotation of `kind` and `size`.
bool hasRotation(RotationKind kind, int64_t size, RotationUse use);

/// The rotation of `channels` channels: a Hadamard matrix with random signs if
/// there is one, else a Kronecker product of random ones, else the largest
/// Hadamard matrix of which copies on the diagonal fill them up; null if there
/// is none of these.
RotationAttr chooseRotation(mlir::MLIRContext *context, int64_t channels,
                            int64_t seed, RotationUse use);

/// The inputs of `layer` in the basis of `rotation`, the same for all layers
/// that ask for it without a scale. With a scale, a weight, they are multiplied
/// by it first.
mlir::Value rotateInput(LinearOp layer, RotationAttr rotation,
                        mlir::TypedAttr scale = {});

/// Puts `value` in another basis, or back if `transposed`, for all that read
/// it.
void rotateResult(mlir::Value value, RotationAttr rotation, bool transposed);

} // namespace llq

#endif // LLQ_TRANSFORMS_ROTATELAYERS_H
