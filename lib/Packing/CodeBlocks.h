//===- CodeBlocks.h - Codes spread over the planes of a block ---*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#ifndef LIB_PACKING_CODEBLOCKS_H
#define LIB_PACKING_CODEBLOCKS_H

#include "llq/Packing/CPULayout.h"

#include <cstdint>

namespace llq {

/// Adds bits [shift, shift + width) of the 32 codes of row `r` to the plane of
/// that width at `plane`, which has width * 64 bytes. Returns its end.
inline char *packPlane(const uint8_t *codes, int64_t shift, int64_t width,
                       int64_t r, char *plane) {
  int64_t fields = 8 / width, mask = (1 << width) - 1;
  for (int64_t c = 0; c < width; ++c, plane += 64)
    for (int64_t f = 0; f < fields; ++f)
      for (int64_t j = 0; j < 4; ++j)
        plane[4 * r + j] |= char(
            ((codes[4 * (c * fields + f) + j] >> shift) & mask) << (f * width));
  return plane;
}

/// The same for all planes of codes of `bits` bits.
inline void packPlanes(const uint8_t *codes, llvm::ArrayRef<int64_t> widths,
                       int64_t r, char *block) {
  int64_t shift = 0;
  for (int64_t width : widths) {
    block = packPlane(codes, shift, width, r, block);
    shift += width;
  }
}

/// Bit `bit` of the codes of row `r`, as a plane of one bit in each block: the
/// first one at `plane`, the next `blockBytes` behind it.
inline void packBit(llvm::ArrayRef<uint8_t> codes, int64_t bit, int64_t r,
                    int64_t blockBytes, char *plane) {
  for (size_t at = 0; at < codes.size(); at += kBlockColumns) {
    packPlane(codes.data() + at, bit, 1, r, plane);
    plane += blockBytes;
  }
}

/// Attaches the layouts of GroupedLayouts.cpp, E8PLayout.cpp and
/// OutliersLayout.cpp.
void registerGroupedCPULayouts(mlir::DialectRegistry &registry);
void registerE8PCPULayout(mlir::DialectRegistry &registry);
void registerOutliersCPULayout(mlir::DialectRegistry &registry);

} // namespace llq

#endif // LIB_PACKING_CODEBLOCKS_H
