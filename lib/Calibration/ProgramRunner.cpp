//===- ProgramRunner.cpp - Runs parts of a model in the compiler ----------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ProgramRunner.h"

#include "dialects/LLQ/LLQ.h"
#include "llq/Codegen/CPU.h"
#include "llq/Emit/WeightPacker.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/MathExtras.h"

#include <cstdlib>
#include <cstring>

using namespace mlir;
using namespace llq;

//===----------------------------------------------------------------------===//
// KernelCache
//===----------------------------------------------------------------------===//

struct KernelCache::Impl {
  std::unique_ptr<llvm::orc::LLJIT> jit;
  /// By the text of the kernels.
  llvm::StringMap<llvm::StringMap<llqrt_kernel>> libraries;

  llvm::Error load(StringRef object, ArrayRef<std::string> names,
                   llvm::StringMap<llqrt_kernel> &kernels);
};

KernelCache::KernelCache() : impl(std::make_unique<Impl>()) {}
KernelCache::~KernelCache() = default;

llvm::Error KernelCache::Impl::load(StringRef object,
                                    ArrayRef<std::string> names,
                                    llvm::StringMap<llqrt_kernel> &kernels) {
  if (!jit) {
    auto created = llvm::orc::LLJITBuilder().create();
    if (!created)
      return created.takeError();
    jit = std::move(*created);
  }
  // Kernels of different code may share a name.
  auto library =
      jit->createJITDylib(("kernels." + Twine(libraries.size())).str());
  if (!library)
    return library.takeError();
  if (llvm::Error error = jit->addObjectFile(
          *library, llvm::MemoryBuffer::getMemBufferCopy(object, "kernels")))
    return error;
  for (const std::string &name : names) {
    auto address = jit->lookup(*library, name);
    if (!address)
      return address.takeError();
    kernels[name] = address->toPtr<llqrt_kernel>();
  }
  return llvm::Error::success();
}

FailureOr<const llvm::StringMap<llqrt_kernel> *>
KernelCache::compile(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream(text) << module;
  auto known = impl->libraries.find(text);
  if (known != impl->libraries.end())
    return &known->second;

  std::vector<std::string> names;
  for (auto function : module.getOps<FunctionOpInterface>())
    if (!function.isExternal())
      names.push_back(function.getName().str());
  const CPULevel *level = getHostCPULevel();
  FailureOr<std::string> object =
      emitAssemblyOrObject(module, *level, /*assembly=*/false);
  if (failed(object))
    return failure();
  llvm::StringMap<llqrt_kernel> kernels;
  if (llvm::Error error = impl->load(*object, names, kernels))
    return module.emitError("cannot load the kernels: ")
           << llvm::toString(std::move(error));
  return &impl->libraries.try_emplace(text, std::move(kernels)).first->second;
}

//===----------------------------------------------------------------------===//
// ProgramRunner
//===----------------------------------------------------------------------===//

/// A step is cut into this many chunks for each thread, so that threads end
/// together; results do not depend on it.
static constexpr int64_t kChunksPerThread = 4;

void ProgramRunner::FreeDeleter::operator()(char *memory) const {
  std::free(memory);
}

ProgramRunner::~ProgramRunner() = default;

FailureOr<char *> ProgramRunner::allocate(Operation *op, int64_t bytes) {
  bytes = llvm::alignTo(std::max<int64_t>(bytes, 1), 64);
  auto *data = static_cast<char *>(std::aligned_alloc(64, bytes));
  if (!data)
    return op->emitError("no memory for ")
           << bytes << " bytes of weights and activations";
  std::memset(data, 0, bytes);
  memory.emplace_back(data);
  return data;
}

/// Lowers `module` to a program and kernels for this machine.
static LogicalResult lowerToProgram(ModuleOp module, const CPULevel &level,
                                    int64_t maxTokens) {
  std::string text =
      "builtin.module(llq-form-dispatches,llq-lower-to-cpu{levels=" +
      level.name.str() + " max-tokens=" + std::to_string(maxTokens) +
      "},llq-plan-memory)";
  FailureOr<OpPassManager> pipeline = parsePassPipeline(text);
  if (failed(pipeline))
    return failure();
  PassManager pm(module.getContext());
  static_cast<OpPassManager &>(pm) = std::move(*pipeline);
  return pm.run(module);
}

FailureOr<std::unique_ptr<ProgramRunner>>
ProgramRunner::create(OwningOpRef<ModuleOp> module, KernelCache &cache,
                      ThreadPool &pool, int64_t maxTokens, int64_t capacity) {
  const CPULevel *level = getHostCPULevel();
  if (!level)
    return module->emitError("calibration needs a processor of one of the "
                             "levels that kernels are generated for");
  auto function = module->lookupSymbol<func::FuncOp>(kForwardName);
  auto getColumns = [](TypeRange types) {
    SmallVector<int64_t> columns;
    for (Type type : types)
      if (auto rows = dyn_cast<RankedTensorType>(type);
          rows && rows.getRank() == 2)
        columns.push_back(rows.getDimSize(1));
    return columns;
  };
  SmallVector<int64_t> inputColumns = getColumns(function.getArgumentTypes());
  SmallVector<int64_t> outputColumns = getColumns(function.getResultTypes());
  if (failed(lowerToProgram(*module, *level, maxTokens)))
    return failure();
  auto kernels = cache.compile(*module->getOps<ModuleOp>().begin());
  if (failed(kernels))
    return failure();
  capacity = llvm::alignTo(capacity, LLQRT_POSITION_BLOCK);
  std::unique_ptr<ProgramRunner> runner(
      new ProgramRunner(std::move(module), pool, capacity));
  for (int64_t columns : inputColumns)
    runner->inputs.push_back({nullptr, columns, 0});
  for (int64_t columns : outputColumns)
    runner->outputs.push_back({nullptr, columns, 0});
  if (failed(runner->bind(**kernels)))
    return failure();
  return runner;
}

/// Input or output `buffer`: `outputs`, or `inputs.2` and so on. Null for
/// others.
ProgramRows *ProgramRunner::findRows(BufferOp buffer) {
  auto [kind, number] = buffer.getName().split('.');
  unsigned index = 0;
  number.getAsInteger(10, index);
  if (buffer.getKind() == BufferKind::Output)
    return &outputs[index];
  if (buffer.getKind() == BufferKind::Input && kind == "inputs")
    return &inputs[index];
  return nullptr;
}

LogicalResult ProgramRunner::reloadWeights() {
  ProgramOp program = *module->getOps<ProgramOp>().begin();
  WeightPacker packer(pool);
  for (auto buffer : program.getOps<BufferOp>()) {
    if (buffer.getKind() != BufferKind::Weight)
      continue;
    char *to = places.lookup(buffer);
    llvm::Error error = packer.write(buffer, [&](ArrayRef<char> packed) {
      std::memcpy(to, packed.data(), packed.size());
      to += packed.size();
      return llvm::Error::success();
    });
    if (error)
      return buffer.emitError() << llvm::toString(std::move(error));
  }
  return success();
}

LogicalResult
ProgramRunner::bind(const llvm::StringMap<llqrt_kernel> &kernels) {
  ProgramOp program = *module->getOps<ProgramOp>().begin();
  FailureOr<char *> arena = allocate(program, program.getArenaBytes());
  if (failed(arena))
    return failure();
  int64_t scratchBytes = llvm::alignTo(program.getScratchBytes(), 64);
  for (int64_t i = 0, e = kChunksPerThread * pool.threads(); i < e; ++i) {
    FailureOr<char *> data = allocate(program, scratchBytes);
    if (failed(data))
      return failure();
    scratch.push_back(*data);
  }

  for (auto buffer : program.getOps<BufferOp>()) {
    if (buffer.getKind() == BufferKind::Temporary) {
      places[buffer] = *arena + buffer.getOffset().value_or(0);
      continue;
    }
    int64_t bytes = buffer.getKind() == BufferKind::Weight ? buffer.getBytes()
                    : buffer.getKind() == BufferKind::State
                        ? buffer.getBytesPerPosition() * capacity
                        : buffer.getBytesPerToken() * program.getMaxTokens();
    FailureOr<char *> data = allocate(buffer, bytes);
    if (failed(data))
      return failure();
    places[buffer] = *data;
    if (ProgramRows *rows = findRows(buffer)) {
      rows->data = reinterpret_cast<float *>(*data);
      rows->stride = buffer.getBytesPerToken() / sizeof(float);
    } else if (buffer.getKind() == BufferKind::Input) {
      ids = reinterpret_cast<int32_t *>(*data);
    }
  }
  for (auto dispatch : program.getOps<DispatchOp>()) {
    Step step{kernels.lookup(dispatch.getKernel()),
              {},
              int64_t(dispatch.getItems()),
              int64_t(dispatch.getItemsPerToken())};
    for (Value buffer : dispatch.getBuffers())
      step.buffers.push_back(places.lookup(buffer));
    steps.push_back(std::move(step));
  }
  return reloadWeights();
}

void ProgramRunner::run(int64_t tokens, int64_t past) {
  llqrt_call call = {0, tokens, past, capacity};
  for (const Step &step : steps) {
    int64_t items = step.items + step.itemsPerToken * tokens;
    int64_t grain =
        std::max<int64_t>(1, llvm::divideCeil(items, int64_t(scratch.size())));
    pool.parallelFor(0, items, grain, [&](int64_t begin, int64_t end) {
      step.kernel(step.buffers.data(), &call, begin, end,
                  scratch[begin / grain]);
    });
  }
}
