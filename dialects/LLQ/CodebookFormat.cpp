//===- CodebookFormat.cpp - Reference decode of #llq.codebook -------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Groups.h"
#include "dialects/LLQ/LLQ.h"
#include "llq/Numerics/BitPacking.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace llq;

LogicalResult CodebookAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   int64_t bits, int64_t group, int64_t tables,
                                   bool symmetric) {
  if (bits < 1 || bits > 4)
    return emitError() << "codebook bits are 1 to 4, found " << bits;
  if (tables < 1 || tables > 2)
    return emitError() << "codebook tables are 1 or 2, found " << tables;
  return verifyGroup(emitError, "codebook", group);
}

LogicalResult
CodebookAttr::verifyShape(function_ref<InFlightDiagnostic()> emitError,
                          int64_t n, int64_t k) const {
  return verifyElements(emitError, n, k);
}

SmallVector<WeightComponent> CodebookAttr::getComponents(int64_t n,
                                                         int64_t k) const {
  Builder b(getContext());
  int64_t groups = Groups(getGroup(), k).count();
  int64_t codeBytes = numerics::packedRowBytes(k, getBits());
  SmallVector<WeightComponent> components;
  components.push_back(
      {"codes", RankedTensorType::get({n, codeBytes}, b.getI8Type())});
  components.push_back(
      {"levels", RankedTensorType::get({n, groups, getTables(), getNumListed()},
                                       b.getF16Type())});
  if (getTables() > 1)
    components.push_back({"counts",
                          RankedTensorType::get({groups}, b.getI8Type()),
                          /*hasRows=*/false});
  return components;
}

/// Columns of a group that use the second table, at most.
static constexpr int64_t kMostCount = 32;

llvm::Error CodebookAttr::verifyContents(ArrayRef<ArrayRef<char>> data,
                                         int64_t n, int64_t k) const {
  if (getTables() == 1)
    return llvm::Error::success();
  Groups groups(getGroup(), k);
  for (int64_t g = 0; g < groups.count(); ++g) {
    int64_t most = std::min(kMostCount, groups.end(g) - groups.begin(g));
    if (data[2][g] < 0 || data[2][g] > most)
      return llvm::createStringError(
          "has a group with " + std::to_string(data[2][g]) +
          " columns of the second table, the most is " + std::to_string(most));
  }
  return llvm::Error::success();
}

bool CodebookAttr::hasIndependentRows() const { return true; }

/// Calls `visit(column, level, negative)` for the weights of `row`: each is the
/// number `level` of the levels or minus that.
template <typename Visit>
static void visitRow(CodebookAttr format, ArrayRef<ArrayRef<char>> data,
                     int64_t k, int64_t row, Visit visit) {
  Groups groups(format.getGroup(), k);
  int64_t codeBytes = numerics::packedRowBytes(k, format.getBits());
  int64_t listed = format.getNumListed(), tables = format.getTables();
  int64_t half = int64_t(1) << (format.getBits() - 1);
  std::vector<uint8_t> codes(k);
  numerics::unpackCodes(getRowBytes(data[0], row, codeBytes), format.getBits(),
                        codes);
  for (int64_t g = 0; g < groups.count(); ++g)
    for (int64_t i = groups.begin(g); i < groups.end(g); ++i) {
      bool table = tables > 1 && i - groups.begin(g) < data[2][g];
      int64_t first = ((row * groups.count() + g) * tables + table) * listed;
      int64_t code = codes[i];
      if (!format.getSymmetric())
        visit(i, first + code, false);
      else if (code >= half)
        visit(i, first + code - half, false);
      else
        visit(i, first + half - 1 - code, true);
    }
}

void CodebookAttr::dequantizeRows(ArrayRef<ArrayRef<char>> data, int64_t n,
                                  int64_t k, int64_t rowBegin, int64_t rowEnd,
                                  float *out) const {
  for (int64_t row = rowBegin; row < rowEnd; ++row, out += k)
    visitRow(*this, data, k, row, [&](int64_t i, int64_t level, bool negative) {
      float value = loadF16(data[1], level);
      out[i] = negative ? -value : value;
    });
}

bool CodebookAttr::differentiateRows(
    ArrayRef<ArrayRef<char>> data, int64_t n, int64_t k, int64_t rowBegin,
    int64_t rowEnd, const float *gradient, const float *,
    ArrayRef<MutableArrayRef<float>> gradients) const {
  for (int64_t row = rowBegin; row < rowEnd; ++row, gradient += k)
    visitRow(*this, data, k, row, [&](int64_t i, int64_t level, bool negative) {
      gradients[1][level] += negative ? -gradient[i] : gradient[i];
    });
  return true;
}
