//===- ModelHeader.h - The FlatBuffer of a model file -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LIB_EMIT_MODELHEADER_H
#define LIB_EMIT_MODELHEADER_H

#include "dialects/LLQ/LLQ.h"
#include "llq/Codegen/CPULevel.h"
#include "llq/Emit/Emit.h"
#include "llqrt/schema/llq_generated.h"

#include <string>
#include <vector>

namespace llq {

/// A code segment and, once written, its place.
struct NativeCode {
  const CPULevel *level;
  std::string bytes;
  llqrt::fb::Region region;
};

/// A weight buffer of the program and, once written, its place.
struct WeightSegment {
  BufferOp buffer;
  llqrt::fb::Region region;
};

/// Gathers what the header says from a module in program form. The sizes of the
/// segments are known from the start; their offsets and checksums may be filled
/// in later without changing the size of the header.
class ModelHeader {
public:
  ModelHeader(mlir::ModuleOp module, const EmitOptions &options)
      : sourceSha256(options.sourceSha256), module(module), options(options) {}

  /// Finds program, architecture and weights; emits an error if one is missing.
  mlir::LogicalResult collect();

  /// The bytes of the FlatBuffer, from what is known now.
  std::vector<char> build();

  double getBitsPerWeight(bool total) const;

  std::vector<NativeCode> code;
  std::vector<WeightSegment> weights;
  llqrt::fb::Region tokenizer;
  /// 64 digits, or empty.
  std::string sourceSha256;

private:
  /// A linear layer, or the embedding.
  struct Layer {
    WeightPartAttr part;
    int64_t rows, columns, bytes;
    std::string accuracy;
    bool inBlock;
  };
  void collectLayers();
  flatbuffers::Offset<llqrt::fb::Target>
  buildTarget(flatbuffers::FlatBufferBuilder &fb);

  mlir::ModuleOp module;
  const EmitOptions &options;
  ProgramOp program;
  ArchitectureAttr architecture;
  std::vector<Layer> layers;
  std::string cacheType;
};

} // namespace llq

#endif // LIB_EMIT_MODELHEADER_H
