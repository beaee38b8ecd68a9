//===- llq-import.cpp - From an ONNX model to normal form -----------------===//
//
// Flags in, library call, status out.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"
#include "llq/Conversion/CheckONNX.h"
#include "llq/Driver/LoadModel.h"
#include "llq/Driver/Tool.h"
#include "llq/Driver/WriteModule.h"
#include "llq/Import/ONNX.h"
#include "llq/InitAll.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>

using namespace llq;
namespace cl = llvm::cl;

namespace {
enum class Stage { ONNX, Normal };
} // namespace

static cl::OptionCategory category("llq-import options");

static cl::opt<std::string> input(cl::Positional, cl::desc("<model.onnx>"),
                                  cl::cat(category));
static cl::opt<std::string>
    output("o",
           cl::desc("File to write: bytecode, or text if it ends in .mlir; - "
                    "is standard output, as text"),
           cl::value_desc("model.mlirbc"), cl::cat(category));
static cl::opt<Stage> emitStage(
    "emit", cl::desc("What to write"),
    cl::values(clEnumValN(Stage::Normal, "normal", "llq normal form (default)"),
               clEnumValN(Stage::ONNX, "onnx", "the graph as it was read")),
    cl::init(Stage::Normal), cl::cat(category));
static cl::opt<bool>
    check("check",
          cl::desc("Compare the result with the original graph on random "
                   "tokens, in the reference interpreter"),
          cl::cat(category));
static cl::opt<bool>
    embedWeights("embed-weights",
                 cl::desc("Copy weights from external files into the output, "
                          "instead of referring to them"),
                 cl::cat(category));
static cl::opt<std::string>
    tokenizer("tokenizer",
              cl::desc("Tokenizer file or folder (default: beside the model)"),
              cl::value_desc("path"), cl::cat(category));
static cl::opt<std::string>
    config("config",
           cl::desc("config.json to check against (default: beside the model)"),
           cl::value_desc("file"), cl::cat(category));
static cl::opt<unsigned>
    context("context",
            cl::desc("Longest sequence, in tokens (default: from config.json, "
                     "else from the graph's tables, else 8192)"),
            cl::value_desc("n"), cl::init(0), cl::cat(category));
static cl::opt<bool> json("json",
                          cl::desc("Print one JSON object about the result"),
                          cl::cat(category));

static const char *overview =
    "Imports a LLaMA-family ONNX graph to llq normal form\n\n"
    "  llq-import model.onnx -o model.mlirbc\n"
    "  llq-import model.onnx -o model.mlirbc --check --embed-weights\n"
    "  llq-import model.onnx -o - --emit=onnx\n\n"
    "Weights in external data stay where they are: the output refers to "
    "them.\n";

/// The hyperparameters of `module`, as llq-inspect names them.
static llvm::json::Object describe(mlir::ModuleOp module) {
  auto a = module->getAttrOfType<ArchitectureAttr>(kArchitectureAttr);
  if (!a)
    return {};
  llvm::json::Object scaling{{"type", a.getRopeScaling()}};
  auto parameters = a.getRopeParameters().asArrayRef();
  llvm::ArrayRef<const char *> names;
  static const char *llama3[] = {"factor", "low_freq_factor",
                                 "high_freq_factor",
                                 "original_max_position_embeddings"};
  static const char *linear[] = {"factor"};
  if (a.getRopeScaling() == "llama3")
    names = llama3;
  else if (a.getRopeScaling() == "linear")
    names = linear;
  for (auto [name, value] : llvm::zip(names, parameters))
    scaling[name] = value;
  return llvm::json::Object{{"hidden", a.getHidden()},
                            {"layers", a.getLayers()},
                            {"heads", a.getHeads()},
                            {"kv_heads", a.getKvHeads()},
                            {"head_dim", a.getHeadDim()},
                            {"ffn", a.getFfn()},
                            {"vocab", a.getVocab()},
                            {"context", a.getContextLength()},
                            {"rope_theta", a.getRopeTheta().getValueAsDouble()},
                            {"rope_scaling", std::move(scaling)},
                            {"norm_eps", a.getNormEps().getValueAsDouble()},
                            {"tied_embeddings", a.getTiedEmbeddings()}};
}

int main(int argc, char **argv) {
  Tool tool("llq-import", overview, category);
  if (std::optional<int> status = tool.parse(argc, argv))
    return *status;
  if (auto status = tool.refuseEmpty({&output, &tokenizer, &config}))
    return *status;
  if (input.empty() || (output.empty() && !check))
    return tool.fail("give a model and the file to write with -o", kUsage);
  if (emitStage == Stage::ONNX && (check || embedWeights))
    return tool.fail("--check and --embed-weights need --emit=normal", kUsage);
  if (context > unsigned(INT32_MAX))
    return tool.fail("--context is out of range", kUsage);
  if (json && output == "-")
    return tool.fail("--json and the module both want standard output", kUsage);
  LoadOptions load;
  load.tokenizer = tokenizer;
  load.config = config;
  load.context = context;
  load.onCrash = tool.getCrashReport(input);
  if (auto status = tool.checkOutput(output, getInputFiles(input, load)))
    return *status;

  mlir::DialectRegistry registry;
  registerAllDialects(registry);
  mlir::MLIRContext mlirContext(registry);
  auto handler = tool.handleDiagnostics(&mlirContext, input);
  auto start = std::chrono::steady_clock::now();
  auto getSeconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         start)
        .count();
  };

  mlir::OwningOpRef<mlir::ModuleOp> module;
  if (emitStage == Stage::ONNX) {
    module = importONNX(input, &mlirContext);
  } else {
    module = loadModel(input, &mlirContext, load);
  }
  if (!module)
    return kFailure;
  if (auto status = tool.checkOutput(output, getWeightFiles(*module)))
    return *status;
  double importSeconds = getSeconds();

  std::optional<ONNXCheck> result;
  if (check) {
    // The graph again: raising has consumed it.
    mlir::OwningOpRef<mlir::ModuleOp> original =
        importONNX(input, &mlirContext);
    if (!original)
      return kFailure;
    auto graph = original->lookupSymbol<mlir::func::FuncOp>(kGraphName);
    llvm::Expected<ONNXCheck> checked = checkRaisedModel(graph, *module);
    if (!checked)
      return tool.fail(input + ": cannot be checked: " +
                       llvm::toString(checked.takeError()));
    result = *checked;
    std::string summary = llvm::formatv(
        "largest difference {0:e2} over {1} rows ({2} behind a cache), {3} of "
        "them with another largest element",
        result->maxError, result->rows, result->cachedRows,
        result->topMismatches);
    if (!result->isGood())
      return tool.fail(input +
                       ": the raised model differs from the graph: " + summary);
    if (!json)
      llvm::errs() << input << ": agrees with the graph: " << summary << '\n';
  }

  if (!output.empty()) {
    if (embedWeights)
      if (llvm::Error error = embedExternalWeights(*module))
        return tool.fail(std::move(error));
    if (llvm::Error error = writeModule(*module, output))
      return tool.fail(std::move(error));
  }
  if (!json)
    return tool.finish();
  llvm::json::Object report{
      {"output", llvm::json::fixUTF8(output)},
      {"architecture", describe(*module)},
      {"seconds",
       llvm::json::Object{{"import", importSeconds}, {"total", getSeconds()}}},
      {"peak_rss_bytes", int64_t(getPeakMemory())}};
  uint64_t bytes = 0;
  if (!output.empty() && output != "-" &&
      !llvm::sys::fs::file_size(output, bytes))
    report["bytes"] = int64_t(bytes);
  if (result)
    report["check"] =
        llvm::json::Object{{"max_abs_error", result->maxError},
                           {"rows", result->rows},
                           {"cached_rows", result->cachedRows},
                           {"top1_mismatches", result->topMismatches}};
  llvm::outs() << llvm::json::Value(std::move(report)) << '\n';
  return tool.finish();
}
