//===- MixedFormat.cpp - Reference decode of #llq.mixed -------------------===//
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

LogicalResult MixedAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                ArrayRef<int64_t> widths, int64_t rowBits,
                                int64_t group) {
  if (widths.empty() || widths.front() < 1 || widths.back() > 8 ||
      !llvm::is_sorted(widths, std::less_equal<int64_t>()))
    return emitError() << "mixed widths are 1 to 8, ascending, found ["
                       << widths << "]";
  if (rowBits < 1)
    return emitError() << "mixed row_bits are above 0, found " << rowBits;
  return verifyGroup(emitError, "mixed", group);
}

LogicalResult
MixedAttr::verifyShape(function_ref<InFlightDiagnostic()> emitError, int64_t n,
                       int64_t k) const {
  if (failed(verifyElements(emitError, n, k)))
    return failure();
  int64_t least = getWidths().front() * k, most = getWidths().back() * k;
  if (getRowBits() < least || getRowBits() > most)
    return emitError() << "mixed row_bits of " << k << " weights are " << least
                       << " to " << most << ", found " << getRowBits();
  return success();
}

SmallVector<WeightComponent> MixedAttr::getComponents(int64_t n,
                                                      int64_t k) const {
  Builder b(getContext());
  int64_t groups = Groups(getGroup(), k).count();
  auto make = [&](ArrayRef<int64_t> shape, Type type) {
    return RankedTensorType::get(shape, type);
  };
  int64_t codeBytes = llvm::divideCeil(getRowBits(), 8);
  return {{"codes", make({n, codeBytes}, b.getI8Type())},
          {"scales", make({n, groups}, b.getF16Type())},
          {"offsets", make({n, groups}, b.getF16Type())},
          {"bits", make({groups}, b.getI8Type()), /*hasRows=*/false}};
}

llvm::Error MixedAttr::verifyContents(ArrayRef<ArrayRef<char>> data, int64_t n,
                                      int64_t k) const {
  Groups groups(getGroup(), k);
  int64_t bits = 0;
  for (int64_t g = 0; g < groups.count(); ++g) {
    int64_t width = data[3][g];
    if (!llvm::is_contained(getWidths(), width))
      return llvm::createStringError("has a group of " + std::to_string(width) +
                                     " bits, which its format does not list");
    bits += width * (groups.end(g) - groups.begin(g));
  }
  if (bits != getRowBits())
    return llvm::createStringError("has groups of " + std::to_string(bits) +
                                   " bits in a row, its format says " +
                                   std::to_string(getRowBits()));
  return llvm::Error::success();
}

bool MixedAttr::hasIndependentRows() const { return true; }

/// Calls `visit(column, group, code)` for the weights of `row`; groups are
/// counted through all rows.
template <typename Visit>
static void visitRow(MixedAttr format, ArrayRef<ArrayRef<char>> data, int64_t k,
                     int64_t row, Visit visit) {
  Groups groups(format.getGroup(), k);
  auto codes =
      getRowBytes(data[0], row, llvm::divideCeil(format.getRowBits(), 8));
  int64_t at = 0; // bit of the stream
  for (int64_t g = 0; g < groups.count(); ++g)
    for (int64_t i = groups.begin(g); i < groups.end(g); ++i) {
      uint32_t code = 0;
      for (int64_t bit = 0; bit < data[3][g]; ++bit, ++at)
        code |= uint32_t(getBit(codes, at)) << bit;
      visit(i, row * groups.count() + g, float(code));
    }
}

void MixedAttr::dequantizeRows(ArrayRef<ArrayRef<char>> data, int64_t n,
                               int64_t k, int64_t rowBegin, int64_t rowEnd,
                               float *out) const {
  for (int64_t row = rowBegin; row < rowEnd; ++row, out += k)
    visitRow(*this, data, k, row, [&](int64_t i, int64_t group, float code) {
      out[i] = loadF16(data[1], group) * code + loadF16(data[2], group);
    });
}

bool MixedAttr::differentiateRows(
    ArrayRef<ArrayRef<char>> data, int64_t n, int64_t k, int64_t rowBegin,
    int64_t rowEnd, const float *gradient, const float *source,
    ArrayRef<MutableArrayRef<float>> gradients) const {
  Groups groups(getGroup(), k);
  auto add = [&](int64_t row, int64_t i, int64_t group, float code) {
    float g = gradient[i];
    if (source) {
      // Inside of the range a weight moves with nothing but its rounding.
      float steps =
          (source[i] - loadF16(data[2], group)) / loadF16(data[1], group);
      int64_t width = data[3][group - row * groups.count()];
      if (steps >= 0 && steps <= float((1 << width) - 1)) {
        gradients[1][group] += g * (code - steps);
        return;
      }
    }
    gradients[1][group] += g * code;
    gradients[2][group] += g;
  };
  for (int64_t row = rowBegin; row < rowEnd; ++row, gradient += k) {
    visitRow(*this, data, k, row, [&](int64_t i, int64_t group, float code) {
      add(row, i, group, code);
    });
    if (source)
      source += k;
  }
  return true;
}

bool MixedAttr::encodeRows(ArrayRef<ArrayRef<char>> data, int64_t n, int64_t k,
                           int64_t rowBegin, int64_t rowEnd,
                           const float *weights,
                           MutableArrayRef<char> codes) const {
  Groups groups(getGroup(), k);
  int64_t bytes = llvm::divideCeil(getRowBits(), 8);
  std::vector<uint8_t> nearest(k);
  for (int64_t row = rowBegin; row < rowEnd; ++row, weights += k) {
    std::span widths = getRowBytes(data[3], 0, groups.count());
    for (int64_t g = 0; g < groups.count(); ++g) {
      float scale = loadF16(data[1], row * groups.count() + g);
      float offset = loadF16(data[2], row * groups.count() + g);
      float most = float((1 << widths[g]) - 1);
      for (int64_t i = groups.begin(g); i < groups.end(g); ++i)
        nearest[i] = getNearestCode((weights[i] - offset) / scale, most);
    }
    numerics::packMixedCodes(nearest, widths, getGroup() ? getGroup() : k,
                             getRowBytes(codes, row, bytes));
  }
  return true;
}
