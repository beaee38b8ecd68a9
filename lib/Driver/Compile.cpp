//===- Compile.cpp - From a model to a deployable file --------------------===//
//
// Concatenates the stages as one pass pipeline whose text `llq-opt` runs too,
// then writes the file.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Driver/Compile.h"
#include "SourceHash.h"
#include "dialects/LLQ/LLQ.h"
#include "llq/Codegen/CPULevel.h"
#include "llq/Pipelines/Chain.h"

#include "llq/Support/ContentStore.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"

#include <chrono>

using namespace mlir;
using namespace llq;

/// The levels of `--target`, as the option of llq-lower-to-cpu.
static llvm::Expected<std::string> getLevels(StringRef target) {
  auto [kind, level] = target.split(':');
  if (kind != "cpu")
    return llvm::createStringError("unknown target '" + target.str() +
                                   "', known: cpu, cpu:native, cpu:<level>");
  if (level.empty() && !target.contains(':'))
    return std::string();
  if (level == "native") {
    const CPULevel *host = getHostCPULevel();
    if (!host)
      return llvm::createStringError(
          "this machine's processor is below the least level, x86-64-v2");
    return host->name.str();
  }
  if (!findCPULevel(level)) {
    std::string known;
    for (const CPULevel &l : getCPULevels())
      known += (known.empty() ? "" : ", ") + l.name.str();
    return llvm::createStringError("unknown cpu level '" + level.str() +
                                   "', known: " + known);
  }
  return level.str();
}

static std::string getFolderOption(StringRef name, StringRef folder) {
  return folder.empty() ? "" : (" " + name + "={" + folder + "}").str();
}

/// The pass that loads the samples, with a comma behind it.
static std::string getCalibrationPass(const SampleOptions &options) {
  if (options.file.empty())
    return {};
  return "llq-load-calibration{file={" + options.file +
         "} length=" + std::to_string(options.length) +
         " samples=" + std::to_string(options.samples) +
         " seed=" + std::to_string(options.seed) +
         getFolderOption("statistics", options.statistics) +
         getFolderOption("checkpoints", options.checkpoints) + "},";
}

llvm::Expected<std::string> llq::buildPipeline(const CompileOptions &options) {
  const SampleOptions &samples = options.calibration;
  for (StringRef path : {samples.file, samples.statistics, samples.checkpoints})
    if (path.find_first_of("{}\n") != StringRef::npos)
      return llvm::createStringError(
          "'" + path.str() +
          "': a name with braces cannot stand in a pipeline");
  std::string pipeline = getCalibrationPass(options.calibration);
  if (!options.quantize.empty()) {
    auto chain = parseChain(options.quantize);
    if (!chain)
      return chain.takeError();
    pipeline += *chain + ",";
  }
  auto check = [](StringRef option, StringRef value,
                  ArrayRef<StringRef> known) -> llvm::Error {
    if (value.empty() || llvm::is_contained(known, value))
      return llvm::Error::success();
    return llvm::createStringError("--" + option.str() + " is " +
                                   llvm::join(known, ", ") + ", found '" +
                                   value.str() + "'");
  };
  if (llvm::Error error =
          check("accuracy", options.accuracy, {"exact", "int8"}))
    return std::move(error);
  if (llvm::Error error =
          check("kv-cache", options.kvCache, {"f32", "f16", "int8"}))
    return std::move(error);
  if (options.maxTokens < 1 || options.maxTokens > 65536)
    return llvm::createStringError("--max-tokens is 1 to 65536, found " +
                                   std::to_string(options.maxTokens));
  auto levels = getLevels(options.target);
  if (!levels)
    return levels.takeError();
  std::string accuracy = options.accuracy.empty() ? "int8" : options.accuracy;
  pipeline += "llq-set-accuracy{level=" + accuracy + "},";
  if (!options.kvCache.empty())
    pipeline += "llq-set-cache{type=" + options.kvCache + "},";
  else if (accuracy == "int8")
    pipeline += "llq-set-cache{type=f16 quantized-only=true},";
  pipeline += "llq-form-dispatches,llq-lower-to-cpu{max-tokens=" +
              std::to_string(options.maxTokens);
  if (!levels->empty())
    pipeline += " levels=" + *levels;
  return "builtin.module(" + pipeline + "},llq-plan-memory)";
}

std::string llq::getResumeFolder(StringRef output) {
  return (output + ".resume").str();
}

/// `options` with a folder for finished layers, if there can be some.
static CompileOptions withCheckpoints(CompileOptions options) {
  if (!options.calibration.file.empty() && !options.quantize.empty())
    options.calibration.checkpoints = getResumeFolder(options.output);
  return options;
}

llvm::Expected<CompileReport> llq::compileModel(ModuleOp module,
                                                const CompileOptions &given) {
  CompileOptions options = withCheckpoints(given);
  const std::string &folder = options.calibration.checkpoints;
  if (!folder.empty() && !options.resume)
    ContentStore::remove(folder);
  bool complete = false;
  auto cleanUp = llvm::scope_exit([&] {
    if (!folder.empty() && (complete || !options.resume))
      ContentStore::remove(folder);
  });

  llvm::Expected<std::string> pipeline = buildPipeline(options);
  if (!pipeline)
    return pipeline.takeError();
  CompileReport report;
  std::string message;
  llvm::raw_string_ostream os(message);
  FailureOr<OpPassManager> parsed = parsePassPipeline(*pipeline, os);
  if (failed(parsed))
    return llvm::createStringError(message);
  PassManager pm(module.getContext());
  static_cast<OpPassManager &>(pm) = std::move(*parsed);
  auto start = std::chrono::steady_clock::now();
  // Reads ahead of the passes and of what packs the weights.
  SourceHash sourceHash(module);
  if (failed(pm.run(module)))
    return llvm::createStringError("");
  report.passSeconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  EmitOptions emit;
  emit.output = options.output;
  // Where the samples were is no property of the model.
  CompileOptions recorded = options;
  recorded.calibration.file =
      llvm::sys::path::filename(options.calibration.file);
  recorded.calibration.statistics.clear();
  recorded.calibration.checkpoints.clear();
  emit.pipeline = llvm::cantFail(buildPipeline(recorded));
  emit.calibration = getCalibrationProtocol(module);
  emit.source = options.source;
  if (auto source = module->getAttrOfType<DictionaryAttr>(kSourceAttr)) {
    if (auto file = source.getAs<StringAttr>("file"))
      emit.source = file.str();
  }
  emit.sourceSha256 = sourceHash.getPlaceholder();
  emit.finishSourceSha256 = [&] { return sourceHash.get(); };
  emit.threads = options.threads;
  if (auto tokenizer =
          module->getAttrOfType<DenseResourceElementsAttr>(kTokenizerAttr))
    if (AsmResourceBlob *blob = tokenizer.getRawHandle().getBlob())
      emit.tokenizer.assign(blob->getData().begin(), blob->getData().end());
  FailureOr<EmitReport> written = emitModel(module, emit);
  if (failed(written))
    return llvm::createStringError("");
  report.emit = *written;
  complete = true;
  return report;
}
