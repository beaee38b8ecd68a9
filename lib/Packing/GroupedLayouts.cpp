//===- GroupedLayouts.cpp - Packs planes, codebooks and mixed widths ------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Packing/GroupedLayouts.h"
#include "CodeBlocks.h"

#include "llq/Numerics/BitPacking.h"
#include "llq/Packing/UniformLayout.h"

#include "mlir/IR/DialectRegistry.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"

#include <cstring>

using namespace mlir;
using namespace llq;

GroupedLayout::GroupedLayout(int64_t group, int64_t k) {
  int64_t padded = getPaddedColumns(k);
  // One group per row also covers the padding of K.
  unitColumns = group == 0 || group >= k ? padded : group;
  units = llvm::divideCeil(padded, unitColumns);
  blocks = padded / kBlockColumns;
}

PlanesLayout::PlanesLayout(PlanesAttr format, int64_t k)
    : GroupedLayout(format.getGroup(), k) {
  offsetsOffset = units * format.getCount() * kTileRows * 2;
  int64_t offsetBytes = format.getOffset() ? units * kTileRows * 2 : 0;
  blocksOffset = llvm::alignTo(offsetsOffset + offsetBytes, 64);
  blockBytes = format.getCount() * 64;
  tileBytes = blocksOffset + blocks * blockBytes;
}

CodebookLayout::CodebookLayout(CodebookAttr format, int64_t k)
    : GroupedLayout(format.getGroup(), k) {
  listed = format.getTables() * format.getNumListed();
  countsOffset = units * listed * kTileRows * 2;
  int64_t countBytes = format.getTables() > 1 ? units : 0;
  blocksOffset = llvm::alignTo(countsOffset + countBytes, 64);
  blockBytes = format.getBits() * 64;
  tileBytes = blocksOffset + blocks * blockBytes;
}

MixedLayout::MixedLayout(MixedAttr format, int64_t k)
    : GroupedLayout(format.getGroup(), k) {
  offsetsOffset = units * kTileRows * 2;
  headersOffset = 2 * offsetsOffset;
  blocksOffset = llvm::alignTo(headersOffset + units * 4, 64);
  // Padding of the last group may take up to its largest width.
  int64_t padding = (blocks * kBlockColumns - k) * 8;
  tileBytes = llvm::alignTo(
      blocksOffset + (format.getRowBits() + padding) * kTileRows / 8, 64);
}

/// The kernels take whole blocks of a group.
static LogicalResult verifyBlocks(function_ref<InFlightDiagnostic()> emitError,
                                  int64_t group, int64_t k) {
  if (group != 0 && group < k && group % kBlockColumns)
    return emitError() << "the cpu target needs a group size of this format "
                          "that is a multiple of "
                       << kBlockColumns << ", found " << group;
  return success();
}

namespace {

/// Rows of a matrix that make a tile, and the arrays of its format.
struct TileRows {
  ArrayRef<ArrayRef<char>> data;
  int64_t rowBegin, rows;

  TileRows(ArrayRef<ArrayRef<char>> data, int64_t n, int64_t rowBegin)
      : data(data), rowBegin(rowBegin),
        rows(std::min(kTileRows, n - rowBegin)) {}

  /// Copies f16 element `from` of each row of `perRow` elements to
  /// `out[row]`.
  void copyF16(int64_t component, int64_t perRow, int64_t from,
               char *out) const {
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(out + 2 * r,
                  data[component].data() + 2 * ((rowBegin + r) * perRow + from),
                  2);
  }
  std::span<const uint8_t> bytes(int64_t component, int64_t r,
                                 int64_t rowBytes) const {
    return {reinterpret_cast<const uint8_t *>(data[component].data() +
                                              (rowBegin + r) * rowBytes),
            size_t(rowBytes)};
  }
};

struct PlanesCPULayout
    : CPULayoutInterface::ExternalModel<PlanesCPULayout, PlanesAttr> {
  LogicalResult verifyCPULayout(Attribute attr,
                                function_ref<InFlightDiagnostic()> emitError,
                                int64_t k) const {
    return verifyBlocks(emitError, cast<PlanesAttr>(attr).getGroup(), k);
  }

  int64_t getTileBytes(Attribute attr, int64_t k) const {
    return PlanesLayout(cast<PlanesAttr>(attr), k).tileBytes;
  }

  void packTile(Attribute attr, ArrayRef<ArrayRef<char>> data, int64_t n,
                int64_t k, int64_t rowBegin, int64_t, char *out) const {
    auto format = cast<PlanesAttr>(attr);
    PlanesLayout layout(format, k);
    TileRows tile(data, n, rowBegin);
    int64_t count = format.getCount();
    for (int64_t i = 0; i < layout.units * count; ++i)
      tile.copyF16(1, layout.units * count, i, out + i * kTileRows * 2);
    if (format.getOffset())
      for (int64_t i = 0; i < layout.units; ++i)
        tile.copyF16(2, layout.units, i,
                     out + layout.offsetsOffset + i * kTileRows * 2);
    int64_t planeBytes = llvm::divideCeil(k, 8);
    std::vector<uint8_t> bits(layout.blocks * kBlockColumns);
    for (int64_t r = 0; r < tile.rows; ++r) {
      auto planes = tile.bytes(0, r, count * planeBytes);
      for (int64_t p = 0; p < count; ++p) {
        numerics::unpackCodes(planes.subspan(p * planeBytes, planeBytes), 1,
                              std::span(bits).first(k));
        packBit(bits, 0, r, layout.blockBytes,
                out + layout.blocksOffset + p * 64);
      }
    }
  }
};

struct CodebookCPULayout
    : CPULayoutInterface::ExternalModel<CodebookCPULayout, CodebookAttr> {
  LogicalResult verifyCPULayout(Attribute attr,
                                function_ref<InFlightDiagnostic()> emitError,
                                int64_t k) const {
    auto format = cast<CodebookAttr>(attr);
    if (format.getBits() > 2)
      return emitError() << "the cpu target has codebooks of 1 and 2 bits, "
                            "found "
                         << format.getBits();
    return verifyBlocks(emitError, format.getGroup(), k);
  }

  int64_t getTileBytes(Attribute attr, int64_t k) const {
    return CodebookLayout(cast<CodebookAttr>(attr), k).tileBytes;
  }

  void packTile(Attribute attr, ArrayRef<ArrayRef<char>> data, int64_t n,
                int64_t k, int64_t rowBegin, int64_t, char *out) const {
    auto format = cast<CodebookAttr>(attr);
    CodebookLayout layout(format, k);
    TileRows tile(data, n, rowBegin);
    int64_t levels = layout.units * layout.listed;
    for (int64_t i = 0; i < levels; ++i)
      tile.copyF16(1, levels, i, out + i * kTileRows * 2);
    if (format.getTables() > 1)
      std::memcpy(out + layout.countsOffset, data[2].data(), layout.units);
    int64_t bits = format.getBits();
    std::vector<uint8_t> codes(layout.blocks * kBlockColumns);
    for (int64_t r = 0; r < tile.rows; ++r) {
      numerics::unpackCodes(tile.bytes(0, r, numerics::packedRowBytes(k, bits)),
                            bits, std::span(codes).first(k));
      for (int64_t bit = 0; bit < bits; ++bit)
        packBit(codes, bit, r, layout.blockBytes,
                out + layout.blocksOffset + bit * 64);
    }
  }
};

struct MixedCPULayout
    : CPULayoutInterface::ExternalModel<MixedCPULayout, MixedAttr> {
  LogicalResult verifyCPULayout(Attribute attr,
                                function_ref<InFlightDiagnostic()> emitError,
                                int64_t k) const {
    return verifyBlocks(emitError, cast<MixedAttr>(attr).getGroup(), k);
  }

  int64_t getTileBytes(Attribute attr, int64_t k) const {
    return MixedLayout(cast<MixedAttr>(attr), k).tileBytes;
  }

  void packTile(Attribute attr, ArrayRef<ArrayRef<char>> data, int64_t n,
                int64_t k, int64_t rowBegin, int64_t, char *out) const {
    auto format = cast<MixedAttr>(attr);
    MixedLayout layout(format, k);
    TileRows tile(data, n, rowBegin);
    // Where the codes of each unit begin, here and in a row of the matrix.
    std::vector<int64_t> places(layout.units), starts(layout.units);
    int64_t place = layout.blocksOffset, bit = 0;
    for (int64_t unit = 0; unit < layout.units; ++unit) {
      int64_t width = data[3][unit];
      int64_t first = unit * layout.unitColumns;
      int64_t columns = std::min(layout.unitColumns, k - first);
      places[unit] = place;
      starts[unit] = bit;
      tile.copyF16(1, layout.units, unit, out + unit * kTileRows * 2);
      tile.copyF16(2, layout.units, unit,
                   out + layout.offsetsOffset + unit * kTileRows * 2);
      int64_t variant =
          llvm::find(format.getWidths(), width) - format.getWidths().begin();
      llvm::support::endian::write32le(out + layout.headersOffset + 4 * unit,
                                       uint32_t(place / 64 << 8 | variant));
      place += llvm::divideCeil(columns, kBlockColumns) * width * 64;
      bit += columns * width;
    }
    std::vector<uint8_t> codes(layout.unitColumns);
    for (int64_t r = 0; r < tile.rows; ++r) {
      auto row = tile.bytes(0, r, llvm::divideCeil(format.getRowBits(), 8));
      for (int64_t unit = 0; unit < layout.units; ++unit) {
        int64_t width = data[3][unit];
        int64_t columns =
            std::min(layout.unitColumns, k - unit * layout.unitColumns);
        std::fill(codes.begin(), codes.end(), 0);
        for (int64_t i = 0; i < columns * width; ++i) {
          int64_t at = starts[unit] + i;
          codes[i / width] |= ((row[at / 8] >> (at % 8)) & 1) << (i % width);
        }
        for (int64_t c = 0; c < columns; c += kBlockColumns)
          packPlanes(&codes[c], UniformLayout::getPlanes(width), r,
                     out + places[unit] + c / kBlockColumns * width * 64);
      }
    }
  }
};

} // namespace

void llq::registerGroupedCPULayouts(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, LLQDialect *) {
    PlanesAttr::attachInterface<PlanesCPULayout>(*context);
    CodebookAttr::attachInterface<CodebookCPULayout>(*context);
    MixedAttr::attachInterface<MixedCPULayout>(*context);
  });
}
