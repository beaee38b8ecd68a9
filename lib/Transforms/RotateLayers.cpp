//===- RotateLayers.cpp - Rotations around layers -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Transforms/RotateLayers.h"
#include "llq/Numerics/Hadamard.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace llq;

bool llq::hasRotation(RotationKind kind, int64_t size, RotationUse use) {
  bool atRunTime = use == RotationUse::Activations;
  // What kernels take, and what the attribute does.
  if (size < 1 || size > (atRunTime ? 32768 : 65536))
    return false;
  if (kind == RotationKind::Hadamard) {
    int64_t order = numerics::hadamardOrder(size);
    // Runs of a power of two of at least a vector.
    return order && (!atRunTime || size / order >= 16);
  }
  auto [p, q] = numerics::splitKronecker(size);
  return std::max(p, q) <= (atRunTime ? 512 : 1024);
}

RotationAttr llq::chooseRotation(MLIRContext *context, int64_t channels,
                                 int64_t seed, RotationUse use) {
  for (RotationKind kind : {RotationKind::Hadamard, RotationKind::Kronecker})
    if (hasRotation(kind, channels, use))
      return RotationAttr::get(context, kind, channels, seed);
  for (int64_t size = channels / 2; size > 1; --size)
    if (channels % size == 0 && hasRotation(RotationKind::Hadamard, size, use))
      return RotationAttr::get(context, RotationKind::Hadamard, size, seed);
  return {};
}

Value llq::rotateInput(LinearOp layer, RotationAttr rotation, TypedAttr scale) {
  Value input = layer.getInput();
  for (Operation *user : input.getUsers())
    if (auto rotate = dyn_cast<RotateOp>(user);
        rotate && !scale && !rotate.getScale() && !rotate.getTransposed() &&
        rotate.getRotation() == rotation &&
        rotate->getBlock() == layer->getBlock() &&
        rotate->isBeforeInBlock(layer))
      return rotate;
  OpBuilder b(layer);
  // Behind what makes the input, so that it is there for all who read it.
  if (!scale)
    b.setInsertionPointAfterValue(input);
  Value factors;
  if (scale)
    factors = WeightOp::create(b, layer.getLoc(), scale);
  return RotateOp::create(b, layer.getLoc(), input.getType(), input, factors,
                          rotation, /*transposed=*/false);
}

void llq::rotateResult(Value value, RotationAttr rotation, bool transposed) {
  OpBuilder b(value.getContext());
  b.setInsertionPointAfterValue(value);
  auto rotate = RotateOp::create(b, value.getLoc(), value.getType(), value,
                                 Value(), rotation, transposed);
  value.replaceAllUsesExcept(rotate, rotate);
}
