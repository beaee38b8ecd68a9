//===- ModelReader.cpp - Prelude and FlatBuffer of a model file -----------===//
//
// Copies the FlatBuffer into plain values once its own verifier has accepted it
// (which says nothing about their meaning: CheckModel.cpp does).
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "ModelReader.h"

#include "llqrt/FileFormat.h"
#include "llqrt/schema/llq_generated.h"

#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace llqrt;

uint64_t llqrt::checksumOf(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

Status llqrt::checkRegion(std::span<const std::byte> file,
                          const FileRegion &region, const std::string &what) {
  if (checksumOf(file.subspan(region.offset, region.bytes)) == region.checksum)
    return {};
  return Status::badFile("the file is damaged: checksum of " + what +
                         " does not match");
}

static std::string toString(const flatbuffers::String *text) {
  return text ? text->str() : std::string();
}

static FileRegion toRegion(const fb::Region *region) {
  if (!region)
    return {};
  return {region->offset(), region->bytes(), region->checksum()};
}

/// Calls append(*element) for each element of a vector that may be missing.
template <typename Vector, typename Append>
static void forEach(const Vector *vector, Append append) {
  if (vector)
    for (const auto *element : *vector)
      append(*element);
}

static ArchitectureInfo toArchitecture(const fb::Architecture &from) {
  ArchitectureInfo to;
  to.hidden = from.hidden();
  to.layers = from.layers();
  to.heads = from.heads();
  to.kvHeads = from.kv_heads();
  to.headDim = from.head_dim();
  to.ffn = from.ffn();
  to.vocab = from.vocab();
  to.context = from.context();
  to.ropeTheta = from.rope_theta();
  to.ropeScaling = toString(from.rope_scaling());
  // The verifier does not look at the alignment of a vector's elements.
  const auto *parameters = from.rope_parameters();
  if (parameters && parameters->size() != 0) {
    to.ropeParameters.resize(parameters->size());
    std::memcpy(to.ropeParameters.data(), parameters->Data(),
                parameters->size() * sizeof(double));
  }
  to.normEps = from.norm_eps();
  to.tiedEmbeddings = from.tied_embeddings();
  to.tokenLimit = from.embedding_rows() ? from.embedding_rows() : from.vocab();
  return to;
}

static ProgramInfo toProgram(const fb::Program &from) {
  ProgramInfo to;
  to.maxTokens = from.max_tokens();
  to.arenaBytes = from.arena_bytes();
  to.scratchBytes = from.scratch_bytes();
  to.scratchBytesPerPosition = from.scratch_bytes_per_position();
  forEach(from.buffers(), [&](const fb::Buffer &buffer) {
    auto index = static_cast<uint32_t>(to.buffers.size());
    if (buffer.kind() == fb::BufferKind::Input)
      to.inputBuffer = index;
    if (buffer.kind() == fb::BufferKind::Output)
      to.outputBuffer = index;
    to.buffers.push_back({toString(buffer.name()),
                          static_cast<BufferKind>(buffer.kind()),
                          buffer.bytes_per_token(), buffer.bytes_per_position(),
                          buffer.offset(), buffer.weight()});
  });
  forEach(from.dispatches(), [&](const fb::Dispatch &dispatch) {
    DispatchInfo info;
    info.kernel = dispatch.kernel();
    if (dispatch.buffers())
      info.buffers.assign(dispatch.buffers()->begin(),
                          dispatch.buffers()->end());
    info.items = dispatch.items();
    info.itemsPerToken = dispatch.items_per_token();
    info.numWrites = dispatch.num_writes();
    info.outputsOnly = dispatch.outputs_only();
    to.dispatches.push_back(std::move(info));
  });
  return to;
}

static TargetInfo toTarget(const fb::Target &from) {
  TargetInfo to;
  to.name = toString(from.name());
  forEach(from.kernels(), [&](const flatbuffers::String &name) {
    to.kernels.push_back(name.str());
  });
  if (from.program())
    to.program = toProgram(*from.program());
  forEach(from.code(), [&](const fb::Code &code) {
    to.code.push_back({toString(code.machine()), toString(code.level()),
                       toRegion(code.region())});
  });
  return to;
}

static void toModel(const fb::Model &from, ModelInfo &to) {
  if (from.architecture())
    to.architecture = toArchitecture(*from.architecture());
  forEach(from.linears(), [&](const fb::Linear &linear) {
    to.linears.push_back({toString(linear.name()), linear.rows(),
                          linear.columns(), toString(linear.format()),
                          linear.bytes(), toString(linear.accuracy()),
                          toString(linear.method()), linear.in_block()});
  });
  forEach(from.weights(), [&](const fb::Weight &weight) {
    to.weights.push_back({toString(weight.name()), toRegion(weight.region())});
  });
  forEach(from.targets(), [&](const fb::Target &target) {
    to.targets.push_back(toTarget(target));
  });
  to.tokenizer = toRegion(from.tokenizer());
  if (const fb::Provenance *provenance = from.provenance())
    to.provenance = {
        toString(provenance->source()), toString(provenance->source_sha256()),
        toString(provenance->pipeline()), toString(provenance->calibration()),
        toString(provenance->tool_version())};
  to.kvCache = toString(from.kv_cache());
}

static Status readPrelude(std::span<const std::byte> file,
                          llqrt_prelude &prelude) {
  if (file.size() < sizeof(prelude) ||
      std::memcmp(file.data(), LLQRT_MAGIC, sizeof(prelude.magic)) != 0)
    return Status::badFile("not an LLQ model file");
  std::memcpy(&prelude, file.data(), sizeof(prelude));
  if (prelude.version != LLQRT_FORMAT_VERSION)
    return Status::badFile("format version " + std::to_string(prelude.version) +
                           " is not supported, this runtime reads version " +
                           std::to_string(LLQRT_FORMAT_VERSION) +
                           "; compile the model again");
  constexpr size_t checked = offsetof(llqrt_prelude, prelude_checksum);
  if (checksumOf(file.first(checked)) != prelude.prelude_checksum)
    return Status::badFile("the file is damaged: checksum of the prelude does "
                           "not match");
  if (prelude.file_bytes != file.size())
    return Status::badFile(
        "the file is " +
        std::string(file.size() < prelude.file_bytes ? "truncated"
                                                     : "too long") +
        ": it has " + std::to_string(file.size()) + " bytes instead of " +
        std::to_string(prelude.file_bytes));
  if (prelude.header_offset < sizeof(prelude) ||
      prelude.header_offset % 16 != 0 || prelude.header_offset > file.size() ||
      prelude.header_bytes > file.size() - prelude.header_offset)
    return Status::badFile("the header lies outside the file");
  return {};
}

Status llqrt::readModel(std::span<const std::byte> file, ModelInfo &model) {
  llqrt_prelude prelude;
  LLQRT_RETURN_IF_ERROR(readPrelude(file, prelude));
  auto header = file.subspan(prelude.header_offset, prelude.header_bytes);
  if (checksumOf(header) != prelude.header_checksum)
    return Status::badFile("the file is damaged: checksum of the header does "
                           "not match");

  // The schema nests five tables deep. The limit on tables keeps a header of
  // shared tables from taking forever; 8B models have some thousand.
  constexpr size_t maxDepth = 16, maxTables = 4'000'000;
  if (header.size() >= FLATBUFFERS_MAX_BUFFER_SIZE)
    return Status::badFile("the header is too long");
  auto *bytes = reinterpret_cast<const uint8_t *>(header.data());
  flatbuffers::Verifier verifier(bytes, header.size(), maxDepth, maxTables);
  if (!fb::VerifyModelBuffer(verifier))
    return Status::badFile("the header is not a valid model description");
  toModel(*fb::GetModel(bytes), model);
  model.fileBytes = file.size();
  return checkModel(model, prelude.header_offset + prelude.header_bytes);
}
