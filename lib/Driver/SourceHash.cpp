//===- SourceHash.cpp - Provenance of a model and its data files ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "SourceHash.h"

#include "dialects/LLQ/LLQ.h"
#include "llq/Support/SHA256.h"

#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <set>

using namespace mlir;
using namespace llq;

/// The key of `llq.source` for files of weights: their paths by their names.
static constexpr llvm::StringLiteral kData = "data";

void llq::recordDataFiles(ModuleOp module, StringRef path) {
  std::set<std::string> paths;
  AttrTypeWalker walker;
  walker.addWalk(
      [&](ExternalAttr weight) { paths.insert(weight.getPath().str()); });
  module.walk([&](Operation *op) { walker.walk(op->getAttrDictionary()); });
  if (paths.empty())
    return;
  // Names as the graph gives them: relative to its folder.
  SmallString<256> folder;
  StringRef parent = llvm::sys::path::parent_path(path);
  if (llvm::sys::fs::real_path(parent.empty() ? "." : parent, folder))
    folder.clear();
  if (!folder.empty() && !folder.ends_with("/"))
    folder += '/';
  Builder b(module.getContext());
  NamedAttrList data;
  for (const std::string &file : paths) {
    StringRef name = file;
    name.consume_front(folder);
    data.set(name, b.getStringAttr(file));
  }
  NamedAttrList source(module->getAttrOfType<DictionaryAttr>(kSourceAttr));
  source.set(kData, data.getDictionary(module.getContext()));
  module->setAttr(kSourceAttr, source.getDictionary(module.getContext()));
}

SourceHash::SourceHash(ModuleOp module) {
  auto source = module->getAttrOfType<DictionaryAttr>(kSourceAttr);
  auto hash = source ? source.getAs<StringAttr>("sha256") : StringAttr();
  if (!hash)
    return;
  result = graphHash = hash.str();
  if (auto file = source.getAs<StringAttr>("file"))
    graphName = file.str();
  auto data = source.getAs<DictionaryAttr>(kData);
  if (!data || data.empty())
    return;
  // A dictionary is sorted by name.
  for (NamedAttribute file : data)
    if (auto path = dyn_cast<StringAttr>(file.getValue()))
      files.push_back({file.getName().str(), path.str()});
  thread = std::thread([this] { run(); });
}

SourceHash::~SourceHash() {
  cancelled = true;
  if (thread.joinable())
    thread.join();
}

std::string SourceHash::hashFile(const File &file) {
  llvm::Expected<llvm::sys::fs::file_t> handle =
      llvm::sys::fs::openNativeFileForRead(file.path);
  if (!handle) {
    error = file.path + ": " + llvm::toString(handle.takeError());
    return "";
  }
  auto close = llvm::scope_exit([&] { llvm::sys::fs::closeFile(*handle); });
  SHA256 sha;
  std::vector<char> buffer(size_t(1) << 20);
  while (!cancelled) {
    llvm::Expected<size_t> count =
        llvm::sys::fs::readNativeFile(*handle, buffer);
    if (!count) {
      error = file.path + ": " + llvm::toString(count.takeError());
      return "";
    }
    if (*count == 0)
      return sha.finish();
    sha.update({reinterpret_cast<const uint8_t *>(buffer.data()), *count});
  }
  return "";
}

void SourceHash::run() {
  std::string lines = graphHash + "  " + graphName + "\n";
  for (const File &file : files) {
    std::string hash = hashFile(file);
    if (hash.empty())
      return;
    lines += hash + "  " + file.name + "\n";
  }
  SHA256 sha;
  sha.update(llvm::arrayRefFromStringRef(lines));
  result = sha.finish();
}

llvm::Expected<std::string> SourceHash::get() {
  if (thread.joinable())
    thread.join();
  if (!error.empty())
    return llvm::createStringError("cannot compute the hash of the source: " +
                                   error);
  return result;
}

llvm::Error SourceHash::settle(ModuleOp module) {
  auto source = module->getAttrOfType<DictionaryAttr>(kSourceAttr);
  if (files.empty() || !source)
    return llvm::Error::success();
  llvm::Expected<std::string> hash = get();
  if (!hash)
    return hash.takeError();
  Builder b(module.getContext());
  NamedAttrList settled(source);
  settled.erase(kData);
  settled.set("sha256", b.getStringAttr(*hash));
  module->setAttr(kSourceAttr, settled.getDictionary(module.getContext()));
  return llvm::Error::success();
}
