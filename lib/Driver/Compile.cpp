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
#include "llq/Driver/DryRun.h"
#include "llq/Pipelines/Chain.h"

#include "llq/Support/ContentStore.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
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

namespace {
/// What `--fit` asks for: one of the two.
struct Fit {
  double bitsPerWeight = 0;
  int64_t bytes = 0; ///< of the file
};
} // namespace

static llvm::Expected<Fit> parseFit(StringRef text) {
  static constexpr std::pair<StringLiteral, double> units[] = {
      {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0},
      {"KB", 1e3},     {"MB", 1e6},        {"GB", 1e9},
  };
  Fit fit;
  StringRef number = text;
  double factor = 0;
  for (auto [suffix, unit] : units)
    if (number.consume_back_insensitive(suffix)) {
      factor = unit;
      break;
    }
  double value = 0;
  if (number.trim().getAsDouble(value) || !(value > 0) ||
      !(factor ? value * factor < 1e15 : value <= 32))
    return llvm::createStringError(
        "--fit is bits per weight, as 3.25, or the size of the file, as 120MB "
        "or 1.5GiB, found '" +
        text.str() + "'");
  if (factor)
    fit.bytes = int64_t(value * factor);
  else
    fit.bitsPerWeight = value;
  return fit;
}

/// The pass that chooses bits, with a comma behind it. What the layers may take
/// of a file is known only once its other parts are.
static llvm::Expected<std::string> getFitPass(const CompileOptions &options,
                                              const Chain &chain) {
  if (options.fit.empty())
    return std::string();
  llvm::Expected<Fit> fit = parseFit(options.fit);
  if (!fit)
    return fit.takeError();
  std::string budget =
      fit->bytes
          ? "bytes=" + std::to_string(options.fitBytes.value_or(fit->bytes))
          : "bits-per-weight=" + llvm::formatv("{0}", fit->bitsPerWeight).str();
  // Errors are those of the groups that the chain asks for.
  if (std::optional<StringRef> group = chain.getOption("group-size"))
    budget += " group-size=" + group->str();
  return "llq-allocate-bits{" + budget + "},";
}

llvm::Expected<std::string> llq::buildPipeline(const CompileOptions &options) {
  const SampleOptions &samples = options.calibration;
  for (StringRef path : {samples.file, samples.statistics, samples.checkpoints})
    if (path.find_first_of("{}\n") != StringRef::npos)
      return llvm::createStringError(
          "'" + path.str() +
          "': a name with braces cannot stand in a pipeline");
  std::string pipeline = getCalibrationPass(options.calibration);
  Chain chain;
  if (!options.quantize.empty()) {
    auto parsed = parseChain(options.quantize);
    if (!parsed)
      return parsed.takeError();
    chain = *parsed;
  }
  llvm::Expected<std::string> fitPass = getFitPass(options, chain);
  if (!fitPass)
    return fitPass.takeError();
  auto [rotations, methods] = chain.splitRotations();
  if (!rotations.empty())
    pipeline += rotations.getPipeline() + ",";
  pipeline += *fitPass;
  if (!methods.empty())
    pipeline += methods.getPipeline() + ",";
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
          check("kv-cache", options.kvCache, {"f32", "f16", "int8", "int4"}))
    return std::move(error);
  if (options.maxTokens < 1 || options.maxTokens > 65536)
    return llvm::createStringError("--max-tokens is 1 to 65536, found " +
                                   std::to_string(options.maxTokens));
  auto levels = getLevels(options.target);
  if (!levels)
    return levels.takeError();
  std::string accuracy = options.accuracy.empty() ? "int8" : options.accuracy;
  pipeline += "llq-fold-permutations,llq-set-accuracy{level=" + accuracy + "},";
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

/// Room for code in a file of given size: that of a level, generously.
static constexpr int64_t kCodeBytes = int64_t(160) << 10;

/// Notes on the layers of `module` what each width takes, and in `options` what
/// all of them may take together.
static llvm::Error prepareFit(ModuleOp module, CompileOptions &options) {
  llvm::Expected<Fit> fit = parseFit(options.fit);
  if (!fit)
    return fit.takeError();
  llvm::Expected<Chain> chain = parseChain(options.quantize);
  if (!chain)
    return chain.takeError();
  if (failed(measureWidths(module, *chain)))
    return llvm::createStringError("");
  if (!fit->bytes)
    return llvm::Error::success();
  // Everything but the layers, from a plan with all of them at 8 bits.
  OwningOpRef<ModuleOp> clone(module.clone());
  Builder b(module.getContext());
  int64_t layers = 0;
  clone->walk([&](LinearOp layer) {
    auto widths = layer->getAttrOfType<DenseI64ArrayAttr>(kWidthsAttr);
    if (!widths)
      return;
    layers += widths.asArrayRef().back();
    layer->setAttr(kBitsAttr, b.getI64IntegerAttr(8));
  });
  CompileOptions rest = options;
  rest.fit.clear();
  llvm::Expected<CompilePlan> plan = planCompile(*clone, rest);
  if (!plan)
    return plan.takeError();
  int64_t levels = options.target == "cpu" ? int64_t(getCPULevels().size()) : 1;
  options.fitBytes =
      fit->bytes - (int64_t(plan->emit.bytes) - layers + levels * kCodeBytes);
  if (*options.fitBytes <= 0)
    return llvm::createStringError(
        "--fit=" + options.fit + ": all but the layers takes " +
        std::to_string(fit->bytes - *options.fitBytes) +
        " bytes: give a larger size, or fewer bits to the embedding and the "
        "head (embedding-bits, head-bits)");
  return llvm::Error::success();
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

  if (!options.fit.empty())
    if (llvm::Error error = prepareFit(module, options))
      return std::move(error);
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
