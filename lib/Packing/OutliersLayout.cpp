//===- OutliersLayout.cpp - Packs sparse codes ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Packing/OutliersLayout.h"
#include "CodeBlocks.h"

#include "llq/Packing/UniformLayout.h"

#include "mlir/IR/DialectRegistry.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Endian.h"

#include <cstring>

using namespace mlir;
using namespace llq;
namespace endian = llvm::support::endian;

OutliersLayout::OutliersLayout(OutliersAttr format, int64_t k) {
  blocks = getPaddedColumns(k) / kBlockColumns;
  scalesOffset = cast<CPULayoutInterface>(format.getBase()).getTileBytes(k);
  zerosOffset = scalesOffset + kTileRows * 2;
  streamOffset = zerosOffset + kTileRows;
  presenceOffset = scalesOffset + 64;
  startsOffset = presenceOffset + blocks * 8;
  stepsOffset = startsOffset + llvm::divideCeil(blocks, kStartBlocks) * 4;
  tileBytes = llvm::alignTo(stepsOffset + blocks * 2, 64);
}

namespace {

/// The masks and codes of a tile, block by block.
struct TileCodes {
  TileCodes(const numerics::SparseView &sparse, int64_t rowBegin,
            int64_t blocks);

  struct Block {
    uint64_t presence = 0;
    /// Bit f of byte 4 * row + j: column 4 f + j; and its codes.
    uint8_t masks[64] = {}, codes[8][64] = {};
    int64_t count = 0;

    int64_t getBytes() const { return llvm::popcount(presence) + count; }
  };
  std::vector<Block> blocks;
};

struct OutliersCPULayout
    : CPULayoutInterface::ExternalModel<OutliersCPULayout, OutliersAttr> {
  LogicalResult verifyCPULayout(Attribute attr,
                                function_ref<InFlightDiagnostic()> emitError,
                                int64_t k) const {
    Attribute base = cast<OutliersAttr>(attr).getBase();
    if (failed(cast<CPULayoutInterface>(base).verifyCPULayout(emitError, k)))
      return failure();
    auto uniform = dyn_cast<UniformAttr>(base);
    auto codebook = dyn_cast<CodebookAttr>(base);
    if ((uniform && UniformLayout(uniform, k).unitColumns % kBlockColumns) ||
        (codebook && codebook.getTables() > 1))
      return emitError()
             << "the cpu target has outliers of groups of multiples "
                "of "
             << kBlockColumns << " columns and of one table, found " << base;
    return success();
  }

  int64_t getTileBytes(Attribute attr, int64_t k) const {
    return OutliersLayout(cast<OutliersAttr>(attr), k).tileBytes;
  }

  int64_t getTailBytes(Attribute attr, int64_t, int64_t) const {
    auto format = cast<OutliersAttr>(attr);
    return llvm::alignTo(format.getMasks() + format.getOutliers() +
                             OutliersLayout::kTailSlack,
                         64);
  }

  void packTile(Attribute attr, ArrayRef<ArrayRef<char>> data, int64_t n,
                int64_t k, int64_t rowBegin, int64_t tail, char *out) const;
  void packTail(Attribute attr, ArrayRef<ArrayRef<char>> data, int64_t n,
                int64_t k, int64_t rowBegin, char *tail) const;
};

} // namespace

TileCodes::TileCodes(const numerics::SparseView &sparse, int64_t rowBegin,
                     int64_t count)
    : blocks(count) {
  static_assert(numerics::kSparseRows == kTileRows &&
                numerics::kSparseBlock == kBlockColumns);
  int64_t rowEnd = std::min(sparse.rows, rowBegin + kTileRows);
  sparse.forRows(
      rowBegin, rowEnd,
      [&](int64_t row, int64_t block, int64_t j, uint8_t bits) {
        int64_t byte = 4 * (row - rowBegin) + j;
        blocks[block].presence |= uint64_t(1) << byte;
        blocks[block].masks[byte] = bits;
        blocks[block].count += llvm::popcount(bits);
      },
      [&](int64_t row, int64_t column, uint8_t code) {
        int64_t c = column % kBlockColumns;
        blocks[column / kBlockColumns]
            .codes[c / 4][4 * (row - rowBegin) + c % 4] = code;
      });
}

/// Where the stream of a tile begins in the tail.
static int64_t getStreamBegin(const numerics::SparseView &sparse,
                              int64_t rowBegin) {
  int64_t tile = rowBegin / kTileRows;
  return int64_t(sparse.start(2 * tile)) + int64_t(sparse.start(2 * tile + 1));
}

void OutliersCPULayout::packTile(Attribute attr, ArrayRef<ArrayRef<char>> data,
                                 int64_t n, int64_t k, int64_t rowBegin,
                                 int64_t tail, char *out) const {
  auto format = cast<OutliersAttr>(attr);
  OutliersLayout layout(format, k);
  size_t mine = data.size() - format.getNumOwnComponents();
  cast<CPULayoutInterface>(format.getBase())
      .packTile(data.take_front(mine), n, k, rowBegin, 0, out);
  int64_t rows = std::min(kTileRows, n - rowBegin);
  std::memcpy(out + layout.scalesOffset,
              format.getScales(data).data() + 2 * rowBegin, 2 * rows);
  std::memcpy(out + layout.zerosOffset, format.getZeros(data).data() + rowBegin,
              rows);

  numerics::SparseView sparse = format.getSparse(data, n, k);
  endian::write64le(out + layout.streamOffset,
                    tail + getStreamBegin(sparse, rowBegin));
  int64_t place = 0, start = 0;
  TileCodes tile(sparse, rowBegin, layout.blocks);
  for (auto [i, block] : llvm::enumerate(tile.blocks)) {
    if (i % OutliersLayout::kStartBlocks == 0) {
      start = place;
      endian::write32le(out + layout.startsOffset +
                            int64_t(i) / OutliersLayout::kStartBlocks * 4,
                        uint32_t(start));
    }
    endian::write64le(out + layout.presenceOffset + i * 8, block.presence);
    endian::write16le(out + layout.stepsOffset + i * 2,
                      uint16_t(place - start));
    place += block.getBytes();
  }
}

void OutliersCPULayout::packTail(Attribute attr, ArrayRef<ArrayRef<char>> data,
                                 int64_t n, int64_t k, int64_t rowBegin,
                                 char *tail) const {
  auto format = cast<OutliersAttr>(attr);
  numerics::SparseView sparse = format.getSparse(data, n, k);
  char *out = tail + getStreamBegin(sparse, rowBegin);
  for (const TileCodes::Block &block :
       TileCodes(sparse, rowBegin, OutliersLayout(format, k).blocks).blocks) {
    for (uint8_t mask : block.masks)
      if (mask)
        *out++ = char(mask);
    for (int64_t f = 0; f < 8; ++f)
      for (int64_t byte = 0; byte < 64; ++byte)
        if (block.masks[byte] >> f & 1)
          *out++ = char(block.codes[f][byte]);
  }
}

void llq::registerOutliersCPULayout(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, LLQDialect *) {
    OutliersAttr::attachInterface<OutliersCPULayout>(*context);
  });
}
