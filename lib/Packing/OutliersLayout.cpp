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
  startsOffset = scalesOffset + 64;
  placesOffset = startsOffset + llvm::divideCeil(blocks, kStartBlocks) * 4;
  tileBytes = llvm::alignTo(placesOffset + blocks * 4, 64);
}

namespace {

/// Codes of a step and row.
constexpr int64_t kStepCodes = 4;

/// The codes of a block by row, in the order of their columns.
struct BlockCodes {
  struct Code {
    uint8_t column, bits;
  };
  SmallVector<Code, 8> rows[kTileRows];

  int64_t getCount() const {
    int64_t count = 0;
    for (const auto &row : rows)
      count += int64_t(row.size());
    return count;
  }
  /// At least one.
  int64_t getSteps() const {
    int64_t most = 1;
    for (const auto &row : rows)
      most = std::max(most, int64_t(row.size()));
    return llvm::divideCeil(most, kStepCodes);
  }
};

/// Bytes of a block of so many codes in the stream.
constexpr int64_t getBytes(int64_t codes) {
  return kTileRows + codes + (codes * 5 + 7) / 8;
}

std::vector<BlockCodes> getBlocks(const numerics::SparseView &sparse,
                                  int64_t rowBegin, int64_t count) {
  static_assert(numerics::kSparseRows == kTileRows &&
                numerics::kSparseBlock == kBlockColumns);
  std::vector<BlockCodes> blocks(count);
  sparse.forRows(
      rowBegin, std::min(sparse.rows, rowBegin + kTileRows),
      [&](int64_t row, int64_t column, uint8_t code) {
        blocks[column / kBlockColumns].rows[row - rowBegin].push_back(
            {uint8_t(column % kBlockColumns), code});
      });
  for (BlockCodes &block : blocks)
    for (auto &row : block.rows)
      llvm::sort(row, [](const BlockCodes::Code &a, const BlockCodes::Code &b) {
        return a.column < b.column;
      });
  return blocks;
}

/// Where the stream of a tile begins in the tail, if `codes` are before it. A
/// tile has the bytes of its codes and one for the padding of each block.
int64_t getStreamBegin(int64_t rowBegin, int64_t blocks, int64_t codes) {
  int64_t tile = rowBegin / kTileRows;
  return tile * (blocks * (kTileRows + 1) + 1) + codes +
         llvm::divideCeil(codes * 5, 8);
}
int64_t getStreamBegin(const numerics::SparseView &sparse, int64_t rowBegin,
                       int64_t blocks) {
  return getStreamBegin(rowBegin, blocks,
                        sparse.start(2 * (rowBegin / kTileRows) + 1));
}

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

  int64_t getTailBytes(Attribute attr, int64_t n, int64_t k) const {
    auto format = cast<OutliersAttr>(attr);
    int64_t end =
        getStreamBegin(getPaddedRows(n), OutliersLayout(format, k).blocks,
                       format.getOutliers());
    return llvm::alignTo(end + OutliersLayout::kTailSlack, 64);
  }

  void packTile(Attribute attr, ArrayRef<ArrayRef<char>> data, int64_t n,
                int64_t k, int64_t rowBegin, int64_t tail, char *out) const;
  void packTail(Attribute attr, ArrayRef<ArrayRef<char>> data, int64_t n,
                int64_t k, int64_t rowBegin, char *tail) const;
};

} // namespace

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
                    tail + getStreamBegin(sparse, rowBegin, layout.blocks));
  constexpr int64_t rowSteps = kBlockColumns / kStepCodes;
  static_assert(OutliersLayout::kStartBlocks *
                        getBytes(kTileRows * kBlockColumns) <=
                    1 << OutliersLayout::kPlaceBits &&
                rowSteps << OutliersLayout::kPlaceBits <= 1 << 16);
  int64_t place = 0, start = 0;
  for (auto [i, block] :
       llvm::enumerate(getBlocks(sparse, rowBegin, layout.blocks))) {
    if (i % OutliersLayout::kStartBlocks == 0) {
      start = place;
      endian::write32le(out + layout.startsOffset +
                            int64_t(i) / OutliersLayout::kStartBlocks * 4,
                        uint32_t(start));
    }
    int64_t codes = block.getCount(), steps = block.getSteps();
    char *to = out + layout.placesOffset + i * 4;
    endian::write16le(to, uint16_t(place - start |
                                   (steps - 1) << OutliersLayout::kPlaceBits));
    endian::write16le(to + 2, uint16_t(codes));
    place += getBytes(codes);
  }
}

void OutliersCPULayout::packTail(Attribute attr, ArrayRef<ArrayRef<char>> data,
                                 int64_t n, int64_t k, int64_t rowBegin,
                                 char *tail) const {
  auto format = cast<OutliersAttr>(attr);
  numerics::SparseView sparse = format.getSparse(data, n, k);
  int64_t blocks = OutliersLayout(format, k).blocks;
  char *out = tail + getStreamBegin(sparse, rowBegin, blocks);
  for (const BlockCodes &block : getBlocks(sparse, rowBegin, blocks)) {
    for (auto [row, codes] : llvm::enumerate(block.rows))
      out[row] = char(codes.size());
    int64_t count = block.getCount(), bit = 0;
    char *codes = out + kTileRows, *columns = codes + count;
    for (int64_t step = 0, steps = block.getSteps(); step < steps; ++step)
      for (const auto &row : block.rows) {
        size_t begin = std::min<size_t>(row.size(), step * kStepCodes);
        for (BlockCodes::Code code :
             ArrayRef(row).drop_front(begin).take_front(kStepCodes)) {
          *codes++ = char(code.bits);
          for (int64_t i = 0; i < 5; ++i, ++bit)
            columns[bit / 8] |= char((code.column >> i & 1) << bit % 8);
        }
      }
    out += getBytes(count);
  }
}

void llq::registerOutliersCPULayout(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, LLQDialect *) {
    OutliersAttr::attachInterface<OutliersCPULayout>(*context);
  });
}
