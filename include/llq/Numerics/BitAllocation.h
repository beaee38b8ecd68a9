//===- BitAllocation.h - Bits of each layer for a total size ----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LLQ_NUMERICS_BITALLOCATION_H
#define LLQ_NUMERICS_BITALLOCATION_H

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace llq::numerics {

/// One width that a layer can have.
struct WidthChoice {
  int64_t bytes;
  double cost;
};

/// Picks one choice for each layer so that all fit into `budget` bytes and the
/// sum of costs is small: beginning with the smallest choices, the step along
/// the lower convex hull of some layer's choices that saves most cost per byte
/// is taken, as long as it fits. Optimal for the sizes at which no step is left
/// out (Shoham and Gersho, "Efficient bit allocation for an arbitrary set of
/// quantizers", 1988). Choices are in order of bytes. Nothing if the smallest
/// ones do not fit; equal inputs give equal results.
std::optional<std::vector<size_t>>
allocateBits(const std::vector<std::vector<WidthChoice>> &layers,
             int64_t budget);

} // namespace llq::numerics

#endif // LLQ_NUMERICS_BITALLOCATION_H
