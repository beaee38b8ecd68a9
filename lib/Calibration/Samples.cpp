//===- Samples.cpp - The token sequences of a calibration -----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Calibration/Samples.h"
#include "PythonRandom.h"

#include "dialects/LLQ/LLQ.h"
#include "llq/Support/JSON.h"
#include "llq/Support/WeightBlob.h"
#include "llq/Support/WeightData.h"
#include "llqrt/Tokenizer.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"

#include <cstring>

using namespace mlir;
using namespace llq;

/// Most tokens of a sample, and of all of them.
static constexpr int64_t kMaxLength = int64_t(1) << 20;
static constexpr int64_t kMaxTokens = int64_t(1) << 30;

namespace {
using Sequence = std::vector<int32_t>;

/// Reads the file of one set of options.
class SampleReader {
public:
  SampleReader(ModuleOp module, const SampleOptions &options, StringRef text)
      : module(module), options(options), text(text) {}

  llvm::Expected<std::vector<Sequence>> read();

private:
  llvm::Expected<std::vector<Sequence>> readIds();
  /// Samples, or, where lines hold text, all of it.
  llvm::Error readJSONLines(std::vector<Sequence> &samples, std::string &all);
  llvm::Expected<std::vector<Sequence>> drawFromText(StringRef all);
  llvm::Error addSample(int64_t line, Sequence ids,
                        std::vector<Sequence> &samples);
  llvm::Expected<Sequence> tokenize(StringRef all);
  llvm::Error makeError(const Twine &message) {
    return llvm::createStringError(options.file + ": " + message.str());
  }

  ModuleOp module;
  const SampleOptions &options;
  StringRef text;
};
} // namespace

static int64_t getVocabulary(ModuleOp module) {
  auto architecture =
      module->getAttrOfType<ArchitectureAttr>(kArchitectureAttr);
  int64_t size = architecture ? architecture.getVocab() : 0;
  // Ids index the embedding table; a backbone has no other bound.
  module.walk([&](EmbeddingOp op) {
    Type table = op.getTable().getType();
    auto quantized = dyn_cast<QuantizedType>(table);
    size =
        quantized ? quantized.getRows() : cast<ShapedType>(table).getDimSize(0);
  });
  return size;
}

llvm::Error SampleReader::addSample(int64_t line, Sequence ids,
                                    std::vector<Sequence> &samples) {
  int64_t vocabulary = getVocabulary(module);
  for (int32_t id : ids)
    if (id < 0 || id >= vocabulary)
      return makeError("line " + Twine(line) + ": id " + Twine(id) +
                       " is not in the vocabulary of " + Twine(vocabulary));
  if (int64_t(ids.size()) > options.length)
    ids.resize(options.length);
  if (!ids.empty())
    samples.push_back(std::move(ids));
  return llvm::Error::success();
}

llvm::Expected<std::vector<Sequence>> SampleReader::readIds() {
  std::vector<Sequence> samples;
  StringRef rest = text;
  for (int64_t line = 1;
       !rest.empty() && int64_t(samples.size()) < options.samples; ++line) {
    StringRef row;
    std::tie(row, rest) = rest.split('\n');
    Sequence ids;
    while (!(row = row.ltrim(", \t\r")).empty()) {
      StringRef number = row.take_until(
          [](char c) { return c == ',' || c == '\r' || llvm::isSpace(c); });
      row = row.drop_front(number.size());
      int32_t id;
      if (number.getAsInteger(10, id))
        return makeError("line " + Twine(line) + ": '" + number.take_front(20) +
                         "' is no token id");
      ids.push_back(id);
    }
    if (llvm::Error error = addSample(line, std::move(ids), samples))
      return std::move(error);
  }
  return samples;
}

llvm::Error SampleReader::readJSONLines(std::vector<Sequence> &samples,
                                        std::string &all) {
  StringRef rest = text;
  for (int64_t line = 1; !rest.empty(); ++line) {
    StringRef row;
    std::tie(row, rest) = rest.split('\n');
    if (row.trim().empty())
      continue;
    auto where = [&](const Twine &what) {
      return makeError("line " + Twine(line) + ": " + what);
    };
    llvm::Expected<llvm::json::Value> value = parseJSON(row);
    if (!value)
      return where("no JSON: " + llvm::toString(value.takeError()));
    llvm::json::Object *object = value->getAsObject();
    if (llvm::json::Array *numbers =
            object ? object->getArray("ids") : nullptr) {
      Sequence ids;
      for (const llvm::json::Value &number : *numbers) {
        std::optional<int64_t> id = number.getAsInteger();
        if (!id || !llvm::isInt<32>(*id))
          return where("'ids' holds something that is no token id");
        ids.push_back(int32_t(*id));
      }
      if (int64_t(samples.size()) < options.samples)
        if (llvm::Error error = addSample(line, std::move(ids), samples))
          return error;
    } else if (auto document =
                   object ? object->getString("text") : std::nullopt) {
      all += (all.empty() ? "" : "\n\n") + document->str();
    } else {
      return where("needs a member 'text' or 'ids'");
    }
  }
  if (!samples.empty() && !all.empty())
    return makeError("some lines have 'ids' and some 'text': give two files");
  return llvm::Error::success();
}

llvm::Expected<Sequence> SampleReader::tokenize(StringRef all) {
  auto stored =
      module->getAttrOfType<DenseResourceElementsAttr>(kTokenizerAttr);
  AsmResourceBlob *blob = stored ? stored.getRawHandle().getBlob() : nullptr;
  if (!blob)
    return llvm::createStringError(
        "the model has no tokenizer to read " + options.file +
        " with: give one with --tokenizer when it is imported, or a file of "
        "ids");
  std::string error;
  auto tokenizer = llqrt::Tokenizer::fromFlatBuffer(
      {reinterpret_cast<const uint8_t *>(blob->getData().data()),
       blob->getData().size()},
      error);
  Sequence ids;
  if (!tokenizer ||
      !tokenizer->encode({all.data(), all.size()},
                         {/*parseSpecial=*/false, llqrt::SpecialTokens::None},
                         ids, error))
    return makeError(error);
  return ids;
}

llvm::Expected<std::vector<Sequence>>
SampleReader::drawFromText(StringRef all) {
  llvm::Expected<Sequence> ids = tokenize(all);
  if (!ids)
    return ids.takeError();
  int64_t count = ids->size();
  if (count <= options.length)
    return makeError("has " + Twine(count) + " tokens, samples of " +
                     Twine(options.length) + " need at least " +
                     Twine(options.length + 1) +
                     ": give more text or a smaller length");
  if (count > UINT32_MAX)
    return makeError("has more than 2^32 tokens");
  std::vector<Sequence> samples;
  PythonRandom random(options.seed);
  for (int64_t i = 0; i < options.samples; ++i) {
    auto begin =
        ids->begin() + random.drawUpTo(uint32_t(count - options.length - 1));
    samples.emplace_back(begin, begin + options.length);
  }
  return samples;
}

llvm::Expected<std::vector<Sequence>> SampleReader::read() {
  StringRef extension = llvm::sys::path::extension(options.file);
  if (extension == ".ids")
    return readIds();
  if (extension != ".jsonl")
    return drawFromText(text);
  std::vector<Sequence> samples;
  std::string all;
  if (llvm::Error error = readJSONLines(samples, all))
    return std::move(error);
  if (!all.empty())
    return drawFromText(all);
  return samples;
}

llvm::Error llq::checkSampleOptions(ModuleOp module,
                                    const SampleOptions &options) {
  if (options.samples < 1 || options.length < 1 ||
      options.length > kMaxLength ||
      options.samples > kMaxTokens / options.length)
    return llvm::createStringError(
        "samples and length need to be at least 1, a sample at most " +
        std::to_string(kMaxLength) + " tokens and all of them " +
        std::to_string(kMaxTokens));
  auto architecture =
      module->getAttrOfType<ArchitectureAttr>(kArchitectureAttr);
  if (architecture && options.length > architecture.getContextLength())
    return llvm::createStringError(
        "samples of " + std::to_string(options.length) +
        " tokens are longer than the model's context of " +
        std::to_string(architecture.getContextLength()) +
        ": give a smaller length");
  return llvm::Error::success();
}

llvm::Error llq::loadSamples(ModuleOp module, const SampleOptions &options) {
  if (llvm::Error error = checkSampleOptions(module, options))
    return error;
  auto buffer = llvm::MemoryBuffer::getFile(options.file, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return llvm::createStringError("cannot read " + options.file + ": " +
                                   buffer.getError().message());
  StringRef text = (*buffer)->getBuffer();
  auto samples = SampleReader(module, options, text).read();
  if (!samples)
    return samples.takeError();
  if (samples->empty())
    return llvm::createStringError(options.file + ": holds no tokens");

  SmallVector<int64_t> lengths;
  int64_t tokens = 0;
  for (const Sequence &sample : *samples) {
    lengths.push_back(sample.size());
    tokens += sample.size();
  }
  llvm::Expected<AsmResourceBlob> blob =
      allocateBlob(tokens * int64_t(sizeof(int32_t)));
  if (!blob)
    return blob.takeError();
  char *to = blob->getMutableData().data();
  for (const Sequence &sample : *samples) {
    std::memcpy(to, sample.data(), sample.size() * sizeof(int32_t));
    to += sample.size() * sizeof(int32_t);
  }
  std::string protocol;
  llvm::raw_string_ostream(protocol) << llvm::json::Value(llvm::json::Object{
      {"file", llvm::json::fixUTF8(llvm::sys::path::filename(options.file))},
      {"sha256",
       llvm::toHex(llvm::SHA256::hash(llvm::arrayRefFromStringRef(text)),
                   /*LowerCase=*/true)},
      {"samples", int64_t(samples->size())},
      {"length", options.length},
      {"tokens", tokens},
      {"seed", int64_t(options.seed)}});

  dropSamples(module);
  Builder b(module.getContext());
  auto type = RankedTensorType::get({tokens}, b.getI32Type());
  NamedAttrList entries;
  entries.set("ids", DenseResourceElementsAttr::get(type, "calibration",
                                                    std::move(*blob)));
  entries.set("lengths", b.getDenseI64ArrayAttr(lengths));
  entries.set("protocol", b.getStringAttr(protocol));
  if (!options.statistics.empty())
    entries.set("statistics", b.getStringAttr(options.statistics));
  if (!options.checkpoints.empty())
    entries.set("checkpoints", b.getStringAttr(options.checkpoints));
  module->setAttr(kCalibrationAttr, entries.getDictionary(b.getContext()));
  return llvm::Error::success();
}

/// A text in `llq.calibration`, or nothing.
static StringRef getEntry(ModuleOp module, StringRef name) {
  auto stored = module->getAttrOfType<DictionaryAttr>(kCalibrationAttr);
  auto entry = stored ? stored.getAs<StringAttr>(name) : StringAttr();
  return entry ? entry.getValue() : StringRef();
}

FailureOr<Samples> llq::getSamples(ModuleOp module) {
  auto stored = module->getAttrOfType<DictionaryAttr>(kCalibrationAttr);
  if (!stored) {
    InFlightDiagnostic error =
        emitError(module.getLoc(), "has no calibration samples");
    error.attachNote()
        << "give llq-compile --calibration or run llq-load-calibration first";
    return error;
  }
  auto ids = stored.getAs<DenseResourceElementsAttr>("ids");
  auto lengths = stored.getAs<DenseI64ArrayAttr>("lengths");
  AsmResourceBlob *blob = ids ? ids.getRawHandle().getBlob() : nullptr;
  auto damaged = [&](const Twine &what) {
    return emitError(module.getLoc(), kCalibrationAttr + " " + what);
  };
  if (!blob || !lengths || !ids.getElementType().isInteger(32))
    return damaged("needs i32 resource 'ids' and array 'lengths'");
  ArrayRef<char> bytes = blob->getData();
  ArrayRef<int32_t> all(reinterpret_cast<const int32_t *>(bytes.data()),
                        bytes.size() / sizeof(int32_t));
  int64_t vocabulary = getVocabulary(module);
  for (int32_t id : all)
    if (id < 0 || id >= vocabulary)
      return damaged("holds id " + Twine(id) + ", the vocabulary has " +
                     Twine(vocabulary));
  Samples samples;
  samples.statistics = getEntry(module, "statistics");
  samples.kept =
      !samples.statistics.empty() || !getCheckpointFolder(module).empty();
  for (int64_t length : lengths.asArrayRef()) {
    if (length < 1 || length > int64_t(all.size()))
      return damaged("has lengths that do not fit its ids");
    samples.sequences.push_back(all.take_front(length));
    samples.tokens += length;
    samples.longest = std::max(samples.longest, length);
    all = all.drop_front(length);
  }
  if (samples.sequences.empty() || !all.empty())
    return damaged("has lengths that do not fit its ids");
  return samples;
}

void llq::noteSamplesOfSketch(ModuleOp module) {
  module->setAttr(kSketchSamplesAttr, UnitAttr::get(module.getContext()));
}

StringRef llq::getCalibrationProtocol(ModuleOp module) {
  return getEntry(module, "protocol");
}

std::string llq::getCheckpointFolder(ModuleOp module) {
  return getEntry(module, "checkpoints").str();
}

void llq::dropSamples(ModuleOp module) {
  auto stored = module->getAttrOfType<DictionaryAttr>(kCalibrationAttr);
  if (!stored)
    return;
  if (auto ids = stored.getAs<DenseResourceElementsAttr>("ids"))
    releaseWeight(ids);
  module->removeAttr(kCalibrationAttr);
}
