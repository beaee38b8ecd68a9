//===- ModelInfo.cpp - Figures about a model ------------------------------===//
//
// Sizes are always computed from bytes, never from what a format promises.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llqrt/ModelInfo.h"

#include <algorithm>

using namespace llqrt;

uint64_t ModelInfo::weightBytes() const {
  uint64_t bytes = 0;
  for (const WeightInfo &weight : weights)
    bytes += weight.region.bytes;
  return bytes;
}

uint64_t ModelInfo::codeBytes() const {
  uint64_t bytes = 0;
  for (const TargetInfo &target : targets)
    for (const CodeInfo &code : target.code)
      bytes += code.region.bytes;
  return bytes;
}

double ModelInfo::bitsPerWeight(bool total) const {
  double bits = 0, count = 0;
  for (const LinearInfo &linear : linears) {
    if (!total && !linear.inBlock)
      continue;
    bits += 8.0 * static_cast<double>(linear.bytes);
    count += static_cast<double>(linear.rows) * linear.columns;
  }
  return count == 0 ? 0 : bits / count;
}

const TargetInfo *ModelInfo::findTarget(const std::string &name) const {
  auto found = std::find_if(
      targets.begin(), targets.end(),
      [&](const TargetInfo &target) { return target.name == name; });
  return found == targets.end() ? nullptr : &*found;
}

uint64_t llqrt::weightBytesPerToken(const ModelInfo &model,
                                    const ProgramInfo &program) {
  std::vector<uint64_t> read(model.weights.size(), 0);
  for (const DispatchInfo &dispatch : program.dispatches) {
    bool lookUp = std::find(dispatch.buffers.begin(), dispatch.buffers.end(),
                            program.inputBuffer) != dispatch.buffers.end();
    for (uint32_t index : dispatch.buffers) {
      const BufferInfo &buffer = program.buffers[index];
      if (buffer.kind != BufferKind::Weight)
        continue;
      uint64_t bytes = model.weights[buffer.weight].region.bytes;
      if (lookUp)
        bytes /= model.architecture.tokenLimit;
      read[buffer.weight] = std::max(read[buffer.weight], bytes);
    }
  }
  uint64_t bytes = 0;
  for (uint64_t part : read)
    bytes += part;
  return bytes;
}

uint64_t llqrt::cacheBytesPerToken(const ProgramInfo &program) {
  uint64_t bytes = 0;
  for (const BufferInfo &buffer : program.buffers)
    if (buffer.kind == BufferKind::State)
      bytes += buffer.bytesPerPosition;
  return bytes;
}
