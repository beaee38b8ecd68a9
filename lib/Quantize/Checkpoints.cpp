//===- Checkpoints.cpp - Finished parts of a long run ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Checkpoints.h"

using namespace mlir;
using namespace llq;

FailureOr<Checkpoints> Checkpoints::open(ModuleOp module,
                                         const WeightOptions &options) {
  Checkpoints result(options);
  std::string folder = getCheckpointFolder(module);
  if (folder.empty())
    return result;
  auto store = ContentStore::open(folder);
  if (!store)
    return emitError(module.getLoc(), llvm::toString(store.takeError()));
  result.store = std::move(*store);
  return result;
}

FailureOr<std::string> Checkpoints::getKey(ArrayRef<std::string> inputs,
                                           ArrayRef<LinearOp> layers,
                                           unsigned bits) {
  if (!store)
    return std::string();
  ContentKey key;
  key.add("checkpoint").add(options->method).add(options->options);
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

DictionaryAttr Checkpoints::load(StringRef key, MLIRContext *context) const {
  return store ? store->load(key, context) : DictionaryAttr();
}

void Checkpoints::save(StringRef key, DictionaryAttr value,
                       LinearOp layer) const {
  if (!store)
    return;
  if (llvm::Error error = store->save(key, value))
    layer.emitWarning() << llvm::toString(std::move(error));
}
