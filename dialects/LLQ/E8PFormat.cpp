//===- E8PFormat.cpp - Reference decode of #llq.e8p -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0
//
//===----------------------------------------------------------------------===//

#include "Groups.h"
#include "dialects/LLQ/LLQ.h"
#include "llq/Numerics/BlockLDLQ.h"
#include "llq/Numerics/E8P.h"

#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace llq;

LogicalResult E8PAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                              int64_t bits) {
  if (bits < 2 || bits > 4)
    return emitError() << "e8p bits are 2 to 4, found " << bits;
  return success();
}

LogicalResult E8PAttr::verifyShape(function_ref<InFlightDiagnostic()> emitError,
                                   int64_t n, int64_t k) const {
  if (k % kBlock)
    return emitError() << "e8p needs rows of a multiple of " << kBlock
                       << " weights, found " << k;
  return verifyElements(emitError, n, k);
}

SmallVector<WeightComponent> E8PAttr::getComponents(int64_t n,
                                                    int64_t k) const {
  Builder b(getContext());
  int64_t tuples = k / numerics::kE8Width;
  auto make = [&](ArrayRef<int64_t> shape, Type type) {
    return RankedTensorType::get(shape, type);
  };
  SmallVector<WeightComponent> result{
      {"codes", make({n, tuples, 2}, b.getI8Type())}};
  if (getBits() == 3)
    result.push_back({"residuals", make({n, tuples}, b.getI8Type())});
  else if (getBits() == 4)
    result.push_back({"residuals", make({n, tuples, 2}, b.getI8Type())});
  result.push_back({"scales", make({n, getNumScales()}, b.getF16Type())});
  return result;
}

bool E8PAttr::hasIndependentRows() const { return true; }

/// Calls `visit(tuple, code)` for the tuples of `row`.
template <typename Visit>
static void visitRow(E8PAttr format, ArrayRef<ArrayRef<char>> data, int64_t k,
                     int64_t row, Visit visit) {
  auto byte = [&](int64_t component, int64_t index) {
    return uint32_t(uint8_t(data[component][index]));
  };
  int64_t tuples = k / numerics::kE8Width, at = row * tuples;
  for (int64_t t = 0; t < tuples; ++t, ++at) {
    uint32_t code = byte(0, 2 * at) | byte(0, 2 * at + 1) << 8;
    if (format.getBits() == 3)
      code |= byte(1, at) << 16;
    else if (format.getBits() == 4)
      code |= byte(1, 2 * at) << 16 | byte(1, 2 * at + 1) << 24;
    visit(t, code);
  }
}

void E8PAttr::dequantizeRows(ArrayRef<ArrayRef<char>> data, int64_t n,
                             int64_t k, int64_t rowBegin, int64_t rowEnd,
                             float *out) const {
  numerics::E8PGrid grid{.bits = unsigned(getBits())};
  int64_t scales = getNumScales();
  float values[numerics::kE8Width];
  for (int64_t row = rowBegin; row < rowEnd; ++row, out += k) {
    grid.scale = loadF16(data.back(), row * scales);
    if (scales == 2)
      grid.residualScale = loadF16(data.back(), row * scales + 1);
    visitRow(*this, data, k, row, [&](int64_t t, uint32_t code) {
      grid.decode(code, values);
      for (int64_t i = 0; i < numerics::kE8Width; ++i)
        out[getColumn(t, i)] = values[i];
    });
  }
}

bool E8PAttr::differentiateRows(
    ArrayRef<ArrayRef<char>> data, int64_t n, int64_t k, int64_t rowBegin,
    int64_t rowEnd, const float *gradient, const float *,
    ArrayRef<MutableArrayRef<float>> gradients) const {
  // A tuple for a scale of 1 is its derivative by that scale.
  unsigned bits = getBits();
  const numerics::E8PGrid grids[] = {{bits, 1, 0}, {bits, 0, 1}};
  int64_t scales = getNumScales();
  float values[numerics::kE8Width];
  for (int64_t row = rowBegin; row < rowEnd; ++row, gradient += k)
    visitRow(*this, data, k, row, [&](int64_t t, uint32_t code) {
      for (int64_t s = 0; s < scales; ++s) {
        grids[s].decode(code, values);
        for (int64_t i = 0; i < numerics::kE8Width; ++i)
          gradients.back()[row * scales + s] +=
              gradient[getColumn(t, i)] * values[i];
      }
    });
  return true;
}
