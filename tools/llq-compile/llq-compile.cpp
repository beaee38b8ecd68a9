//===- llq-compile.cpp - From a model to a deployable file ----------------===//
//
// Flags in, library call, status out.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"
#include "llq/Driver/Compile.h"
#include "llq/Driver/DryRun.h"
#include "llq/Driver/LayerReport.h"
#include "llq/Driver/LoadModel.h"
#include "llq/Driver/RandomModel.h"
#include "llq/Driver/Tool.h"
#include "llq/InitAll.h"
#include "llq/Support/OutputFile.h"
#include "support/Progress.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <thread>

using namespace llq;
namespace cl = llvm::cl;

static cl::OptionCategory category("llq-compile options");

static cl::opt<std::string> input(cl::Positional,
                                  cl::desc("<model.onnx | model.mlirbc>"),
                                  cl::cat(category));
static cl::opt<std::string> output("o", cl::desc("File to write"),
                                   cl::value_desc("model.llq"),
                                   cl::cat(category));
static cl::opt<std::string>
    quantize("quantize",
             cl::desc("Chain of methods, e.g. 'rtn(bits=4,group-size=128)'"),
             cl::value_desc("chain"), cl::cat(category));
static cl::opt<std::string> calibration(
    "calibration",
    cl::desc("Samples for methods that need data: text, .jsonl or .ids"),
    cl::value_desc("file"), cl::cat(category));
static cl::opt<unsigned> samples("samples", cl::desc("Number of samples (128)"),
                                 cl::value_desc("n"), cl::init(128),
                                 cl::cat(category));
static cl::opt<unsigned> length("length", cl::desc("Tokens of a sample (2048)"),
                                cl::value_desc("n"), cl::init(2048),
                                cl::cat(category));
static cl::opt<uint64_t> seed("seed",
                              cl::desc("Seed of the places in a text (0)"),
                              cl::value_desc("n"), cl::init(0),
                              cl::cat(category));
static cl::opt<std::string>
    fit("fit",
        cl::desc("Choose the bits of each layer for a size: bits per weight "
                 "(3.25) or bytes of the file (120MB)"),
        cl::value_desc("size"), cl::cat(category));
static cl::opt<std::string>
    cache("cache",
          cl::desc("Folder that keeps statistics for other methods and widths"),
          cl::value_desc("folder"), cl::cat(category));
static cl::opt<bool>
    resume("resume",
           cl::desc("Go on with what a stopped run has left in <-o>.resume"),
           cl::cat(category));
static cl::opt<std::string>
    reportFile("report", cl::desc("Write what became of each layer, as JSON"),
               cl::value_desc("file.json"), cl::cat(category));
static cl::opt<bool> verbose("verbose", cl::desc("Print a line for each layer"),
                             cl::cat(category));
static cl::opt<std::string>
    accuracy("accuracy",
             cl::desc("Activations of quantized layers: exact (f32) or int8 "
                      "(default)"),
             cl::value_desc("level"), cl::cat(category));
static cl::opt<std::string>
    kvCache("kv-cache",
            cl::desc("Keys and values in f32, f16, int8 or int4 (default: f16 "
                     "with int8 accuracy, f32 otherwise)"),
            cl::value_desc("type"), cl::cat(category));
static cl::opt<std::string>
    target("target",
           cl::desc("cpu (all x86-64 levels, default), cpu:native or "
                    "cpu:<level>"),
           cl::value_desc("target"), cl::init("cpu"), cl::cat(category));
static cl::opt<std::string>
    shape("shape",
          cl::desc("Instead of a model: one of this shape with random weights, "
                   "e.g. llama3.2-1b, or llama3-8b:2 for two of its layers"),
          cl::value_desc("name"), cl::cat(category));
static cl::opt<unsigned> maxTokens("max-tokens",
                                   cl::desc("Most tokens of one pass (512)"),
                                   cl::value_desc("n"), cl::init(512),
                                   cl::cat(category));
static cl::opt<std::string> tokenizer("tokenizer",
                                      cl::desc("Tokenizer file or folder"),
                                      cl::value_desc("path"),
                                      cl::cat(category));
static cl::opt<std::string> config("config",
                                   cl::desc("config.json to check against"),
                                   cl::value_desc("file"), cl::cat(category));
static cl::opt<unsigned> context("context",
                                 cl::desc("Longest sequence, in tokens"),
                                 cl::value_desc("n"), cl::init(0),
                                 cl::cat(category));
static cl::opt<bool> dumpPipeline("dump-pass-pipeline",
                                  cl::desc("Print the pass pipeline and stop"),
                                  cl::cat(category));
static cl::opt<bool>
    dryRun("dry-run",
           cl::desc("Print pipeline, sizes and memory needed; write nothing"),
           cl::cat(category));
static cl::opt<bool> json("json",
                          cl::desc("Print one JSON object about the result"),
                          cl::cat(category));

static const char *overview =
    "Compiles a LLAMA3 model to one file that llq-run runs\n\n"
    "  llq-compile model.onnx --quantize='rtn(bits=4,group-size=128)' "
    "-o model.llq\n"
    "  llq-compile model.onnx --quantize='gptq(bits=3)' --calibration=text.txt "
    "-o model.llq\n"
    "  llq-compile model.onnx --quantize='rtn(bits=2)' --dry-run\n"
    "  llq-compile quantized.mlirbc --target=cpu:native -o model.llq\n"
    "  llq-compile --shape=llama3.2-1b --quantize='rtn(bits=4)' -o "
    "random.llq\n";

/// `asJson` is a copy of the option: the linker resets LLVM's options when it
/// runs, so none is read after compileModel.
static void report(const std::string &output, const CompileReport &r,
                   llvm::StringRef pipeline, double importSeconds,
                   bool asJson) {
  if (!asJson) {
    llvm::errs() << llvm::formatv(
        "{0}: {1:F2} MB, {2:F3} bits per weight ({3:F3} with embedding and "
        "head)\n",
        output, r.emit.bytes / 1e6, r.emit.bitsPerWeight,
        r.emit.bitsPerWeightTotal);
    return;
  }
  llvm::outs() << llvm::json::Value(llvm::json::Object{
                      {"output", llvm::json::fixUTF8(output)},
                      {"bytes", int64_t(r.emit.bytes)},
                      {"bits_per_weight", r.emit.bitsPerWeight},
                      {"bits_per_weight_total", r.emit.bitsPerWeightTotal},
                      {"seconds",
                       llvm::json::Object{{"import", importSeconds},
                                          {"passes", r.passSeconds},
                                          {"code", r.emit.codeSeconds},
                                          {"weights", r.emit.weightSeconds}}},
                      {"peak_rss_bytes", int64_t(getPeakMemory())},
                      {"pipeline", llvm::json::fixUTF8(pipeline)}})
               << '\n';
}

/// What a compilation would make.
static void report(const CompilePlan &plan, llvm::StringRef pipeline) {
  if (json) {
    llvm::outs() << llvm::json::Value(llvm::json::Object{
                        {"dry_run", true},
                        {"bytes", int64_t(plan.emit.bytes)},
                        {"weight_bytes", int64_t(plan.emit.weightBytes)},
                        {"bits_per_weight", plan.emit.bitsPerWeight},
                        {"bits_per_weight_total", plan.emit.bitsPerWeightTotal},
                        {"peak_rss_bytes", int64_t(plan.peakBytes)},
                        {"temporary_bytes", int64_t(plan.fileBytes)},
                        {"pipeline", llvm::json::fixUTF8(pipeline)}})
                 << '\n';
    return;
  }
  llvm::outs()
      << "pipeline     " << pipeline << '\n'
      << llvm::formatv(
             "file         {0:F2} MB without code: weights {1:F2} MB, "
             "tokenizer {2:F2} MB\n"
             "bits/weight  {3:F3} in the blocks, {4:F3} with embedding "
             "and head\n"
             "peak memory  about {5:F0} MB, {6:F0} MB of temporary files\n",
             plan.emit.bytes / 1e6, plan.emit.weightBytes / 1e6,
             plan.tokenizerBytes / 1e6, plan.emit.bitsPerWeight,
             plan.emit.bitsPerWeightTotal, plan.peakBytes / 1e6,
             plan.fileBytes / 1e6);
}

/// Says how much memory a calibration will take, before it starts.
static llvm::Error announce(mlir::ModuleOp module,
                            const CompileOptions &options) {
  mlir::OwningOpRef<mlir::ModuleOp> clone(module.clone());
  llvm::Expected<CompilePlan> plan = planCompile(*clone, options);
  if (!plan)
    return plan.takeError();
  llvm::errs() << llvm::formatv("llq-compile: takes about {0:F0} MB of memory",
                                plan->peakBytes / 1e6);
  if (plan->fileBytes)
    llvm::errs() << llvm::formatv(" and {0:F0} MB of temporary files",
                                  plan->fileBytes / 1e6);
  llvm::errs() << '\n';
  return llvm::Error::success();
}

static size_t countLayers(mlir::ModuleOp module) {
  size_t count = 0;
  module.walk([&](LinearOp layer) { count += layer.getName() != kHeadName; });
  return count;
}

namespace {
/// Shows how far the passes have come, on standard error.
class LayerProgress {
public:
  LayerProgress(size_t layers, bool verbose)
      : layers(layers), verbose(verbose) {}

  void show(const LayerRecord &record) {
    if (record.what == "NotQuantized")
      return;
    if (record.pass != pass) {
      finish();
      pass = record.pass;
      line.emplace(pass, layers);
    }
    if (verbose) {
      llvm::errs() << pass << ": " << record.layer;
      for (const auto &[name, value] : record.values)
        if (auto number = value.getAsNumber())
          llvm::errs() << "  " << name.str() << llvm::format(" %.4g", *number);
      llvm::errs() << '\n';
    }
    line->advance();
  }

  void finish() { line.reset(); }

private:
  size_t layers;
  bool verbose;
  std::string pass;
  std::optional<tools::Progress> line;
};
} // namespace

static llvm::Error writeReport(const std::string &path,
                               const LayerReport &layers,
                               const CompileReport &result,
                               llvm::StringRef pipeline) {
  auto file = OutputFile::create(path);
  if (!file)
    return file.takeError();
  file->stream() << llvm::formatv(
      "{0:2}\n", llvm::json::Value(llvm::json::Object{
                     {"pipeline", llvm::json::fixUTF8(pipeline)},
                     {"bits_per_weight", result.emit.bitsPerWeight},
                     {"seconds", result.passSeconds},
                     {"peak_rss_bytes", int64_t(getPeakMemory())},
                     {"layers", layers.toJSON()}}));
  return file->keep();
}

/// What the parser of the options cannot know.
static std::optional<int> checkUsage(Tool &tool,
                                     const cl::opt<unsigned> &threads) {
  if (auto status = tool.refuseEmpty(
          {&output, &quantize, &calibration, &accuracy, &kvCache, &target,
           &shape, &tokenizer, &config, &cache, &reportFile, &fit}))
    return status;
  if (!fit.empty() && (calibration.empty() || quantize.empty()))
    return tool.fail("--fit goes with --quantize and --calibration", kUsage);
  if (calibration.empty() && (!cache.empty() || resume))
    return tool.fail("--cache and --resume go with --calibration", kUsage);
  if (input.empty() == shape.empty())
    return tool.fail("give a model or --shape, and not both", kUsage);
  if (output.empty() && !dumpPipeline && !dryRun)
    return tool.fail("give the file to write with -o", kUsage);
  if (threads.getNumOccurrences() && (threads < 1 || threads > 1024))
    return tool.fail("--threads: '" + llvm::Twine(unsigned(threads)) +
                         "' is not a number from 1 to 1024",
                     kUsage);
  if (context > unsigned(INT32_MAX))
    return tool.fail("--context is out of range", kUsage);
  // What is no ONNX model has its context and its comparison behind it.
  if ((context || !config.empty()) && (!shape.empty() || isMLIR(input)))
    return tool.fail("--context and --config go with an ONNX model", kUsage);
  if (!samples || !length)
    return tool.fail("--samples and --length are at least 1", kUsage);
  if (!shape.empty() && !tokenizer.empty())
    return tool.fail("a random model of --shape takes no --tokenizer", kUsage);
  return std::nullopt;
}

int main(int argc, char **argv) {
  Tool tool("llq-compile", overview, category);
  tool.freeOptionName("threads");
  cl::opt<unsigned> threads("threads", cl::desc("Threads (default: all cores)"),
                            cl::value_desc("n"), cl::init(0),
                            cl::cat(category));
  if (std::optional<int> status = tool.parse(argc, argv))
    return *status;
  if (std::optional<int> status = checkUsage(tool, threads))
    return *status;

  registerAllPasses();
  mlir::DialectRegistry registry;
  registerAllDialects(registry);
  mlir::MLIRContext mlirContext(registry);
  CompileOptions options;
  options.output = output;
  options.quantize = quantize;
  options.fit = fit;
  options.calibration = {calibration, samples, length, seed, cache, {}};
  options.resume = resume;
  options.accuracy = accuracy;
  options.kvCache = kvCache;
  options.target = target;
  options.maxTokens = maxTokens;
  options.source = llvm::sys::path::filename(input).str();
  options.threads = threads ? unsigned(threads)
                            : std::max(1u, std::thread::hardware_concurrency());

  llvm::Expected<std::string> pipeline = buildPipeline(options);
  if (!pipeline)
    return tool.fail(llvm::toString(pipeline.takeError()), kUsage);
  if (dumpPipeline) {
    llvm::outs() << *pipeline << '\n';
    return tool.finish();
  }

  bool asJson = json;
  auto handler = tool.handleDiagnostics(&mlirContext, input);
  auto start = std::chrono::steady_clock::now();
  mlir::OwningOpRef<mlir::ModuleOp> module;
  if (!shape.empty()) {
    module = buildRandomModel(&mlirContext, shape);
    if (!module)
      return tool.fail("unknown shape '" + shape + "', known: " +
                           llvm::join(getRandomModelNames(), ", ") +
                           ", with :<layers> for fewer layers",
                       kUsage);
  } else {
    LoadOptions load;
    load.tokenizer = tokenizer;
    load.config = config;
    load.context = context;
    load.onCrash = tool.getCrashReport(input);
    if (auto status = tool.checkOutput(output, getInputFiles(input, load)))
      return *status;
    module = loadModel(input, &mlirContext, load);
    if (!module)
      return kFailure;
    if (auto status = tool.checkOutput(output, getWeightFiles(*module)))
      return *status;
  }
  if (!options.calibration.file.empty())
    if (llvm::Error error = checkSampleOptions(*module, options.calibration))
      return tool.fail(llvm::toString(std::move(error)), kUsage);
  double importSeconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  if (dryRun) {
    llvm::Expected<CompilePlan> plan = planCompile(*module, options);
    if (!plan)
      return tool.fail(plan.takeError());
    report(*plan, *pipeline);
    return tool.finish();
  }
  std::string reportPath = reportFile;
  if (!options.calibration.file.empty())
    if (llvm::Error error = announce(*module, options))
      return tool.fail(std::move(error));
  LayerProgress progress(countLayers(*module), verbose);
  LayerReport layers([&](const LayerRecord &record) { progress.show(record); });
  if (failed(layers.listenTo(mlirContext)))
    return tool.fail("cannot listen to the passes");
  llvm::Expected<CompileReport> result = compileModel(*module, options);
  progress.finish();
  if (!result)
    return tool.fail(result.takeError());
  if (!reportPath.empty())
    if (llvm::Error error = writeReport(reportPath, layers, *result, *pipeline))
      return tool.fail(std::move(error));
  report(options.output, *result, *pipeline, importSeconds, asJson);
  return tool.finish();
}
