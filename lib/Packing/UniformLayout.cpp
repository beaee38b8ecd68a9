//===- UniformLayout.cpp - Packs #llq.uniform for the CPU -----------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Packing/UniformLayout.h"
#include "CodeBlocks.h"
#include "llq/Numerics/BitPacking.h"
#include "llq/Numerics/Float16.h"

#include "mlir/IR/DialectRegistry.h"
#include "llvm/Support/MathExtras.h"

#include <cstring>
#include <numeric>

using namespace mlir;
using namespace llq;

ArrayRef<int64_t> UniformLayout::getPlanes(int64_t bits) {
  static const std::initializer_list<int64_t> planes[] = {
      {1}, {2}, {2, 1}, {4}, {4, 1}, {4, 2}, {4, 2, 1}, {8}};
  return planes[bits - 1];
}

UniformLayout::UniformLayout(UniformAttr format, int64_t k) {
  int64_t padded = getPaddedColumns(k);
  int64_t group = format.getGroupSize(k);
  // One group per row also covers the padding of K.
  if (group >= k)
    unitColumns = padded;
  else
    unitColumns =
        group % kBlockColumns == 0 ? group : std::gcd(group, kBlockColumns);
  units = llvm::divideCeil(padded, unitColumns);
  blocks = padded / kBlockColumns;
  scaleBytes = format.getScale() == ScaleType::F16 ? 2 : 4;
  zeroBits = format.getZero() == ZeroPoint::None    ? 0
             : format.getZero() == ZeroPoint::Float ? 16
             : format.getBits() <= 4                ? 4
                                                    : 8;
  zerosOffset = units * kTileRows * scaleBytes;
  codesOffset =
      llvm::alignTo(zerosOffset + units * kTileRows * zeroBits / 8, 64);
  blockBytes = format.getBits() * 64;
  tileBytes = codesOffset + blocks * blockBytes;
}

namespace {

struct UniformCPULayout
    : CPULayoutInterface::ExternalModel<UniformCPULayout, UniformAttr> {
  LogicalResult verifyCPULayout(Attribute attr,
                                function_ref<InFlightDiagnostic()> emitError,
                                int64_t k) const {
    auto format = cast<UniformAttr>(attr);
    int64_t group = format.getGroupSize(k);
    if (group < k && group % 4)
      return emitError() << "the cpu target needs a group size that is a "
                            "multiple of 4, found "
                         << group;
    return success();
  }

  int64_t getTileBytes(Attribute attr, int64_t k) const {
    return UniformLayout(cast<UniformAttr>(attr), k).tileBytes;
  }

  void packTile(Attribute attr, ArrayRef<ArrayRef<char>> data, int64_t n,
                int64_t k, int64_t rowBegin, int64_t, char *out) const {
    auto format = cast<UniformAttr>(attr);
    UniformLayout layout(format, k);
    int64_t bits = format.getBits();
    int64_t groups = format.getNumGroups(k), group = format.getGroupSize(k);
    int64_t codeBytes = numerics::packedRowBytes(k, bits);
    int64_t zeroRowBytes = numerics::packedRowBytes(groups, bits);
    auto rowOf = [&](int64_t component, int64_t row, int64_t bytes) {
      return std::span(reinterpret_cast<const uint8_t *>(
                           data[component].data() + row * bytes),
                       bytes);
    };
    std::vector<uint8_t> codes(layout.blocks * kBlockColumns), zeros(groups);
    // Padding rows keep their zero bytes: a scale of zero decodes to zero.
    int64_t rows = std::min(kTileRows, n - rowBegin);
    for (int64_t r = 0; r < rows; ++r) {
      int64_t row = rowBegin + r;
      if (format.getZero() == ZeroPoint::Int)
        numerics::unpackCodes(rowOf(2, row, zeroRowBytes), bits, zeros);
      for (int64_t unit = 0; unit < layout.units; ++unit) {
        // A unit past the end of K belongs to no group.
        int64_t g = unit * layout.unitColumns / group;
        if (g >= groups)
          break;
        int64_t to = unit * kTileRows + r, from = row * groups + g;
        std::memcpy(out + to * layout.scaleBytes,
                    data[1].data() + from * layout.scaleBytes,
                    layout.scaleBytes);
        if (layout.zeroBits == 4)
          out[layout.zerosOffset + to / kTileRows * 8 + r % 8] |=
              char(zeros[g] << (r < 8 ? 0 : 4));
        else if (format.getZero() == ZeroPoint::Int)
          out[layout.zerosOffset + to] = char(zeros[g]);
        else if (format.getZero() == ZeroPoint::Float)
          std::memcpy(out + layout.zerosOffset + to * 2,
                      data[2].data() + from * 2, 2);
      }
      numerics::unpackCodes(rowOf(0, row, codeBytes), bits,
                            std::span(codes).first(k));
      for (int64_t block = 0; block < layout.blocks; ++block)
        packPlanes(&codes[block * kBlockColumns],
                   UniformLayout::getPlanes(bits), r,
                   out + layout.codesOffset + block * layout.blockBytes);
    }
  }
};

} // namespace

void llq::registerCPULayouts(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, LLQDialect *) {
    UniformAttr::attachInterface<UniformCPULayout>(*context);
  });
  registerGroupedCPULayouts(registry);
  registerE8PCPULayout(registry);
  registerOutliersCPULayout(registry);
}
