//===- Checkpoints.cpp - Finished parts of a long run ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/Checkpoints.h"

#include "llq/Calibration/Samples.h"

using namespace mlir;
using namespace llq;

FailureOr<Checkpoints> Checkpoints::open(ModuleOp module) {
  Checkpoints result;
  std::string folder = getCheckpointFolder(module);
  if (folder.empty())
    return result;
  auto store = ContentStore::open(folder);
  if (!store)
    return emitError(module.getLoc(), llvm::toString(store.takeError()));
  result.store = std::move(*store);
  return result;
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
