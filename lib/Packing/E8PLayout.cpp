//===- E8PLayout.cpp - Packs tuples on the E8 lattice ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "llq/Packing/E8PLayout.h"
#include "CodeBlocks.h"

#include "mlir/IR/DialectRegistry.h"

#include <cstring>

using namespace mlir;
using namespace llq;

namespace {

struct E8PCPULayout : CPULayoutInterface::ExternalModel<E8PCPULayout, E8PAttr> {
  LogicalResult verifyCPULayout(Attribute, function_ref<InFlightDiagnostic()>,
                                int64_t) const {
    return success();
  }

  int64_t getTileBytes(Attribute attr, int64_t k) const {
    return E8PLayout(cast<E8PAttr>(attr), k).tileBytes;
  }

  void packTile(Attribute attr, ArrayRef<ArrayRef<char>> data, int64_t n,
                int64_t k, int64_t rowBegin, int64_t, char *out) const {
    auto format = cast<E8PAttr>(attr);
    E8PLayout layout(format, k);
    // Bytes of codes that belong together: signs and entry, or an entry alone.
    SmallVector<int64_t, 2> widths{2};
    if (format.getBits() > 2)
      widths.push_back(format.getBits() - 2);
    int64_t rows = std::min(kTileRows, n - rowBegin);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t s = 0; s < layout.scales; ++s)
        std::memcpy(
            out + (s * kTileRows + r) * 2,
            data.back().data() + ((rowBegin + r) * layout.scales + s) * 2, 2);
      for (int64_t block = 0; block < layout.blocks; ++block) {
        char *to = out + E8PLayout::kBlocksOffset + block * layout.blockBytes;
        for (auto [component, width] : llvm::enumerate(widths))
          // The entry, the last byte, comes first.
          for (int64_t byte = width; byte-- > 0; to += 64)
            for (int64_t t = 0; t < 4; ++t) {
              int64_t tuple = (rowBegin + r) * (k / 8) + block * 4 + t;
              to[4 * r + t] = data[component][tuple * width + byte];
            }
      }
    }
  }
};

} // namespace

void llq::registerE8PCPULayout(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, LLQDialect *) {
    E8PAttr::attachInterface<E8PCPULayout>(*context);
  });
}
