//===- CheckModel.cpp - The meaning of a model file's header --------------===//
//
// What the FlatBuffers verifier cannot know: ranges of indices, regions inside
// the file and apart from each other, sizes without overflow, a program whose
// every access stays inside its buffers. Kernels get what these checks let
// through, so they are the last line before native code.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ModelReader.h"

#include "Text.h"
#include "llqrt/FileFormat.h"

#include <algorithm>
#include <cmath>
#include <set>

using namespace llqrt;

/// No size that a model can ask for comes near this; sums and products of
/// checked sizes stay inside 64 bits.
static constexpr uint64_t sizeLimit = uint64_t(1) << 46;
static constexpr uint32_t contextLimit = 1u << 26;
static constexpr uint32_t maxTokensLimit = 1u << 16;
static constexpr size_t dispatchBufferLimit = 64;
static constexpr size_t bufferLimit = 1u << 16;
static constexpr size_t dispatchLimit = 1u << 16;

/// False if `count * bytes` exceeds the limit.
static bool sizeFits(uint64_t count, uint64_t bytes) {
  return bytes == 0 || count <= sizeLimit / bytes;
}

static Status bad(std::string what) { return Status::badFile(std::move(what)); }

static Status checkArchitecture(const ArchitectureInfo &a) {
  constexpr uint32_t limit = 1u << 30;
  struct {
    const char *name;
    uint32_t value;
  } required[] = {{"hidden", a.hidden},    {"layers", a.layers},
                  {"heads", a.heads},      {"kv_heads", a.kvHeads},
                  {"head_dim", a.headDim}, {"ffn", a.ffn},
                  {"context", a.context},  {"vocab", a.tokenLimit}};
  for (const auto &field : required)
    if (field.value == 0 || field.value > limit)
      return bad(std::string("architecture: ") + field.name +
                 " is out of range: " + std::to_string(field.value));
  if (a.vocab > limit)
    return bad("architecture: vocab is out of range: " +
               std::to_string(a.vocab));
  if (a.context > contextLimit)
    return bad("architecture: context is out of range: " +
               std::to_string(a.context));
  if (a.heads % a.kvHeads != 0)
    return bad("architecture: heads is no multiple of kv_heads");
  auto finite = [](double value) { return std::isfinite(value); };
  if (!finite(a.ropeTheta) || !finite(a.normEps) ||
      !std::all_of(a.ropeParameters.begin(), a.ropeParameters.end(), finite))
    return bad("architecture: a number is not finite");
  return {};
}

namespace {
struct NamedRegion {
  FileRegion region;
  std::string name;
};
} // namespace

static Status checkRegions(const ModelInfo &model, uint64_t headerEnd) {
  std::vector<NamedRegion> regions;
  for (const WeightInfo &weight : model.weights)
    regions.push_back({weight.region, "weight " + quoted(weight.name)});
  for (const TargetInfo &target : model.targets)
    for (const CodeInfo &code : target.code)
      regions.push_back({code.region, "code for " + quoted(code.level)});
  for (const NamedRegion &named : regions)
    if (named.region.bytes == 0)
      return bad(named.name + " has no bytes");
  if (model.tokenizer.bytes)
    regions.push_back({model.tokenizer, "the tokenizer"});

  std::sort(regions.begin(), regions.end(),
            [](const NamedRegion &a, const NamedRegion &b) {
              return a.region.offset < b.region.offset;
            });
  uint64_t end = headerEnd;
  const std::string *before = nullptr;
  for (const auto &[region, name] : regions) {
    if (region.offset % LLQRT_SEGMENT_ALIGNMENT != 0)
      return bad(name + " does not begin at a multiple of " +
                 std::to_string(LLQRT_SEGMENT_ALIGNMENT) + " bytes");
    if (region.offset > model.fileBytes ||
        region.bytes > model.fileBytes - region.offset)
      return bad(name + " lies outside the file");
    if (region.offset < end)
      return bad(name + " overlaps " + (before ? *before : "the header"));
    end = region.offset + region.bytes;
    before = &name;
  }
  return {};
}

static Status checkLinears(const ModelInfo &model) {
  for (const LinearInfo &linear : model.linears) {
    if (linear.name.empty())
      return bad("a linear layer has no name");
    if (linear.rows == 0 || linear.columns == 0 || linear.bytes == 0 ||
        linear.bytes > model.fileBytes)
      return bad("linear layer " + quoted(linear.name) +
                 " has a size out of range");
  }
  return {};
}

static Status checkBuffer(const ModelInfo &model, const ProgramInfo &program,
                          const BufferInfo &buffer) {
  uint64_t context =
      (uint64_t(model.architecture.context) + LLQRT_POSITION_BLOCK - 1) /
      LLQRT_POSITION_BLOCK * LLQRT_POSITION_BLOCK;
  std::string name = "buffer " + quoted(buffer.name);
  switch (buffer.kind) {
  case BufferKind::Input:
  case BufferKind::Output:
  case BufferKind::Temporary:
    if (buffer.bytesPerToken == 0 ||
        !sizeFits(program.maxTokens, buffer.bytesPerToken))
      return bad(name + " has a size out of range");
    if (buffer.kind != BufferKind::Temporary)
      return {};
    if (buffer.offset % 64 != 0)
      return bad(name + " is not aligned to 64 bytes");
    if (buffer.offset > program.arenaBytes ||
        buffer.bytesPerToken * program.maxTokens >
            program.arenaBytes - buffer.offset)
      return bad(name + " lies outside the arena");
    return {};
  case BufferKind::Weight:
    if (buffer.weight >= model.weights.size())
      return bad(name + " is a weight that does not exist");
    return {};
  case BufferKind::State:
    if (buffer.bytesPerPosition == 0 ||
        !sizeFits(context, buffer.bytesPerPosition))
      return bad(name + " has a size out of range");
    return {};
  }
  return bad(name + " is of an unknown kind");
}

static Status checkDispatch(const TargetInfo &target, size_t index) {
  const ProgramInfo &program = target.program;
  const DispatchInfo &dispatch = program.dispatches[index];
  std::string name = "dispatch " + std::to_string(index);
  if (dispatch.kernel >= target.kernels.size())
    return bad(name + " runs a kernel that does not exist");
  if (dispatch.buffers.size() > dispatchBufferLimit)
    return bad(name + " has too many buffers");
  for (uint32_t buffer : dispatch.buffers)
    if (buffer >= program.buffers.size())
      return bad(name + " uses a buffer that does not exist");
  if (dispatch.numWrites > dispatch.buffers.size())
    return bad(name + " writes more buffers than it has");
  for (size_t i = dispatch.buffers.size() - dispatch.numWrites;
       i < dispatch.buffers.size(); ++i) {
    const BufferInfo &buffer = program.buffers[dispatch.buffers[i]];
    if (buffer.kind == BufferKind::Input || buffer.kind == BufferKind::Weight)
      return bad(name + " writes buffer " + quoted(buffer.name) +
                 ", which is read-only");
  }
  if (dispatch.items == 0 && dispatch.itemsPerToken == 0)
    return bad(name + " has no work items");
  return {};
}

static Status checkProgram(const ModelInfo &model, const TargetInfo &target) {
  const ProgramInfo &program = target.program;
  if (program.maxTokens == 0 || program.maxTokens > maxTokensLimit)
    return bad("max_tokens is out of range: " +
               std::to_string(program.maxTokens));
  if (program.arenaBytes > sizeLimit || program.scratchBytes > sizeLimit ||
      !sizeFits(contextLimit, program.scratchBytesPerPosition))
    return bad("working memory is out of range");

  if (program.buffers.size() > bufferLimit)
    return bad("the program has too many buffers");
  if (program.dispatches.empty() || program.dispatches.size() > dispatchLimit)
    return bad("the number of dispatches is out of range");
  for (const BufferInfo &buffer : program.buffers)
    LLQRT_RETURN_IF_ERROR(checkBuffer(model, program, buffer));
  for (size_t i = 0; i < program.dispatches.size(); ++i)
    LLQRT_RETURN_IF_ERROR(checkDispatch(target, i));

  auto isOnly = [&](BufferKind kind, uint32_t index, const char *name) {
    return index < program.buffers.size() &&
           program.buffers[index].kind == kind &&
           program.buffers[index].name == name &&
           std::count_if(
               program.buffers.begin(), program.buffers.end(),
               [&](const BufferInfo &buffer) { return buffer.kind == kind; }) ==
               1;
  };
  if (!isOnly(BufferKind::Input, program.inputBuffer, "ids") ||
      program.buffers[program.inputBuffer].bytesPerToken != sizeof(int32_t))
    return bad("the program's only input must be \"ids\", 4 bytes per token");
  uint64_t outputBytes =
      program.outputBuffer < program.buffers.size()
          ? program.buffers[program.outputBuffer].bytesPerToken
          : 0;
  if (!isOnly(BufferKind::Output, program.outputBuffer, "outputs") ||
      outputBytes % sizeof(float) != 0 ||
      outputBytes / sizeof(float) < model.architecture.outputWidth())
    return bad("the program's only output must be \"outputs\", a row of the "
               "vocabulary or hidden size per token");
  return {};
}

static Status checkTarget(const ModelInfo &model, const TargetInfo &target) {
  if (target.code.empty())
    return bad("it has no code");
  std::set<std::pair<std::string, std::string>> levels;
  for (const CodeInfo &code : target.code)
    if (code.level.empty() || !levels.insert({code.machine, code.level}).second)
      return bad("code level " + quoted(code.level) +
                 " is empty or occurs twice");
  for (const std::string &kernel : target.kernels)
    if (kernel.empty() || kernel.find('\0') != std::string::npos)
      return bad("a kernel has no proper name");
  return checkProgram(model, target);
}

Status llqrt::checkModel(const ModelInfo &model, uint64_t headerEnd) {
  LLQRT_RETURN_IF_ERROR(checkArchitecture(model.architecture));
  LLQRT_RETURN_IF_ERROR(checkRegions(model, headerEnd));
  LLQRT_RETURN_IF_ERROR(checkLinears(model));
  std::set<std::string> names;
  for (const TargetInfo &target : model.targets) {
    if (target.name.empty() || !names.insert(target.name).second)
      return bad("target " + quoted(target.name) +
                 " has no name or occurs twice");
    LLQRT_RETURN_IF_ERROR(
        checkTarget(model, target).within("target " + quoted(target.name)));
  }
  return {};
}
