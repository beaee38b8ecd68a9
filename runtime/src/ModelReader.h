//===- ModelReader.h - From the bytes of a file to ModelInfo ----*- C++ -*-===//
//
// Opening trusts nothing: prelude and header against their checksums, the
// FlatBuffers verifier, then checks of our own over plain values, then each
// region's checksum.
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQRT_SRC_MODELREADER_H
#define LLQRT_SRC_MODELREADER_H

#include "llqrt/ModelInfo.h"
#include "llqrt/Status.h"

#include <cstddef>
#include <span>

namespace llqrt {

/// Reads prelude and header of a model file. On success everything that
/// ModelInfo.h promises holds, except that no region's checksum was computed.
Status readModel(std::span<const std::byte> file, ModelInfo &model);

/// The checks of readModel() after parsing. `headerEnd` is where regions may
/// begin.
Status checkModel(const ModelInfo &model, uint64_t headerEnd);

/// XXH3-64.
uint64_t checksumOf(std::span<const std::byte> bytes);

/// Compares a region's bytes with its checksum; `what` names it.
Status checkRegion(std::span<const std::byte> file, const FileRegion &region,
                   const std::string &what);

} // namespace llqrt

#endif // LLQRT_SRC_MODELREADER_H
