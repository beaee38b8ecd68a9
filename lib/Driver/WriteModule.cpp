//===- WriteModule.cpp - Writes modules to files --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Driver/WriteModule.h"
#include "SourceHash.h"
#include "dialects/LLQ/LLQ.h"
#include "llq/Support/OutputFile.h"
#include "llq/Support/WeightData.h"

#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/IR/AsmState.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace llq;

llvm::Error llq::writeModule(ModuleOp module, StringRef path) {
  if (path == "-") {
    module.print(llvm::outs());
    return llvm::Error::success();
  }
  auto file = OutputFile::create(path);
  if (!file)
    return file.takeError();
  if (llvm::sys::path::extension(path) == ".mlir")
    module.print(file->stream());
  else if (failed(writeBytecodeToFile(module, file->stream())))
    return llvm::createStringError("cannot write bytecode to " + path);
  return file->keep();
}

llvm::Error llq::embedExternalWeights(ModuleOp module) {
  SourceHash sourceHash(module);
  WeightReader reader;
  llvm::Error error = llvm::Error::success();
  int64_t count = 0;
  // Equal weights stay one blob: a tied embedding is stored once.
  DenseMap<Attribute, Attribute> embedded;
  AttrTypeReplacer replacer;
  replacer.addReplacement([&](ExternalAttr external) -> Attribute {
    Attribute value = external;
    if (error)
      return value;
    Attribute &known = embedded[value];
    if (known)
      return known;
    auto bytes = reader.copyBytes(external);
    if (!bytes) {
      error = bytes.takeError();
      return value;
    }
    AsmResourceBlob blob = HeapAsmResourceBlob::allocateAndCopyWithAlign(
        *bytes, /*align=*/64, /*dataIsMutable=*/false);
    return known = DenseResourceElementsAttr::get(
               external.getType(), "weight." + std::to_string(count++),
               std::move(blob));
  });
  module.walk([&](Operation *op) {
    if (auto weight = dyn_cast<WeightOp>(op)) {
      weight.setValueAttr(cast<TypedAttr>(replacer.replace(weight.getValue())));
    } else if (auto quantized = dyn_cast<QuantizedWeightOp>(op)) {
      quantized.setComponentsAttr(
          cast<DictionaryAttr>(replacer.replace(quantized.getComponents())));
    }
  });
  if (error)
    return error;
  return sourceHash.settle(module);
}
