//===- llq-import.cpp - From an ONNX graph to the llq dialect -------------===//
//
// Flags in, library call, status out.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "dialects/LLQ/LLQ.h"
#include "llq/Driver/LoadModel.h"
#include "llq/Driver/Tool.h"
#include "llq/Driver/WriteModule.h"
#include "llq/Import/ONNX.h"
#include "llq/InitAll.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>

using namespace llq;
namespace cl = llvm::cl;

static cl::OptionCategory category("llq-import options");

static cl::opt<std::string> input(cl::Positional, cl::desc("<model.onnx>"),
                                  cl::Required, cl::cat(category));
static cl::opt<std::string>
    output("o", cl::desc("File to write; text if it ends in .mlir or is -"),
           cl::value_desc("model.mlirbc"), cl::cat(category));
static cl::opt<std::string>
    tokenizer("tokenizer",
              cl::desc("Tokenizer file or folder (default: beside the model)"),
              cl::value_desc("path"), cl::cat(category));
static cl::opt<std::string>
    config("config",
           cl::desc("config.json to check against (default: beside the model)"),
           cl::value_desc("file"), cl::cat(category));
static cl::opt<unsigned> contextLength("context",
                                       cl::desc("Longest sequence, in tokens"),
                                       cl::value_desc("n"), cl::init(0),
                                       cl::cat(category));
static cl::opt<bool>
    embedWeights("embed-weights",
                 cl::desc("Copy weights into the output instead of referring "
                          "to their file"),
                 cl::cat(category));
static cl::opt<bool> json("json",
                          cl::desc("Print one JSON object about the result"),
                          cl::cat(category));

enum class Form { ONNX, Normal };
static cl::opt<Form> emit(
    "emit", cl::desc("Form to write"),
    cl::values(clEnumValN(Form::ONNX, "onnx", "the graph as it was read"),
               clEnumValN(Form::Normal, "normal", "llq normal form (default)")),
    cl::init(Form::Normal), cl::cat(category));

static const char *overview =
    "Imports an ONNX graph of a LLAMA3-style model\n\n"
    "  llq-import model.onnx -o model.mlirbc\n"
    "  llq-import model.onnx --emit=onnx -o - | less\n";

static void report(mlir::ModuleOp module, double seconds) {
  llvm::json::Object object{{"output", output.getValue()},
                            {"seconds", seconds},
                            {"peak_rss_bytes", int64_t(getPeakMemory())}};
  if (auto a = module->getAttrOfType<ArchitectureAttr>(kArchitectureAttr))
    object["architecture"] =
        llvm::json::Object{{"hidden", a.getHidden()},
                           {"layers", a.getLayers()},
                           {"heads", a.getHeads()},
                           {"kv_heads", a.getKvHeads()},
                           {"head_dim", a.getHeadDim()},
                           {"ffn", a.getFfn()},
                           {"vocab", a.getVocab()},
                           {"context", a.getContextLength()},
                           {"rope_theta", a.getRopeTheta().getValueAsDouble()},
                           {"rope_scaling", a.getRopeScaling()},
                           {"norm_eps", a.getNormEps().getValueAsDouble()},
                           {"tied_embeddings", a.getTiedEmbeddings()}};
  llvm::outs() << llvm::json::Value(std::move(object)) << '\n';
}

int main(int argc, char **argv) {
  Tool tool("llq-import", overview, category);
  if (std::optional<int> status = tool.parse(argc, argv))
    return *status;
  if (output.empty())
    return tool.fail("give the file to write with -o", kUsage);

  mlir::DialectRegistry registry;
  registerAllDialects(registry);
  mlir::MLIRContext context(registry);
  auto handler = tool.handleDiagnostics(&context, input);
  auto start = std::chrono::steady_clock::now();
  LoadOptions load;
  load.tokenizer = tokenizer;
  load.config = config;
  load.context = contextLength;
  mlir::OwningOpRef<mlir::ModuleOp> module =
      emit == Form::ONNX ? importONNX(input, &context)
                         : loadModel(input, &context, load);
  if (!module)
    return kFailure;
  if (embedWeights)
    if (llvm::Error error = embedExternalWeights(*module))
      return tool.fail(std::move(error));
  if (llvm::Error error = writeModule(*module, output))
    return tool.fail(std::move(error));
  if (json)
    report(*module, std::chrono::duration<double>(
                        std::chrono::steady_clock::now() - start)
                        .count());
  return kSuccess;
}
