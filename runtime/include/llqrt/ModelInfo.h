//===- ModelInfo.h - What a model file says about itself --------*- C++ -*-===//
//
// The header of a model file (runtime/schema/llq.fbs) as plain values, all of
// them checked: every index is in range, every region inside the file, every
// size free of overflow. Nothing here refers to the mapped file.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_MODELINFO_H
#define LLQRT_MODELINFO_H

#include <cstdint>
#include <string>
#include <vector>

namespace llqrt {

/// Bytes [offset, offset + bytes) of the file and their XXH3-64.
struct FileRegion {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t checksum = 0;
};

struct ArchitectureInfo {
  uint32_t hidden = 0, layers = 0, heads = 0, kvHeads = 0, headDim = 0, ffn = 0;
  /// 0: no head, outputs are hidden states.
  uint32_t vocab = 0;
  /// Longest sequence, in tokens.
  uint32_t context = 0;
  double ropeTheta = 0;
  /// none | llama3 | linear | table
  std::string ropeScaling;
  std::vector<double> ropeParameters;
  double normEps = 0;
  bool tiedEmbeddings = false;
  /// Token ids are below this.
  uint32_t tokenLimit = 0;

  /// Floats per token of the "outputs" buffer.
  uint32_t outputWidth() const { return vocab ? vocab : hidden; }
};

struct LinearInfo {
  std::string name;
  /// y[rows] = W[rows, columns] x[columns]
  uint32_t rows = 0, columns = 0;
  /// The format attribute's MLIR text.
  std::string format;
  uint64_t bytes = 0;
  /// int8 | exact
  std::string accuracy;
  /// JSON, or empty.
  std::string method;
  /// Part of a decoder block, not embedding or head.
  bool inBlock = false;
};

struct WeightInfo {
  std::string name;
  FileRegion region;
};

enum class BufferKind : uint8_t { Input, Output, Temporary, Weight, State };

/// See Buffer in llq.fbs.
struct BufferInfo {
  std::string name;
  BufferKind kind = BufferKind::Temporary;
  uint64_t bytesPerToken = 0;
  uint64_t bytesPerPosition = 0;
  uint64_t offset = 0;
  uint32_t weight = 0;
};

/// See Dispatch in llq.fbs.
struct DispatchInfo {
  uint32_t kernel = 0;
  std::vector<uint32_t> buffers;
  uint32_t items = 0;
  uint32_t itemsPerToken = 0;
  uint32_t numWrites = 0;
  bool outputsOnly = false;
};

struct ProgramInfo {
  uint32_t maxTokens = 0;
  uint64_t arenaBytes = 0;
  uint64_t scratchBytes = 0;
  uint64_t scratchBytesPerPosition = 0;
  std::vector<BufferInfo> buffers;
  std::vector<DispatchInfo> dispatches;
  /// Indices in buffers of the token ids and of the outputs.
  uint32_t inputBuffer = 0, outputBuffer = 0;
};

struct CodeInfo {
  /// x86-64 | aarch64
  std::string machine;
  std::string level;
  FileRegion region;
};

struct TargetInfo {
  std::string name;
  std::vector<std::string> kernels;
  ProgramInfo program;
  /// From the least to the most capable level.
  std::vector<CodeInfo> code;
};

struct ProvenanceInfo {
  std::string source, sourceSha256, pipeline;
  /// JSON, or empty.
  std::string calibration;
  std::string toolVersion;
};

struct ModelInfo {
  ArchitectureInfo architecture;
  std::vector<LinearInfo> linears;
  std::vector<WeightInfo> weights;
  std::vector<TargetInfo> targets;
  /// No bytes: no tokenizer.
  FileRegion tokenizer;
  ProvenanceInfo provenance;
  /// Type of the KV cache: f32, f16, int8 or int4.
  std::string kvCache;
  uint64_t fileBytes = 0;

  /// Sums over the file's regions.
  uint64_t weightBytes() const;
  uint64_t codeBytes() const;
  /// Bits per weight of the decoder blocks' linear layers, or of all of them
  /// with embedding and head; 0 if there are none.
  double bitsPerWeight(bool total) const;
  /// Null if there is no target of this name.
  const TargetInfo *findTarget(const std::string &name) const;
};

/// Bytes of weights that one call of `program` with one token reads: each
/// weight that a dispatch uses counts once, those that are only looked up by
/// token id (the embedding) with one row.
uint64_t weightBytesPerToken(const ModelInfo &model,
                             const ProgramInfo &program);

/// Bytes of keys and values of one token in the caches of all layers, scales
/// included.
uint64_t cacheBytesPerToken(const ProgramInfo &program);

} // namespace llqrt

#endif // LLQRT_MODELINFO_H
