//===- LoadModel.cpp - A model file to normal form ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Driver/LoadModel.h"
#include "dialects/LLQ/LLQ.h"
#include "llq/Import/ONNX.h"
#include "llqrt/Tokenizer.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace llq;

/// Parses MLIR such that resource blobs stay in the mapped file.
static OwningOpRef<ModuleOp>
parseMLIR(std::unique_ptr<llvm::MemoryBuffer> buffer, MLIRContext *context) {
  auto sources = std::make_shared<llvm::SourceMgr>();
  sources->AddNewSourceBuffer(std::move(buffer), llvm::SMLoc());
  return parseSourceFile<ModuleOp>(sources, ParserConfig(context));
}

LogicalResult llq::attachTokenizer(ModuleOp module, StringRef path) {
  std::string error;
  std::unique_ptr<llqrt::Tokenizer> tokenizer =
      llqrt::Tokenizer::load(path.str(), error);
  std::vector<uint8_t> bytes;
  if (!tokenizer || !tokenizer->serialize(bytes, error))
    return module.emitError() << error;
  Builder b(module.getContext());
  auto type = RankedTensorType::get({int64_t(bytes.size())}, b.getI8Type());
  AsmResourceBlob blob = HeapAsmResourceBlob::allocateAndCopyWithAlign(
      ArrayRef(reinterpret_cast<const char *>(bytes.data()), bytes.size()),
      /*align=*/16, /*dataIsMutable=*/false);
  module->setAttr(kTokenizerAttr, DenseResourceElementsAttr::get(
                                      type, "tokenizer", std::move(blob)));
  return success();
}

/// The folder of `path` if it holds a tokenizer, else empty.
static std::string findTokenizer(StringRef path) {
  SmallString<256> folder(path);
  llvm::sys::path::remove_filename(folder);
  for (StringRef name : {"tokenizer.json", "tokenizer.model"}) {
    SmallString<256> file(folder);
    llvm::sys::path::append(file, name);
    if (llvm::sys::fs::exists(file))
      return folder.empty() ? "." : folder.str().str();
  }
  return {};
}

OwningOpRef<ModuleOp> llq::loadModel(StringRef path, MLIRContext *context,
                                     const LoadOptions &options) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer) {
    emitError(UnknownLoc::get(context))
        << "cannot read the file: " << buffer.getError().message();
    return nullptr;
  }
  OwningOpRef<ModuleOp> module;
  bool isMLIR = (*buffer)->getBuffer().starts_with("ML\xefR") ||
                llvm::sys::path::extension(path) == ".mlir";
  if (isMLIR) {
    module = parseMLIR(std::move(*buffer), context);
  } else {
    buffer->reset();
    module = importONNX(path, context);
    // NORMALIZE
  }
  if (!module)
    return nullptr;
  std::string tokenizer = options.tokenizer;
  if (tokenizer.empty() && !isMLIR)
    tokenizer = findTokenizer(path);
  if (!tokenizer.empty() && failed(attachTokenizer(*module, tokenizer)))
    return nullptr;
  return module;
}
