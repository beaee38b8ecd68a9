//===- CheckpointKey.cpp - What layers become depends on ------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "CheckpointKey.h"

using namespace mlir;
using namespace llq;

FailureOr<std::string> llq::getCheckpointKey(const Checkpoints &checkpoints,
                                             const WeightOptions &options,
                                             ArrayRef<std::string> inputs,
                                             ArrayRef<LinearOp> layers,
                                             unsigned bits) {
  if (!checkpoints)
    return std::string();
  ContentKey key;
  key.add("checkpoint").add(options.method).add(options.options);
  key.add(int64_t(bits));
  for (const std::string &input : inputs)
    key.add(input);
  WeightReader reader;
  for (LinearOp layer : layers) {
    key.add(layer.getName());
    if (llvm::Error error =
            key.addWeight(layer.getWeight().getDefiningOp(), reader))
      return layer.emitLayerError() << llvm::toString(std::move(error));
  }
  return key.finish();
}
