//===- Emit.cpp - Writes the model binary ---------------------------------===//
//
// Prelude, FlatBuffer header, then code, tokenizer and weights as aligned
// segments. The header needs the checksums of the segments, so its place is
// kept free while they are written; its size does not depend on them.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Emit/Emit.h"
#include "ModelHeader.h"
#include "llq/Emit/WeightPacker.h"

#include "llq/Codegen/CPU.h"
#include "llq/Support/OutputFile.h"
#include "llqrt/FileFormat.h"

#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/MathExtras.h"

#include <chrono>
#include <xxhash.h>

using namespace mlir;
using namespace llq;

namespace {

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

/// The output, a segment at a time.
class ModelFile {
public:
  explicit ModelFile(OutputFile file) : file(std::move(file)) {}

  /// Writes a segment at the next aligned offset; `produce` feeds its bytes.
  llvm::Expected<llqrt::fb::Region>
  segment(llvm::function_ref<llvm::Error(WeightPacker::Sink)> produce) {
    llvm::raw_fd_ostream &os = file.stream();
    uint64_t offset = llvm::alignTo(os.tell(), LLQRT_SEGMENT_ALIGNMENT);
    os.write_zeros(offset - os.tell());
    std::unique_ptr<XXH3_state_t, void (*)(XXH3_state_t *)> hash(
        XXH3_createState(), [](XXH3_state_t *s) { XXH3_freeState(s); });
    XXH3_64bits_reset(hash.get());
    llvm::Error error = produce([&](ArrayRef<char> bytes) {
      XXH3_64bits_update(hash.get(), bytes.data(), bytes.size());
      os.write(bytes.data(), bytes.size());
      return file.check();
    });
    if (error)
      return std::move(error);
    return llqrt::fb::Region(offset, os.tell() - offset,
                             XXH3_64bits_digest(hash.get()));
  }

  uint64_t tell() { return file.stream().tell(); }
  void skip(uint64_t bytes) { file.stream().write_zeros(bytes); }
  void writeAt(uint64_t offset, ArrayRef<char> bytes) {
    file.stream().pwrite(bytes.data(), bytes.size(), offset);
  }
  llvm::Error keep() { return file.keep(); }

private:
  OutputFile file;
};

} // namespace

static llqrt_prelude makePrelude(ArrayRef<char> header, uint64_t fileBytes) {
  llqrt_prelude prelude = {};
  std::memcpy(prelude.magic, LLQRT_MAGIC, sizeof(prelude.magic));
  prelude.version = LLQRT_FORMAT_VERSION;
  prelude.header_offset = sizeof(prelude);
  prelude.header_bytes = header.size();
  prelude.header_checksum = XXH3_64bits(header.data(), header.size());
  prelude.file_bytes = fileBytes;
  prelude.prelude_checksum =
      XXH3_64bits(&prelude, offsetof(llqrt_prelude, prelude_checksum));
  return prelude;
}

/// Compiles the kernel modules of `module` (removed from it), each in a context
/// of its own so that levels compile at the same time.
static LogicalResult compileKernels(ModuleOp module, unsigned threads,
                                    std::vector<NativeCode> &code) {
  std::vector<std::string> sources, errors;
  for (auto kernels : llvm::make_early_inc_range(module.getOps<ModuleOp>())) {
    auto name = kernels->getAttrOfType<StringAttr>("llq.level");
    const CPULevel *level = name ? findCPULevel(name.getValue()) : nullptr;
    if (!level)
      return kernels.emitError("kernel module without a known llq.level");
    llvm::raw_string_ostream os(sources.emplace_back());
    if (failed(writeBytecodeToFile(kernels, os)))
      return kernels.emitError("cannot serialize the kernels");
    code.push_back({level, {}, {}});
    kernels.erase();
  }
  errors.resize(sources.size());
  ThreadPool pool(threads);
  pool.parallelFor(0, sources.size(), 1, [&](int64_t i, int64_t) {
    DialectRegistry registry;
    registerKernelDialects(registry);
    MLIRContext context(registry, MLIRContext::Threading::DISABLED);
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      if (errors[i].empty())
        errors[i] = diagnostic.str();
      return success();
    });
    auto kernels = parseSourceString<ModuleOp>(sources[i], &context);
    if (!kernels)
      return;
    FailureOr<std::string> bytes =
        compileToSharedObject(*kernels, *code[i].level);
    if (succeeded(bytes))
      code[i].bytes = std::move(*bytes);
  });
  for (auto [segment, error] : llvm::zip(code, errors))
    if (segment.bytes.empty())
      return module.emitError()
             << "code generation for " << segment.level->name << ": " << error;
  return success();
}

/// Everything behind code generation; errors without a location.
static llvm::Error write(ModelHeader &header, ModelFile &file,
                         const EmitOptions &options, EmitReport &report) {
  std::vector<char> placeholder = header.build();
  file.skip(sizeof(llqrt_prelude) + placeholder.size());

  auto writeBytes = [&](ArrayRef<char> bytes) {
    return file.segment([&](WeightPacker::Sink sink) { return sink(bytes); });
  };
  for (NativeCode &code : header.code) {
    auto region = writeBytes(code.bytes);
    if (!region)
      return region.takeError();
    code.region = *region;
    report.codeBytes += region->bytes();
  }
  if (!options.tokenizer.empty()) {
    auto region = writeBytes(options.tokenizer);
    if (!region)
      return region.takeError();
    header.tokenizer = *region;
  }
  auto start = std::chrono::steady_clock::now();
  ThreadPool pool(options.threads);
  WeightPacker packer(pool);
  for (WeightSegment &weight : header.weights) {
    auto region = file.segment([&](WeightPacker::Sink sink) {
      return packer.write(weight.buffer, sink);
    });
    if (!region)
      return region.takeError();
    if (region->bytes() != uint64_t(weight.buffer.getBytes()))
      return llvm::createStringError("weight " + weight.buffer.getName() +
                                     " takes " + llvm::Twine(region->bytes()) +
                                     " bytes, its buffer has " +
                                     llvm::Twine(weight.buffer.getBytes()));
    weight.region = *region;
    report.weightBytes += region->bytes();
  }
  report.weightSeconds = secondsSince(start);

  if (options.finishSourceSha256) {
    llvm::Expected<std::string> hash = options.finishSourceSha256();
    if (!hash)
      return hash.takeError();
    header.sourceSha256 = *hash;
  }
  std::vector<char> bytes = header.build();
  if (bytes.size() != placeholder.size())
    return llvm::createStringError("the header changed its size");
  report.bytes = file.tell();
  llqrt_prelude prelude = makePrelude(bytes, report.bytes);
  file.writeAt(0, {reinterpret_cast<const char *>(&prelude), sizeof(prelude)});
  file.writeAt(sizeof(prelude), bytes);
  return file.keep();
}

FailureOr<EmitReport> llq::emitModel(ModuleOp module,
                                     const EmitOptions &options) {
  EmitReport report;
  ModelHeader header(module, options);
  if (failed(header.collect()))
    return failure();
  // Before the work, so that a path which cannot be written fails at once.
  auto file = OutputFile::create(options.output);
  if (!file)
    return module.emitError() << llvm::toString(file.takeError());

  auto start = std::chrono::steady_clock::now();
  if (failed(compileKernels(module, options.threads, header.code)))
    return failure();
  report.codeSeconds = secondsSince(start);
  report.bitsPerWeight = header.getBitsPerWeight(/*total=*/false);
  report.bitsPerWeightTotal = header.getBitsPerWeight(/*total=*/true);
  ModelFile modelFile(std::move(*file));
  if (llvm::Error error = write(header, modelFile, options, report))
    return module.emitError() << llvm::toString(std::move(error));
  return report;
}

FailureOr<EmitReport> llq::measureModel(ModuleOp module) {
  EmitOptions options;
  ModelHeader header(module, options);
  if (failed(header.collect()))
    return failure();
  EmitReport report;
  report.bytes = sizeof(llqrt_prelude) + header.build().size();
  for (WeightSegment &weight : header.weights) {
    report.weightBytes += weight.buffer.getBytes();
    report.bytes = llvm::alignTo(report.bytes, LLQRT_SEGMENT_ALIGNMENT) +
                   weight.buffer.getBytes();
  }
  report.bitsPerWeight = header.getBitsPerWeight(/*total=*/false);
  report.bitsPerWeightTotal = header.getBitsPerWeight(/*total=*/true);
  return report;
}
