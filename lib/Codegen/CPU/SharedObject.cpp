//===- SharedObject.cpp - Kernels to native code --------------------------===//
//
// vector and scf -> llvm -> LLVM's optimiser and code generator -> ELF object
// -> lld, all in process. The result needs no library: an undefined symbol is
// an error of the compiler.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Codegen/CPU.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"

#include "lld/Common/Driver.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

#include <mutex>

LLD_HAS_DRIVER(elf)

using namespace mlir;
using namespace llq;

namespace {

/// math.fma as two roundings, for levels without the instruction: LLVM would
/// call the C library.
struct SplitFma : OpRewritePattern<math::FmaOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::FmaOp op,
                                PatternRewriter &rewriter) const override {
    Value product =
        arith::MulFOp::create(rewriter, op.getLoc(), op.getA(), op.getB());
    rewriter.replaceOpWithNewOp<arith::AddFOp>(op, product, op.getC());
    return success();
  }
};

/// Elementary functions as polynomials: kernels call no library.
struct ExpandMathPass : PassWrapper<ExpandMathPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ExpandMathPass)
  explicit ExpandMathPass(bool hasFMA) : hasFMA(hasFMA) {}

  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<arith::ArithDialect, vector::VectorDialect>();
  }

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    populateMathPolynomialApproximationPatterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    if (hasFMA)
      return;
    RewritePatternSet fma(&getContext());
    fma.add<SplitFma>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(fma))))
      signalPassFailure();
  }

  bool hasFMA;
};

/// A file that is removed at the end, or by Ctrl-C.
struct TemporaryFile {
  ~TemporaryFile() {
    if (path.empty())
      return;
    llvm::sys::fs::remove(path);
    llvm::sys::DontRemoveFileOnSignal(path);
  }
  void own(StringRef file) {
    path = file.str();
    llvm::sys::RemoveFileOnSignal(path);
  }
  std::string path;
};

} // namespace

static LogicalResult lowerToLLVM(ModuleOp module, const CPULevel &level) {
  PassManager pm(module.getContext());
  pm.addPass(std::make_unique<ExpandMathPass>(level.hasFMA));
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createSCFToControlFlowPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  return pm.run(module);
}

static std::unique_ptr<llvm::TargetMachine>
createTargetMachine(const CPULevel &level, std::string &error) {
  static const bool initialized = [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
    return true;
  }();
  (void)initialized;
  llvm::Triple triple(level.triple);
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, level.cpu, level.features, llvm::TargetOptions(),
      llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager sccs;
  llvm::ModuleAnalysisManager modules;
  llvm::PipelineTuningOptions tuning;
  // Kernels are vectorised and unrolled as they should be.
  tuning.LoopUnrolling = false;
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  llvm::PassBuilder builder(&machine, tuning);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(sccs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, sccs, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2)
      .run(module, modules);
}

void llq::registerKernelDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, cf::ControlFlowDialect,
                  func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                  scf::SCFDialect, vector::VectorDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

FailureOr<std::string> llq::emitAssemblyOrObject(ModuleOp module,
                                                 const CPULevel &level,
                                                 bool assembly) {
  if (failed(lowerToLLVM(module, level)))
    return failure();
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> llvmModule =
      translateModuleToLLVMIR(module, context, "llq-kernels");
  if (!llvmModule)
    return module.emitError() << "translation of the kernels to LLVM IR failed";
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine =
      createTargetMachine(level, error);
  if (!machine)
    return module.emitError()
           << "no code generator for " << level.triple << ": " << error;
  llvmModule->setDataLayout(machine->createDataLayout());
  llvmModule->setTargetTriple(machine->getTargetTriple());
  // There is no C library: stores must not become a call of memset.
  for (llvm::Function &function : *llvmModule)
    function.addFnAttr("no-builtins");
  optimize(*llvmModule, *machine);

  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream os(bytes);
  llvm::legacy::PassManager codegen;
  if (machine->addPassesToEmitFile(codegen, os, nullptr,
                                   assembly
                                       ? llvm::CodeGenFileType::AssemblyFile
                                       : llvm::CodeGenFileType::ObjectFile))
    return module.emitError() << "cannot generate code for " << level.triple;
  codegen.run(*llvmModule);
  return std::string(bytes.data(), bytes.size());
}

FailureOr<std::string> llq::compileToSharedObject(ModuleOp module,
                                                  const CPULevel &level) {
  FailureOr<std::string> object =
      emitAssemblyOrObject(module, level, /*assembly=*/false);
  if (failed(object))
    return failure();

  // lld works on files.
  TemporaryFile input, output;
  llvm::SmallString<128> path;
  int descriptor;
  if (std::error_code ec = llvm::sys::fs::createTemporaryFile(
          "llq-kernels", "o", descriptor, path))
    return module.emitError()
           << "cannot create a temporary file: " << ec.message();
  input.own(path);
  {
    llvm::raw_fd_ostream os(descriptor, /*shouldClose=*/true);
    os << *object;
    // What is still buffered must not fail where nobody can say so.
    os.flush();
    if (os.has_error()) {
      std::string message = os.error().message();
      os.clear_error();
      return module.emitError() << "cannot write " << path << ": " << message;
    }
  }
  if (std::error_code ec =
          llvm::sys::fs::createTemporaryFile("llq-kernels", "so", path))
    return module.emitError()
           << "cannot create a temporary file: " << ec.message();
  output.own(path);
  const char *arguments[] = {"ld.lld",
                             "-shared",
                             input.path.c_str(),
                             "-o",
                             output.path.c_str(),
                             "-z",
                             "now",
                             "-z",
                             "relro",
                             "-z",
                             "defs",
                             "--hash-style=gnu",
                             "-s",
                             "--build-id=none"};
  std::string messages;
  llvm::raw_string_ostream os(messages);
  // lld keeps global state.
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  lld::Result result =
      lld::lldMain(arguments, os, os, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return module.emitError() << "linking the kernels failed: " << messages;
  auto linked = llvm::MemoryBuffer::getFile(output.path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!linked)
    return module.emitError() << "cannot read " << output.path << ": "
                              << linked.getError().message();
  return (*linked)->getBuffer().str();
}
