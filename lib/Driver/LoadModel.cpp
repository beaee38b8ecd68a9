//===- LoadModel.cpp - A model file to normal form ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Driver/LoadModel.h"
#include "SourceHash.h"
#include "dialects/LLQ/LLQ.h"
#include "llq/Conversion/Passes.h"
#include "llq/Import/ONNX.h"
#include "llq/Support/CapturedErrors.h"
#include "llq/Support/JSON.h"
#include "llq/Support/SHA256.h"
#include "llq/Transforms/Passes.h"
#include "llqrt/Tokenizer.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"

#include <cstdlib>
#include <exception>

using namespace mlir;
using namespace llq;

/// Parses MLIR such that resource blobs stay in the mapped file. MLIR's reader
/// of bytecode trusts some of what it reads and crashes on some damaged files.
static OwningOpRef<ModuleOp>
parseMLIR(std::unique_ptr<llvm::MemoryBuffer> buffer, MLIRContext *context,
          llvm::function_ref<void()> onCrash) {
  auto sources = std::make_shared<llvm::SourceMgr>();
  sources->AddNewSourceBuffer(std::move(buffer), llvm::SMLoc());
  OwningOpRef<ModuleOp> module;
  auto parse = [&] {
    module = parseSourceFile<ModuleOp>(sources, ParserConfig(context));
  };
  if (!onCrash) {
    parse();
    return module;
  }
  // What the C++ library and LLVM say of a crash is no message of ours.
  CapturedErrors printed;
  std::terminate_handler before = std::set_terminate([] { std::abort(); });
  llvm::CrashRecoveryContext::Enable();
  bool finished = llvm::CrashRecoveryContext().RunSafely(parse);
  llvm::CrashRecoveryContext::Disable();
  std::set_terminate(before);
  std::string text = printed.take();
  if (!finished)
    onCrash();
  llvm::errs() << text;
  return module;
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

/// Beside a model or in the folder of a tokenizer.
static constexpr StringRef sideFiles[] = {
    "config.json",         "generation_config.json",  "tokenizer.json",
    "tokenizer.model",     "tokenizer_config.json",   "params.json",
    "chat_template.jinja", "original/tokenizer.model"};

std::vector<std::string> llq::getInputFiles(StringRef path,
                                            const LoadOptions &options) {
  std::vector<std::string> files = {path.str()};
  auto addFolder = [&](StringRef folder) {
    for (StringRef name : sideFiles) {
      SmallString<256> file(folder);
      llvm::sys::path::append(file, name);
      files.push_back(file.str().str());
    }
  };
  addFolder(llvm::sys::path::parent_path(path));
  if (!options.config.empty())
    files.push_back(options.config);
  if (!options.tokenizer.empty()) {
    files.push_back(options.tokenizer);
    addFolder(options.tokenizer);
    addFolder(llvm::sys::path::parent_path(options.tokenizer));
  }
  return files;
}

std::vector<std::string> llq::getWeightFiles(ModuleOp module) {
  llvm::SetVector<StringRef> paths;
  AttrTypeWalker walker;
  walker.addWalk([&](ExternalAttr attr) { paths.insert(attr.getPath()); });
  module.walk([&](Operation *op) {
    for (NamedAttribute attr : op->getAttrs())
      walker.walk(attr.getValue());
    if (Attribute properties = op->getPropertiesAsAttribute())
      walker.walk(properties);
  });
  std::vector<std::string> files;
  for (StringRef path : paths)
    files.push_back(path.str());
  return files;
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

/// The text of config.json: that of `options`, or the one beside the model.
/// Empty if there is none.
static FailureOr<std::string>
readConfig(StringRef path, const LoadOptions &options, MLIRContext *context) {
  SmallString<256> file(options.config);
  if (file.empty()) {
    file = path;
    llvm::sys::path::remove_filename(file);
    llvm::sys::path::append(file, "config.json");
    if (!llvm::sys::fs::exists(file))
      return std::string();
  }
  auto buffer = llvm::MemoryBuffer::getFile(file);
  if (!buffer)
    return emitError(UnknownLoc::get(context))
           << "cannot read " << file << ": " << buffer.getError().message();
  auto parsed = parseJSON((*buffer)->getBuffer());
  if (!parsed) {
    return emitError(UnknownLoc::get(context))
           << file << " is not JSON: " << llvm::toString(parsed.takeError());
  }
  if (!parsed->getAsObject())
    return emitError(UnknownLoc::get(context))
           << file << " is not a JSON object";
  return (*buffer)->getBuffer().str();
}

/// Warns where config.json contradicts the graph, which is what counts.
static void checkConfig(ModuleOp module, const llvm::json::Object &config) {
  auto a = module->getAttrOfType<ArchitectureAttr>(kArchitectureAttr);
  if (!a)
    return;
  auto check = [&](StringRef key, int64_t found) {
    std::optional<int64_t> said = config.getInteger(key);
    if (said && *said != found)
      module.emitWarning() << "config.json says " << key << " = " << *said
                           << ", the graph has " << found
                           << ": the graph is taken";
  };
  check("hidden_size", a.getHidden());
  check("num_hidden_layers", a.getLayers());
  check("num_attention_heads", a.getHeads());
  check("num_key_value_heads", a.getKvHeads());
  check("head_dim", a.getHeadDim());
  check("intermediate_size", a.getFfn());
  if (a.getVocab())
    check("vocab_size", a.getVocab());
}

/// From the imported graph to normal form.
static LogicalResult normalize(ModuleOp module, StringRef path,
                               const LoadOptions &options) {
  FailureOr<std::string> text = readConfig(path, options, module.getContext());
  if (failed(text))
    return failure();
  llvm::json::Object config;
  if (!text->empty())
    config = std::move(*llvm::cantFail(llvm::json::parse(*text)).getAsObject());
  NormalizeOptions normalize;
  normalize.context =
      options.context
          ? options.context
          : config.getInteger("max_position_embeddings").value_or(0);
  if (normalize.context < 0 || normalize.context > INT32_MAX)
    return module.emitError() << "context length " << int64_t(normalize.context)
                              << " is out of range";
  PassManager pm(module.getContext());
  buildNormalizePipeline(pm, normalize);
  if (failed(pm.run(module)))
    return failure();
  checkConfig(module, config);
  return success();
}

/// Whether `bytes` of a file named `path` are MLIR.
static bool holdsMLIR(StringRef path, StringRef bytes) {
  return bytes.starts_with("ML\xefR") ||
         llvm::sys::path::extension(path) == ".mlir";
}

bool llq::isMLIR(StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFileSlice(path, /*MapSize=*/4,
                                                 /*Offset=*/0);
  return holdsMLIR(path, buffer ? (*buffer)->getBuffer() : StringRef());
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
  StringRef bytes = (*buffer)->getBuffer();
  std::string tokenizer = options.tokenizer;
  OwningOpRef<ModuleOp> module;
  if (holdsMLIR(path, bytes)) {
    module = parseMLIR(std::move(*buffer), context, options.onCrash);
    // What the importer makes is as passes expect it; this may be anything.
    PassManager pm(context);
    pm.addPass(createVerifyQuantizedPass());
    if (!module || failed(pm.run(*module)))
      return nullptr;
  } else {
    SHA256 graphHash;
    graphHash.update(llvm::arrayRefFromStringRef(bytes));
    buffer->reset();
    module = importONNX(path, context);
    if (!module || failed(normalize(*module, path, options)))
      return nullptr;
    Builder b(context);
    NamedAttrList source((*module)->getAttrOfType<DictionaryAttr>(kSourceAttr));
    source.set("file", b.getStringAttr(llvm::sys::path::filename(path)));
    source.set("sha256", b.getStringAttr(graphHash.finish()));
    (*module)->setAttr(kSourceAttr, source.getDictionary(context));
    recordDataFiles(*module, path);
    if (tokenizer.empty())
      tokenizer = findTokenizer(path);
  }
  if (!module ||
      (!tokenizer.empty() && failed(attachTokenizer(*module, tokenizer))))
    return nullptr;
  return module;
}
