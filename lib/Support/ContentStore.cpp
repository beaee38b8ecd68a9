//===- ContentStore.cpp - Results of long computations in files -----------===//
//
// A file is a header with the SHA-256 of what follows, then bytecode of a
// module with the result as an attribute. The reader of bytecode trusts its
// input, so it gets nothing but what was written.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Support/ContentStore.h"

#include "llq/Support/OutputFile.h"

#include "mlir/Bytecode/BytecodeReader.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace llq;

//===----------------------------------------------------------------------===//
// ContentKey
//===----------------------------------------------------------------------===//

ContentKey &ContentKey::addBytes(ArrayRef<char> bytes) {
  add(int64_t(bytes.size()));
  sha.update({reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()});
  return *this;
}

ContentKey &ContentKey::add(StringRef text) {
  return addBytes(ArrayRef<char>(text.data(), text.size()));
}

ContentKey &ContentKey::add(int64_t number) {
  sha.update({reinterpret_cast<const uint8_t *>(&number), sizeof(number)});
  return *this;
}

llvm::Error ContentKey::addWeight(Operation *weight, WeightReader &reader) {
  std::string type;
  llvm::raw_string_ostream(type) << weight->getResult(0).getType();
  add(type);
  if (auto quantized = dyn_cast<QuantizedWeightOp>(weight)) {
    auto components = reader.getComponents(quantized);
    if (!components)
      return components.takeError();
    for (ArrayRef<char> component : *components)
      addBytes(component);
    return llvm::Error::success();
  }
  // Values, not bytes: they may be scaled on the way.
  TypedAttr value = cast<WeightOp>(weight).getValue();
  ArrayRef<int64_t> shape = cast<ShapedType>(value.getType()).getShape();
  int64_t rows = shape.empty() ? 1 : shape.front(), columns = 1;
  for (int64_t size : shape.drop_front(!shape.empty()))
    columns *= size;
  int64_t step =
      std::max<int64_t>(1, (int64_t(1) << 20) / std::max<int64_t>(columns, 1));
  std::vector<float> values;
  for (int64_t row = 0; row < rows; row += step) {
    int64_t end = std::min(rows, row + step);
    values.resize((end - row) * columns);
    if (llvm::Error error = reader.readRows(value, row, end, values))
      return error;
    sha.update({reinterpret_cast<const uint8_t *>(values.data()),
                values.size() * sizeof(float)});
  }
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// ContentStore
//===----------------------------------------------------------------------===//

/// What a file begins with, and how long the header is: blobs behind it stay
/// aligned.
static constexpr llvm::StringLiteral kMagic = "llq result 1\n";
static constexpr size_t kHeaderBytes = 128;
static constexpr llvm::StringLiteral kSuffix = ".llq-result";
static constexpr llvm::StringLiteral kResultAttr = "llq.result";

static std::string makeHeader(StringRef digest) {
  std::string header = (kMagic + digest + "\n").str();
  header.resize(kHeaderBytes, ' ');
  return header;
}

namespace {
/// Hashes what goes on to another stream.
class HashingStream : public llvm::raw_ostream {
public:
  explicit HashingStream(llvm::raw_ostream &to) : to(to) {}
  ~HashingStream() override { flush(); }

  std::string finish() {
    flush();
    return sha.finish();
  }

private:
  void write_impl(const char *data, size_t size) override {
    sha.update({reinterpret_cast<const uint8_t *>(data), size});
    to.write(data, size);
    written += size;
  }
  uint64_t current_pos() const override { return written; }

  llvm::raw_ostream &to;
  SHA256 sha;
  uint64_t written = 0;
};
} // namespace

llvm::Expected<ContentStore> ContentStore::open(StringRef folder) {
  std::error_code error = llvm::sys::fs::create_directory(folder);
  if (!error && !llvm::sys::fs::is_directory(folder))
    error = std::make_error_code(std::errc::not_a_directory);
  if (!error)
    error = llvm::sys::fs::access(folder, llvm::sys::fs::AccessMode::Write);
  if (error)
    return llvm::createStringError("cannot keep results in " + folder + ": " +
                                   error.message());
  return ContentStore(folder);
}

void ContentStore::remove(StringRef folder) {
  std::error_code error;
  for (llvm::sys::fs::directory_iterator file(folder, error), end;
       !error && file != end; file.increment(error))
    // Those that were being written have more behind it.
    if (StringRef(file->path()).contains(kSuffix))
      llvm::sys::fs::remove(file->path());
  llvm::sys::fs::remove(folder);
}

std::string ContentStore::getPath(StringRef key) const {
  SmallString<256> path(folder);
  llvm::sys::path::append(path, key + kSuffix);
  return path.str().str();
}

DictionaryAttr ContentStore::load(StringRef key, MLIRContext *context) const {
  auto buffer = llvm::MemoryBuffer::getFile(getPath(key), /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return {};
  StringRef all = (*buffer)->getBuffer();
  StringRef bytecode = all.drop_front(std::min(all.size(), kHeaderBytes));
  SHA256 sha;
  sha.update(llvm::arrayRefFromStringRef(bytecode));
  if (!all.starts_with(makeHeader(sha.finish())))
    return {};
  OwningOpRef<ModuleOp> holder(ModuleOp::create(UnknownLoc::get(context)));
  ParserConfig config(context, /*verifyAfterParse=*/false);
  if (failed(readBytecodeFile(llvm::MemoryBufferRef(bytecode, key),
                              holder->getBody(), config)))
    return {};
  auto modules = holder->getOps<ModuleOp>();
  return modules.empty()
             ? DictionaryAttr()
             : (*modules.begin())->getAttrOfType<DictionaryAttr>(kResultAttr);
}

llvm::Error ContentStore::save(StringRef key, DictionaryAttr value) const {
  OwningOpRef<ModuleOp> holder(
      ModuleOp::create(UnknownLoc::get(value.getContext())));
  (*holder)->setAttr(kResultAttr, value);
  auto file = OutputFile::create(getPath(key));
  if (!file)
    return file.takeError();
  file->stream() << makeHeader("");
  HashingStream hashing(file->stream());
  if (failed(writeBytecodeToFile(*holder, hashing)))
    return llvm::createStringError("cannot write a result to " + folder);
  std::string header = makeHeader(hashing.finish());
  file->stream().pwrite(header.data(), header.size(), 0);
  return file->keep();
}
