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
                                             ArrayRef<int64_t> bits) {
  if (!checkpoints)
    return std::string();
  ContentKey key;
  key.add("checkpoint").add(options.method).add(options.options);
  for (int64_t each : bits)
    key.add(each);
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
